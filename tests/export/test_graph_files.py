"""The graphs as files: what every ONNX reader, and TensorRT's in particular, finds in them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from hyvic_export import graph_files
from hyvic_export.cli import main
from hyvic_export.exporter import bundle_from_checkpoint
from hyvic_export.precision import Precision
from hyvic_export.tensorrt.builder import EngineBuilder, compute_capabilities
from hyvic_export.tensorrt.compiled_bundle import Target, TargetName
from hyvic_runtime.engines.engine import OnnxRuntimeEngine
from hyvic_runtime.engines.tensorrt.library import TensorRTLibrary
from hyvic_runtime.errors import BundleError, EngineError
from hyvic_runtime.families.latent.bundle import (
    ENCODER,
    file_names,
    graph_names,
    weights_names,
)
from hyvic_runtime.families.latent.encoder import LatentRowEncoder
from hyvic_runtime.families.registry import read_bundle
from scenes import BANDS, smooth_cube

REASON = "TensorRT-RTX has no wheel for this platform"


@pytest.mark.parametrize("name", graph_names(0))
def test_every_tensor_has_a_known_shape_but_for_the_batch(exported_bundle: Path, name: str) -> None:
    model = onnx.load(exported_bundle / name)
    onnx.checker.check_model(model, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    values = {value.name: value for value in (*inferred.graph.value_info, *inferred.graph.output)}
    assert {output for node in model.graph.node for output in node.output} == values.keys()
    for value in values.values():
        first, *others = value.type.tensor_type.shape.dim
        assert first.dim_param == "tile"
        assert all(dim.dim_value > 0 for dim in others)


@pytest.mark.parametrize("name", graph_names(0))
def test_the_operator_set_is_onnxs_own_and_one_that_every_tensorrt_reads(exported_bundle: Path, name: str) -> None:
    (opset,) = onnx.load(exported_bundle / name).opset_import
    assert opset.domain == ""
    assert 14 <= opset.version <= 17


@pytest.mark.parametrize("name", graph_names(0))
def test_nothing_is_left_to_fold(exported_bundle: Path, name: str) -> None:
    graph = onnx.load(exported_bundle / name).graph
    weights = {weight.name for weight in graph.initializer}
    assert weights
    for node in graph.node:
        assert node.op_type != "Constant"
        assert not weights.issuperset(node.input)


@pytest.fixture
def rtx() -> None:
    pytest.importorskip("tensorrt_rtx", reason=REASON)


@pytest.mark.usefixtures("rtx")
@pytest.mark.parametrize("name", graph_names(0))
@pytest.mark.parametrize("bundle", ["exported_bundle", pytest.param("shipped_bundle", marks=pytest.mark.slow)])
@pytest.mark.parametrize("compute_capability", ["8.0", "8.6", "8.9", "12.0", None])
def test_tensorrt_builds_every_graph(
    request: pytest.FixtureRequest, bundle: str, name: str, compute_capability: str | None
) -> None:
    graph = request.getfixturevalue(bundle) / name
    phases: list[str] = []
    builder = EngineBuilder(TensorRTLibrary.TENSORRT_RTX, compute_capability=compute_capability)
    engine = builder.build(graph, phase=phases.append)
    assert len(engine) > graph.stat().st_size / 2  # the weights are in it
    assert phases[0] == "Building engine"
    assert any(phase.endswith("2/6") for phase in phases)


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    np.savez(tmp_path / "s.npz", cube=smooth_cube(32, 32, BANDS), wavelengths=np.linspace(420, 2450, BANDS))
    return tmp_path / "s.npz"


@pytest.mark.usefixtures("rtx")
@pytest.mark.parametrize("precision", [Precision.FP16, Precision.INT8])
def test_tensorrt_builds_the_analysis_in_fewer_bits(
    tiny_checkpoint: Path, exported_bundle: Path, scene: Path, tmp_path: Path, precision: Precision
) -> None:
    target = Target(name=TargetName.TENSORRT_RTX, compute_capability="8.6")
    out = tmp_path / "b"
    bundle_from_checkpoint(tiny_checkpoint, out, tile=32, target=target, precision=precision, scenes=[scene])
    assert read_bundle(out).identity == read_bundle(exported_bundle).identity
    types = {weight.data_type for weight in onnx.load(out / ENCODER).graph.initializer}
    fewer = onnx.TensorProto.FLOAT16 if precision is Precision.FP16 else onnx.TensorProto.INT8
    assert fewer in types
    assert onnx.TensorProto.UINT8 not in types


@pytest.mark.usefixtures("rtx")
def test_int8_for_onnx_runtime_is_not_compiled_for_tensorrt(
    tiny_checkpoint: Path, scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle_from_checkpoint(tiny_checkpoint, tmp_path / "b", tile=32, precision=Precision.INT8, scenes=[scene])
    arguments = ["--bundle", str(tmp_path / "b"), "--out", str(tmp_path / "c"), "--target", "tensorrt-rtx"]
    assert main(arguments) == 1
    assert "export its checkpoint again with --target tensorrt-rtx" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()


@pytest.mark.usefixtures("rtx")
def test_a_graph_that_tensorrt_refuses_is_one_line(exported_bundle: Path, tmp_path: Path) -> None:
    builder = EngineBuilder(TensorRTLibrary.TENSORRT_RTX, compute_capability="7.5")
    with pytest.raises(EngineError, match=r"cannot build encoder.onnx for compute capability 7.5 \(.*Turing") as caught:
        builder.build(exported_bundle / ENCODER)  # its float32 products are not for Turing
    assert "\n" not in str(caught.value)
    graph = onnx.load(exported_bundle / ENCODER)
    graph.graph.node[0].op_type = "Unheard"
    onnx.save(graph, tmp_path / "g.onnx")
    with pytest.raises(EngineError, match=r"cannot build g.onnx .*Unheard") as caught:
        builder.build(tmp_path / "g.onnx")
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("rtx")
def test_a_build_can_be_interrupted(exported_bundle: Path) -> None:
    phases: list[str] = []

    def interrupt(what: str) -> None:
        phases.append(what)
        if len(phases) == 20:
            raise KeyboardInterrupt

    builder = EngineBuilder(TensorRTLibrary.TENSORRT_RTX, compute_capability=None)
    with pytest.raises(KeyboardInterrupt):
        builder.build(exported_bundle / ENCODER, phase=interrupt)
    assert len(phases) < 40


@pytest.mark.usefixtures("rtx")
def test_what_a_library_builds_for_is_what_it_says() -> None:
    import tensorrt_rtx

    allowed = compute_capabilities(tensorrt_rtx)
    assert list(allowed)[:4] == ["7.5", "8.0", "8.6", "8.9"]
    assert allowed["12.0"] == tensorrt_rtx.ComputeCapability.SM120


@pytest.fixture
def split_bundle(tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(graph_files, "MAX_WEIGHT_OCTETS", 1000)
    bundle_from_checkpoint(tiny_checkpoint, tmp_path / "split", tile=32)
    return tmp_path / "split"


def test_weights_that_do_not_fit_the_graphs_file_lie_beside_it(
    split_bundle: Path, exported_bundle: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    assert read_bundle(split_bundle).manifest.files.keys() == {*file_names(0), *weights_names(0)}
    for graph, weights in zip(graph_names(0), weights_names(0), strict=True):
        # Vectors below a kilobyte stay with the graph.
        assert (split_bundle / graph).stat().st_size + (split_bundle / weights).stat().st_size == pytest.approx(
            (exported_bundle / graph).stat().st_size, rel=0.2
        )
        onnx.checker.check_model(str(split_bundle / graph), full_check=True)
    given = {"hyperlatent": read_bundle(exported_bundle).conformance.astype(np.float32)}
    outputs = [OnnxRuntimeEngine(folder / "hyperdecoder.onnx").run(given) for folder in (split_bundle, exported_bundle)]
    assert all(np.array_equal(outputs[0][name], outputs[1][name]) for name in ("scale_index", "mean_steps"))
    LatentRowEncoder(read_bundle(split_bundle))  # checks its engines
    bundle_from_checkpoint(tiny_checkpoint, tmp_path / "again", tile=32)
    for name in (*graph_names(0), *weights_names(0)):
        assert (tmp_path / "again" / name).read_bytes() == (split_bundle / name).read_bytes()


def test_weights_beside_a_graph_are_pinned(split_bundle: Path) -> None:
    path = split_bundle / weights_names(0)[0]
    octets = bytearray(path.read_bytes())
    octets[100] ^= 1
    path.write_bytes(octets)
    with pytest.raises(BundleError, match=f"{weights_names(0)[0]} was altered"):
        read_bundle(split_bundle)


@pytest.mark.usefixtures("rtx")
def test_tensorrt_finds_weights_beside_a_graph(split_bundle: Path, exported_bundle: Path, tmp_path: Path) -> None:
    builder = EngineBuilder(TensorRTLibrary.TENSORRT_RTX, compute_capability="8.6")
    split, whole = (builder.build(folder / ENCODER) for folder in (split_bundle, exported_bundle))
    assert len(split) > 0.95 * len(whole)  # the weights are in it
    shutil.copy(split_bundle / ENCODER, tmp_path)
    with pytest.raises(EngineError, match=r"cannot build encoder.onnx"):
        builder.build(tmp_path / ENCODER)
