from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import spox.opset.ai.onnx.v17 as op
from hyvic_compare.model_complexity import Architecture, complexity
from hyvic_export.graph_files import save_graph
from hyvic_export.precision import Precision
from hyvic_runtime.families.latent.bundle import ENCODER
from spox import Tensor, argument, build
from studies import roofline
from studies.roofline import DEVICES, ENMAP_SAMPLES_PER_S, Device, graph_cost

DEVICE = Device(name="unit", cuda_cores=128, clock_hz=1.0, octets_per_s=1.0, source="")


@pytest.fixture
def graph(tmp_path: Path) -> onnx.ModelProto:
    """Two bands of 6 × 6 pixels: a matrix to 3 channels, a 3 × 3 convolution to 4, ẑ, a 1 × 1 convolution to 5."""
    tile = argument(Tensor(np.float32, ("tile", 6, 6, 2)))
    x = op.transpose(op.matmul(tile, op.const(np.ones((2, 3), np.float32))), perm=[0, 3, 1, 2])
    z = op.conv(x, op.const(np.ones((4, 3, 3, 3), np.float32)), op.const(np.ones(4, np.float32)))
    z_hat = op.round(z)
    index = op.conv(z_hat, op.const(np.ones((5, 4, 1, 1), np.float32)))
    outputs = {"hyperlatent": op.cast(z_hat, to=np.int32), "scale_index": op.cast(index, to=np.int32)}
    save_graph(build({"tile": tile}, outputs), tmp_path / "g.onnx")
    return onnx.load(tmp_path / "g.onnx")


def test_arithmetic_and_traffic_are_those_counted_by_hand(graph: onnx.ModelProto) -> None:
    cost = graph_cost(graph)
    by_macs = {operator.macs: operator for operator in cost.operators}
    assert by_macs.keys() == {0, 6 * 6 * 3 * 2, 4 * 4 * 4 * 27, 4 * 4 * 5 * 4}
    matrix, convolution, exact = by_macs[216], by_macs[1728], by_macs[320]
    assert (matrix.weights, matrix.activations) == (6, 72 + 108)
    assert (convolution.weights, convolution.activations) == (108 + 4, 108 + 64)
    assert (exact.weights, exact.activations) == (20, 64 + 80)
    assert (matrix.exact, convolution.exact, exact.exact) == (False, False, True)
    assert cost.macs == 216 + 1728 + 320
    assert cost.boundary == 72 + 64 + 80
    weights, _ = cost.octets(Precision.FP16)
    assert weights == 2 * (6 + 112) + 4 * 20


def test_a_device_of_one_multiprocessor_takes_the_longer_of_the_two(graph: onnx.ModelProto) -> None:
    cost = graph_cost(graph)
    # One octet a second: traffic decides; 4 octets an element.
    assert cost.fused_s(DEVICE, Precision.FP32) == 4 * (6 + 112 + 20) + 4 * 216
    assert cost.separate_s(DEVICE, Precision.FP32) == sum(4 * (o.weights + o.activations) for o in cost.operators)
    fast = Device(name="memory", cuda_cores=128, clock_hz=1.0, octets_per_s=1e9, source="")
    assert cost.fused_s(fast, Precision.FP32) == pytest.approx(cost.macs / 128)
    assert cost.fused_s(fast, Precision.FP16) == pytest.approx((216 + 1728) / 1024 + 320 / 128)
    assert cost.separate_s(fast, Precision.INT8) == pytest.approx((216 + 1728) / 2048 + 320 / 128, rel=1e-3)


@pytest.mark.slow
def test_the_encoders_arithmetic_is_the_configurations_but_for_the_halo(shipped_bundle: Path) -> None:
    """Against another count, from the configuration alone, of the tile without its halo."""
    cost = graph_cost(onnx.load(shipped_bundle / ENCODER))
    model = json.loads((Path(__file__).parents[2] / "checkpoints/hyvic-s-202/config.json").read_text())["model"]
    sizes = {name: model[name] for name in Architecture.__dataclass_fields__ if name in model}
    flops = complexity(Architecture(**sizes)).encoder_flops
    assert 1 < 2 * cost.macs / flops < 1.2


def test_peaks_are_the_dense_figures_of_the_data_sheets() -> None:
    tera = {device.name: [2 * device.macs_per_s(precision) / 1e12 for precision in Precision] for device in DEVICES}
    assert tera["Orin Nano 8GB"][2] == pytest.approx(20, rel=0.03)
    assert tera["Orin Nano 8GB Super"][2] == pytest.approx(33, rel=0.03)
    assert tera["AGX Orin 64GB"] == pytest.approx([5.3, 170 / 4, 170 / 2], rel=0.03)
    assert pytest.approx(51e6, rel=0.01) == ENMAP_SAMPLES_PER_S


@pytest.mark.slow
def test_the_page_shows_the_shipped_models_figures(shipped_bundle: Path) -> None:
    """Where this fails, the graph has changed: make the page again, by the command that it names."""
    page = (Path(__file__).parents[2] / "docs" / "jetson-roofline.md").read_text()
    cost = graph_cost(onnx.load(shipped_bundle / ENCODER))
    title = "hyvic-s-202 (M 200, N 120, 202 bands)"
    assert roofline.section(title, cost, 128 * 128 * 202) in page
    assert page.startswith(roofline.markdown({})[:500])
