"""Install the wheel as a flight computer would, without torch, and code a scene with it.

Run by `make flight`. Builds the wheel, makes an environment of its own beside nothing of the checkout, exports
a bundle here, and checks there: no training library, quick import, the same packets and pixels as here, and the
runtime's own tests.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
HERE = Path(sys.executable).parent
TORCH_FREE_TESTS = ("test_entropy_coder.py", "test_space_packet.py", "test_tile_grid.py")
IMPORT_LIMIT_S = 0.5


def run(*words: str | Path, cwd: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    done = subprocess.run(
        [str(w) for w in words], cwd=cwd, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout.strip()


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="hyvic-flight-") as name:
        folder = Path(name)
        run(HERE / "python", "-m", "build", "--wheel", "--outdir", folder / "dist", ROOT, cwd=folder)
        (wheel,) = (folder / "dist").glob("*.whl")
        venv.create(folder / "env", with_pip=True)
        flight = folder / "env" / "bin"
        run(flight / "python", "-m", "pip", "install", "-q", f"{wheel}[cpu]", cwd=folder)

        installed = run(flight / "python", "-m", "pip", "list", "--format=freeze", cwd=folder)
        unwanted = [p for p in ("torch", "compressai", "onnx=", "scipy", "matplotlib") if f"\n{p}" in f"\n{installed}"]
        assert not unwanted, f"the flight runtime pulled in {unwanted}"

        timing = "import time; t = time.perf_counter(); import hyvic_runtime; print(time.perf_counter() - t)"
        seconds = float(run(flight / "python", "-c", timing, cwd=folder))
        assert seconds < IMPORT_LIMIT_S, f"import hyvic_runtime took {seconds:.2f} s"

        checkpoint = ROOT / "checkpoints" / "hyvic-s-202"
        run(HERE / "export-engine", "--checkpoint", checkpoint, "--out", folder / "bundle", cwd=folder)
        make_scene = (
            "import numpy as np, sys; from hyvic_compare.indian_pines import load_indian_pines as load; "
            "s = load(); np.savez(sys.argv[1], cube=s.cube, wavelengths=s.wavelengths)"
        )
        run(HERE / "python", "-c", make_scene, folder / "scene.npz", cwd=folder)
        for environment in (HERE, flight):
            out = folder / environment.parent.name
            coding = ("--bundle", folder / "bundle", "--out")
            run(environment / "encode-scene", folder / "scene.npz", *coding, f"{out}.packets", "--resample", cwd=folder)
            run(environment / "decode-packets", f"{out}.packets", *coding, f"{out}.npy", cwd=folder)
        for suffix in ("packets", "npy"):
            ours, theirs = (folder / f"{e.parent.name}.{suffix}" for e in (HERE, flight))
            assert ours.read_bytes() == theirs.read_bytes(), f"the flight environment's {suffix} differ"

        run(flight / "python", "-m", "pip", "install", "-q", "pytest", "hypothesis", cwd=folder)
        tests = [ROOT / "tests" / "runtime" / t for t in TORCH_FREE_TESTS]
        options = ("-q", "--noconftest", "--import-mode=importlib", "-p", "no:cacheprovider", "-c", os.devnull)
        print(run(flight / "python", "-m", "pytest", *options, *tests, cwd=folder).splitlines()[-1])
        versions = [
            line for line in installed.splitlines() if line.startswith(("numpy", "onnxruntime", "constriction"))
        ]
        print(f"no torch; import in {1000 * seconds:.0f} ms; same packets and pixels; {', '.join(versions)}")


if __name__ == "__main__":
    main()
