"""Install the wheel as a flight computer would, without torch, and code a scene with it.

Run by `make flight`. Builds the wheel, makes an environment of its own beside nothing of the checkout, exports
a bundle here, and checks there: no training library, quick import, packets from there decode here
to the same pixels, and the runtime's own tests.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
HERE = Path(sys.executable).parent
TORCH_FREE_TESTS = (
    "entropy/test_ans.py",
    "entropy/test_unit_coder.py",
    "packets/test_space_packet.py",
    "scene/test_tile_grid.py",
)
IMPORT_LIMIT_S = 0.5


def run(*words: str | Path, cwd: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    done = subprocess.run(
        [str(w) for w in words], cwd=cwd, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout.strip()


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="hyvic-flight-") as scratch:
        folder = Path(scratch)
        run(HERE / "python", "-m", "build", "--wheel", "--outdir", folder / "dist", ROOT, cwd=folder)
        (wheel,) = (folder / "dist").glob("*.whl")
        venv.create(folder / "env", with_pip=True)
        flight = folder / "env" / "bin"
        run(flight / "python", "-m", "pip", "install", "-q", f"{wheel}[cpu]", cwd=folder)

        installed = run(flight / "python", "-m", "pip", "list", "--format=freeze", cwd=folder)
        unwanted = [p for p in ("torch", "compressai", "onnx=", "scipy", "matplotlib") if f"\n{p}" in f"\n{installed}"]
        assert not unwanted, f"the flight runtime pulled in {unwanted}"

        modules = "hyvic_runtime, hyvic_runtime.cli, hyvic_runtime.families.registry"
        # Processor time and the best of several: what else runs on the machine does not count.
        timing = f"import time; t = time.process_time(); import {modules}; print(time.process_time() - t)"
        seconds = min(float(run(flight / "python", "-c", timing, cwd=folder)) for _ in range(5))
        assert seconds < IMPORT_LIMIT_S, f"import hyvic_runtime took {seconds:.2f} s"

        checkpoint = ROOT / "checkpoints" / "hyvic-s-202"
        run(HERE / "export-engine", "--checkpoint", checkpoint, "--out", folder / "bundle", cwd=folder)
        make_scene = (
            "import numpy as np, sys; from hyvic_compare.indian_pines import load_indian_pines as load; "
            "s = load(); np.savez(sys.argv[1], cube=s.cube, wavelengths=s.wavelengths)"
        )
        run(HERE / "python", "-c", make_scene, folder / "scene.npz", cwd=folder)
        environments = {"here": HERE, "flight": flight}
        coding = ("--bundle", folder / "bundle", "--out")
        for name, scripts in environments.items():
            run(scripts / "encode-scene", folder / "scene.npz", *coding, f"{name}.packets", "--resample", cwd=folder)
        for name, scripts in environments.items():
            run(scripts / "decode-packets", "flight.packets", *coding, f"{name}.npy", cwd=folder)
        # Other versions of NumPy and ONNX Runtime round floats differently: the encoder may choose another symbol
        # where a latent lies on a half, and a pixel may round the other way. The entropy path may not: a stream
        # that decodes at all was read with the tables it was written with.
        sizes = {name: (folder / f"{name}.packets").stat().st_size for name in environments}
        assert abs(sizes["here"] - sizes["flight"]) < 1e-3 * sizes["here"], f"streams differ in size: {sizes}"
        pictures = [np.load(folder / f"{name}.npy").astype(int) for name in environments]
        difference = np.abs(pictures[0] - pictures[1])
        assert difference.max() <= 1, f"pixels differ by {difference.max()}"
        assert (difference > 0).mean() < 1e-3, f"{(difference > 0).mean():.1%} of the pixels differ"

        run(flight / "python", "-m", "pip", "install", "-q", "pytest", "hypothesis", cwd=folder)
        tests = [ROOT / "tests" / "runtime" / t for t in TORCH_FREE_TESTS]
        options = ("-q", "--noconftest", "--import-mode=importlib", "-p", "no:cacheprovider", "-c", os.devnull)
        print(run(flight / "python", "-m", "pytest", *options, *tests, cwd=folder).splitlines()[-1])
        versions = [
            line for line in installed.splitlines() if line.startswith(("numpy", "onnxruntime", "constriction"))
        ]
        print(f"no torch; {', '.join(versions)}; import in {1000 * seconds:.0f} ms")
        print("packets encoded there decode to the same pixels on both sides")

        # As without a compiler: the reference kernels, with constriction, instead of the C code.
        described = run(flight / "verify-bundle", folder / "bundle", cwd=folder)
        assert "the runtime's own C coder" in described, described
        (native,) = (folder / "env").glob("lib/python*/site-packages/hyvic_runtime/kernels/_native.*.so")
        native.unlink()
        described = run(flight / "verify-bundle", folder / "bundle", cwd=folder)
        assert "constriction" in described, described
        assert "reference kernels" in described, described
        run(flight / "encode-scene", folder / "scene.npz", *coding, "other.packets", "--resample", cwd=folder)
        assert (folder / "other.packets").read_bytes() == (folder / "flight.packets").read_bytes()
        run(flight / "decode-packets", "other.packets", *coding, "other.npy", cwd=folder)
        assert np.array_equal(np.load(folder / "other.npy"), np.load(folder / "flight.npy"))
        print("the same packets and pixels from the coder in C and from constriction")


if __name__ == "__main__":
    main()
