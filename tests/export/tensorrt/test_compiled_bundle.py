"""`export-engine --target` and `--bundle`."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from host_tensorrt import HostCuda
from hyvic_export.cli import main
from hyvic_export.tensorrt import compiled_bundle as module
from hyvic_export.tensorrt.builder import EngineBuilder
from hyvic_export.tensorrt.compiled_bundle import Target, TargetName, compiled_bundle
from hyvic_runtime.cli import verify_bundle
from hyvic_runtime.codec.bundle_files import MANIFEST, REPORT
from hyvic_runtime.engines.selection import EngineKind
from hyvic_runtime.engines.tensorrt.library import TensorRTLibrary
from hyvic_runtime.errors import EngineError
from hyvic_runtime.families.latent.bundle import (
    BUILD_SCRIPT,
    ENCODER,
    EXPECTED_OUTPUTS,
    EXTRAS,
    HYPERDECODER,
    engine_names,
    file_names,
)
from hyvic_runtime.families.registry import read_bundle

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def rtx() -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX has no wheel for this platform")


@pytest.fixture
def no_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)


@pytest.mark.usefixtures("rtx")
def test_tensorrt_rtx_compiles_a_checkpoint_without_a_gpu(
    tiny_checkpoint: Path, exported_bundle: Path, tmp_path: Path, capsys: Captured
) -> None:
    import tensorrt_rtx

    out = tmp_path / "b"
    arguments = ["--checkpoint", str(tiny_checkpoint), "--tile", "32", "--out", str(out), "--target", "tensorrt-rtx"]
    assert main([*arguments, "--compute-capability", "8.6", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["engines"] == {
        "library": "tensorrt-rtx",
        "version": tensorrt_rtx.__version__,
        "compute_capability": "8.6",
    }
    assert result["to_do"] is None
    bundle = read_bundle(out)
    assert {path.name for path in out.iterdir()} == {MANIFEST, *file_names(0), *engine_names(0), REPORT}
    # The codec is the same: what one encodes, the other decodes.
    assert bundle.identity == read_bundle(exported_bundle).identity
    (out / engine_names(0)[0]).write_bytes(b"another engine")
    assert verify_bundle([str(out)]) == 1
    assert "encoder.engine was altered" in capsys.readouterr().err


@pytest.mark.usefixtures("rtx")
def test_tensorrt_rtx_compiles_every_slice(exported_joint_bundle: Path, tmp_path: Path) -> None:
    compiled_bundle(
        exported_joint_bundle, tmp_path / "b", Target(name=TargetName.TENSORRT_RTX, compute_capability="8.6")
    )
    bundle = read_bundle(tmp_path / "b")
    assert bundle.manifest.engines is not None
    assert bundle.manifest.engines.files.keys() == set(engine_names(3))
    assert bundle.identity == read_bundle(exported_joint_bundle).identity


@pytest.mark.usefixtures("rtx")
def test_a_compiled_bundle_is_not_run_on_a_processor_unasked(
    exported_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled_bundle(exported_bundle, tmp_path / "b", Target(name=TargetName.TENSORRT_RTX))
    bundle = read_bundle(tmp_path / "b")
    assert bundle.manifest.engines is not None
    assert bundle.manifest.engines.compute_capability == "8.0 and later"
    assert bundle.load_engine(HYPERDECODER, EngineKind.ONNXRUNTIME).describe().startswith("ONNX Runtime")
    with pytest.raises(EngineError, match="holds no engines of tensorrt; build them: export-engine --bundle"):
        bundle.load_engine(HYPERDECODER, EngineKind.TENSORRT)
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", HostCuda(devices=0))
    with pytest.raises(EngineError, match=r"no CUDA device here .* pass --engine onnxruntime"):
        bundle.load_engine(HYPERDECODER)


@pytest.mark.usefixtures("no_tensorrt")
def test_without_tensorrt_a_bundle_says_how_its_device_builds_the_engines(
    tiny_checkpoint: Path, exported_bundle: Path, tmp_path: Path, capsys: Captured
) -> None:
    out = tmp_path / "b"
    arguments = ["--checkpoint", str(tiny_checkpoint), "--tile", "32", "--out", str(out), "--target", "tensorrt"]
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert "run its build-on-device.sh there (tensorrt is missing: on a Jetson it comes with JetPack" in text
    bundle = read_bundle(out)
    assert bundle.identity == read_bundle(exported_bundle).identity
    assert {path.name for path in out.iterdir()} == {MANIFEST, *file_names(0), *EXTRAS}
    with pytest.raises(EngineError, match=r"has no engines yet: run its build-on-device.sh .* --engine onnxruntime"):
        bundle.load_engine(ENCODER)
    assert verify_bundle([str(out), "--engine", "onnxruntime", "--json"]) == 0
    agreement = json.loads(capsys.readouterr().out)["expected_outputs"]
    assert agreement["symbols_equal"] == 1
    (out / EXPECTED_OUTPUTS).write_bytes(b"")
    assert verify_bundle([str(out), "--engine", "onnxruntime"]) == 1
    assert f"{EXPECTED_OUTPUTS} was altered" in capsys.readouterr().err


def test_the_build_script_leaves_a_whole_bundle_where_tensorrt_is_missing(
    exported_bundle: Path, tmp_path: Path
) -> None:
    if Target(name=TargetName.TENSORRT).obstacle is None:
        pytest.skip("TensorRT and a GPU are here")
    compiled_bundle(exported_bundle, tmp_path / "a bundle", Target(name=TargetName.TENSORRT))
    scripts = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    script = str(tmp_path / "a bundle" / BUILD_SCRIPT)
    done = subprocess.run([script], capture_output=True, text=True, check=False, env=os.environ | {"PATH": scripts})
    assert done.returncode == 1
    assert "without engines: copy" in done.stdout
    assert "has no engines yet" in done.stderr
    assert read_bundle(tmp_path / "a bundle").identity == read_bundle(exported_bundle).identity


@pytest.mark.usefixtures("rtx")
@pytest.mark.filterwarnings("ignore:.*Timing cache operations are no-ops:DeprecationWarning")
def test_the_device_compiles_its_bundle_in_place(
    exported_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    """TensorRT-RTX in TensorRT's place: the same API, so the same calls are made, the timing cache's among them."""
    import tensorrt_rtx

    out, cache = tmp_path / "b", tmp_path / "cache"
    with monkeypatch.context() as elsewhere:
        elsewhere.setitem(sys.modules, "tensorrt", None)
        compiled_bundle(exported_bundle, out, Target(name=TargetName.TENSORRT))
    monkeypatch.setitem(sys.modules, "tensorrt", tensorrt_rtx)
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", HostCuda())
    again = ["--bundle", str(out), "--out", str(out), "--target", "tensorrt", "--timing-cache", str(cache)]
    assert main(again) == 1
    assert "pass --force" in capsys.readouterr().err
    for _ in range(2):
        assert main([*again, "--force"]) == 0
        assert cache.stat().st_size > 0
        capsys.readouterr()
    bundle = read_bundle(out)
    assert bundle.manifest.engines is not None
    assert bundle.manifest.engines.library is TensorRTLibrary.TENSORRT
    assert bundle.manifest.engines.compute_capability == "8.7"
    assert {path.name for path in out.iterdir()} == {MANIFEST, *file_names(0), *EXTRAS, *engine_names(0)}
    assert bundle.identity == read_bundle(exported_bundle).identity
    compiled_bundle(out, tmp_path / "plain", Target())
    assert read_bundle(tmp_path / "plain").manifest.engines is None


def test_compiling_a_bundle_needs_no_training_library(exported_bundle: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from hyvic_export.cli import main; assert main(sys.argv[1:]) == 0; "
        "assert not {'torch', 'onnx', 'compressai'} & sys.modules.keys()"
    )
    arguments = ["--bundle", str(exported_bundle), "--out", str(tmp_path / "b"), "--target", "tensorrt"]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["--target", "cuda"], "unknown target 'cuda'; choose among onnx, tensorrt, tensorrt-rtx"),
        (["--compute-capability", "8.6"], "--compute-capability belongs to --target tensorrt-rtx"),
        (["--timing-cache", "x", "--target", "tensorrt-rtx"], "--timing-cache belongs to --target tensorrt:"),
        (["--tile", "32"], "--tile belongs to a checkpoint"),
        (["--bundle", "missing"], "missing is no bundle"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    exported_bundle: Path, tmp_path: Path, capsys: Captured, arguments: list[str], match: str
) -> None:
    _refused(exported_bundle, tmp_path / "b", arguments, match, capsys)


@pytest.mark.usefixtures("rtx")
@pytest.mark.parametrize("words", ["8.7", "86", "eight", ""])
def test_a_compute_capability_that_the_library_lacks_is_refused_with_those_it_has(
    exported_bundle: Path, tmp_path: Path, capsys: Captured, words: str
) -> None:
    arguments = ["--target", "tensorrt-rtx", "--compute-capability", words]
    match = f"does not build for compute capability {words}; choose among 7.5, 8.0, 8.6, 8.9"
    _refused(exported_bundle, tmp_path / "b", arguments, match, capsys)


@pytest.mark.usefixtures("no_tensorrt")
def test_a_missing_library_is_said_how_to_install(exported_bundle: Path, tmp_path: Path, capsys: Captured) -> None:
    match = "tensorrt-rtx is missing: pip install 'hyvic-onboard[tensorrt-rtx]'"
    _refused(exported_bundle, tmp_path / "b", ["--target", "tensorrt-rtx"], match, capsys)


@pytest.mark.usefixtures("rtx")
def test_a_graph_that_cannot_be_built_leaves_nothing(exported_bundle: Path, tmp_path: Path, capsys: Captured) -> None:
    arguments = ["--target", "tensorrt-rtx", "--compute-capability", "7.5"]
    _refused(exported_bundle, tmp_path / "b", arguments, "cannot build encoder.onnx for compute capability 7.5", capsys)


@pytest.mark.usefixtures("rtx")
def test_a_full_disk_leaves_nothing(
    exported_bundle: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_bytes

    def full(path: Path, octets: bytes) -> int:
        if path.name == engine_names(0)[-1]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, octets)

    monkeypatch.setattr(Path, "write_bytes", full)
    match = f"no space left for {tmp_path / 'b'}; free some or name another folder"
    _refused(exported_bundle, tmp_path / "b", ["--target", "tensorrt-rtx"], match, capsys)


def test_a_read_only_place_is_named(
    exported_bundle: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, dir: Path, **__: object) -> str:  # noqa: A002 # its name there
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(dir))

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    _refused(exported_bundle, tmp_path / "b", [], f"Read-only file system: '{tmp_path}'", capsys)


@pytest.mark.usefixtures("rtx")
def test_an_interruption_leaves_the_old_bundle(
    exported_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    out = tmp_path / "b"
    shutil.copytree(exported_bundle, out)

    def interrupt(self: EngineBuilder, graph: Path, *, phase: Callable[[str], None]) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(module.EngineBuilder, "build", interrupt)
    assert main(["--bundle", str(exported_bundle), "--out", str(out), "--target", "tensorrt-rtx", "--force"]) == 130
    assert "interrupted" in capsys.readouterr().err
    assert read_bundle(out).manifest.engines is None
    assert list(tmp_path.iterdir()) == [out]


def _refused(bundle: Path, out: Path, arguments: list[str], match: str, capsys: Captured) -> None:
    assert main(["--bundle", str(bundle), "--out", str(out), *arguments]) == 1
    error = capsys.readouterr().err
    assert match in error
    assert len(error.strip().splitlines()) == 1
    assert list(out.parent.iterdir()) == []
