from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import pytest
import torch
from hyvic_export.exporter import conformance_vectors
from hyvic_export.frequency_tables import factorised_tables
from hyvic_export.graphs import hyperdecoder_graph
from hyvic_export.integer_network import (
    LOG2_MIN_SCALE,
    LOG2_SCALE_STEP,
    MAX_OPERAND,
    MAX_SUM,
    MEAN_STEP_BITS,
    IntegerNetwork,
    _rounded_shift,
    integer_network,
    largest_sum,
    run_layers,
    run_reference,
    sub_pixel_weight,
)
from hyvic_runtime.engine import OnnxRuntimeEngine
from hyvic_runtime.tile_grid import geometry_of
from hyvic_train.checkpoint import load_checkpoint
from hyvic_train.config import HyVICConfig
from hyvic_train.hyvic import HyVIC


def _network(model: HyVIC) -> tuple[IntegerNetwork, np.ndarray]:
    prior = factorised_tables(model)
    peak = np.maximum(np.abs(prior.first), np.abs(prior.first + prior.length - 1)).astype(np.int64)
    return integer_network(model, peak), peak


@pytest.mark.parametrize("k", [1, 3, 5, 7])
def test_sub_pixel_convolution_is_the_transposed_convolution(k: int) -> None:
    rng = np.random.default_rng(k)
    weight = rng.integers(-9, 10, (3, 4, k, k)).astype(np.float64)
    x = rng.integers(-9, 10, (1, 3, 6, 5)).astype(np.float64)
    expected = torch.nn.functional.conv_transpose2d(
        torch.from_numpy(x), torch.from_numpy(weight), stride=2, padding=k // 2, output_padding=1
    )
    sub_pixel, (before, after) = sub_pixel_weight(weight)
    padded = torch.nn.functional.pad(torch.from_numpy(x), (before, after, before, after))
    phases = torch.nn.functional.conv2d(padded, torch.from_numpy(sub_pixel))
    # Integers: equal, not close.
    assert torch.equal(torch.nn.functional.pixel_shuffle(phases, 2), expected)


def test_requantisation_rounds_half_to_even() -> None:
    value = np.array([-6, -5, -3, -2, -1, 0, 1, 2, 3, 5, 6])
    assert _rounded_shift(value, np.int64(1)).tolist() == np.rint(value / 2).astype(int).tolist()
    assert _rounded_shift(value, np.int64(2)).tolist() == np.rint(value / 4).astype(int).tolist()
    assert _rounded_shift(value, np.int64(0)).tolist() == value.tolist()
    assert _rounded_shift(value, np.int64(-3)).tolist() == (value * 8).tolist()


def test_every_operand_and_every_sum_is_exact_in_float32(tiny_checkpoint: Path) -> None:
    network, peak = _network(load_checkpoint(tiny_checkpoint).model)
    for layer in network.layers:
        sums = largest_sum(layer, peak)
        operands = np.abs(layer.weight).max(axis=(1, 2, 3))
        assert operands.max() <= MAX_OPERAND
        assert sums.max() < MAX_SUM
        # Every row's gain is the largest power of two that keeps the promise: twice it would break it, but for
        # the rounding that the bound allows for (half a unit a product), or the shift of 24 is reached.
        slack = 0.5 * layer.weight[0, 0].size * int(peak.sum()) + 1
        assert ((2 * operands > MAX_OPERAND - 4) | (2 * sums + 2 * slack >= MAX_SUM) | (layer.shift == 24)).all()
        peak = layer.high[:: 4 if layer.upsampling else 1]


def test_the_integer_path_follows_the_float_model(tiny_checkpoint: Path) -> None:
    model = load_checkpoint(tiny_checkpoint).model
    network, _ = _network(model)
    z_hat = np.random.default_rng(0).integers(-3, 4, (12, 8, 8))
    scale_index, mean_steps = run_reference(network, z_hat)
    with torch.no_grad():
        scales, means = (v[0] for v in model.scales_and_means(torch.from_numpy(z_hat)[None].float()))
    index = np.clip((np.log2(scales.numpy()) - LOG2_MIN_SCALE) / LOG2_SCALE_STEP, 0, 63)
    # Eight-bit activations: within one index and a few steps of 1/16 where float and integer path differ.
    assert np.abs(index - scale_index).mean() < 0.5
    assert np.abs(means.numpy() - mean_steps * 2.0**-MEAN_STEP_BITS).mean() < 0.1


@pytest.mark.parametrize("hyperprior", ["log2", "compressai"])
@pytest.mark.parametrize("leaky_slope_bits", [1, 7])
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_onnx_runtime_computes_the_definition(
    tmp_path: Path, kernel_size: int, leaky_slope_bits: int, hyperprior: Literal["log2", "compressai"]
) -> None:
    torch.manual_seed(kernel_size)
    config = HyVICConfig(
        bands=4,
        latent_channels=10,
        hyperlatent_channels=6,
        kernel_size=kernel_size,
        spatial_stages=1,
        leaky_slope_bits=leaky_slope_bits,
        hyperprior=hyperprior,
    )
    model = HyVIC(config).eval()
    model.entropy_bottleneck.quantiles.data[:, 0, 1] = torch.linspace(-2, 2, 6)
    model.calibrate(torch.rand(2, 4, 64, 64) * 10_000)
    network, _ = _network(model)
    prior = factorised_tables(model)
    geometry = geometry_of(tile=32, kernel_size=kernel_size, spatial_stages=1)
    onnx.save(hyperdecoder_graph(model, network, geometry), tmp_path / "h.onnx")
    engine = OnnxRuntimeEngine(tmp_path / "h.onnx")
    for vector in conformance_vectors(prior, network, geometry.hyperlatents):
        outputs = engine.run({"hyperlatent": vector[None].astype(np.float32)})
        scale_index, mean_steps = run_reference(network, vector)
        assert np.array_equal(outputs["scale_index"][0], scale_index)
        assert np.array_equal(outputs["mean_steps"][0], mean_steps)


def test_the_vectors_reach_the_clamps_and_both_signs(tiny_checkpoint: Path) -> None:
    model = load_checkpoint(tiny_checkpoint).model
    network, _ = _network(model)
    vectors = conformance_vectors(factorised_tables(model), network, 2)
    hidden = np.stack([run_layers(network.layers[:1], vector) for vector in vectors])
    assert hidden.max() == network.layers[0].high.max()
    assert hidden.min() < 0  # the slope of 1/128 keeps negative values far from their clamp
    indices = np.concatenate([run_reference(network, vector)[0] for vector in vectors])
    assert indices.max() - indices.min() > 32  # half of the scale table


def test_an_uncalibrated_model_is_refused() -> None:
    model = HyVIC(HyVICConfig(bands=4, latent_channels=10, hyperlatent_channels=6))
    with pytest.raises(ValueError, match="never calibrated"):
        integer_network(model, np.full(6, 10))
