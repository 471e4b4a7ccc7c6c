from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import pytest
import torch
from hyvic_export import integer_layer as definition
from hyvic_export.families.latent.conformance_vectors import cases, conformance_vectors, every_case
from hyvic_export.families.latent.distributions import gaussians
from hyvic_export.families.latent.entropy_model import entropy_model
from hyvic_export.families.latent.graphs import hyperdecoder_graph
from hyvic_export.families.latent.integer_network import (
    IntegerNetwork,
    PartNetwork,
    run_reference,
    scale_lookup,
    scale_table,
)
from hyvic_export.families.registry import exportable
from hyvic_export.integer_layer import (
    MAX_OPERAND,
    MAX_SUM,
    IntegerLayer,
    Integers,
    Requantisation,
    largest_sum,
    lowest_before_slope,
    requantised,
    rounded_shift,
    run_layers,
    slope_form,
    sub_pixel_weight,
)
from hyvic_runtime.engines.engine import OnnxRuntimeEngine
from hyvic_runtime.scene.tile_grid import geometry_of
from hyvic_train.entropy_path_layer import Arithmetic
from hyvic_train.families.latent.checkpoint import load_checkpoint
from hyvic_train.families.latent.hyvic import HyVIC
from hyvic_train.families.latent.model_config import HyVICConfig
from hyvic_train.integer_path import (
    HIDDEN_MAX,
    LOG2_MIN_SCALE,
    LOG2_SCALE_STEP,
    MEAN_STEP_BITS,
    SCALE_BOUND,
    SCALE_COUNT,
    SCALE_STEP_BITS,
    SLOPE_BITS,
)
from numpy.typing import NDArray
from scenes import SHIPPED_CHECKPOINT


def no_symbols(part: int, scale_index: Integers, mean_steps: Integers) -> Integers:
    return np.zeros_like(mean_steps)


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
    assert rounded_shift(value, np.int64(1)).tolist() == np.rint(value / 2).astype(int).tolist()
    assert rounded_shift(value, np.int64(2)).tolist() == np.rint(value / 4).astype(int).tolist()
    assert rounded_shift(value, np.int64(0)).tolist() == value.tolist()
    assert rounded_shift(value, np.int64(-3)).tolist() == (value * 8).tolist()


def test_a_slope_is_a_shift_only_if_it_is_a_power_of_two() -> None:
    assert [slope_form(2.0**-bits) for bits in range(1, 11)] == [(bits, None) for bits in range(1, 11)]
    assert slope_form(0.01) == (None, 655)
    assert slope_form(0.3) == (None, 19661)


@pytest.mark.parametrize("slope", [0.001, 0.01, 0.1, 0.3, 0.499])
def test_a_slope_of_no_power_of_two_is_exact_in_float32(slope: float) -> None:
    _, steps = slope_form(slope)
    assert steps is not None
    lowest = lowest_before_slope(steps)
    # Every integer that a slope can meet, and some that the clamp must catch.
    values = np.arange(lowest - 300, 300)
    by = Requantisation(
        shift=np.zeros(1, np.int64),
        low=np.array([lowest]),
        high=np.array([HIDDEN_MAX]),
        leaky_slope_bits=None,
        slope_steps=steps,
    )
    exact = requantised(by, values[None, None])[0, 0]
    clamped = np.clip(values, lowest, HIDDEN_MAX)
    assert -lowest * steps < MAX_SUM
    product = clamped.astype(np.float32) * np.float32(steps * 2.0**-SLOPE_BITS)
    assert (product.astype(np.float64) * 2**SLOPE_BITS == clamped * steps).all()
    assert np.array_equal(np.maximum(clamped, np.rint(product)), exact)
    # One step below the clamp would be an activation below −255.
    assert (exact.min(), exact.max()) == (-HIDDEN_MAX, HIDDEN_MAX)
    assert np.rint((lowest - 1) * steps * 2.0**-SLOPE_BITS) == -HIDDEN_MAX - 1
    # A slope off by half of 2**-16, and one rounding.
    wanted = np.where(values < 0, values * slope, values).clip(-HIDDEN_MAX, HIDDEN_MAX)
    assert np.abs(exact - wanted).max() <= 0.5 + -lowest * 2.0 ** -(SLOPE_BITS + 1)


def test_64ths_of_a_quantiser_step_tell_all_scales_apart() -> None:
    lookup, table = scale_lookup(), scale_table()
    assert lookup[np.rint(table * 2**SCALE_STEP_BITS).astype(int)].tolist() == list(range(SCALE_COUNT))
    scale = np.geomspace(table[0], table[-1], 10_000)
    chosen = table[lookup[np.rint(scale * 2**SCALE_STEP_BITS).astype(int)]]
    # Half a row, and half a 64th; the second is 7 % of the smallest scale and fades as 1 / σ.
    assert (np.abs(np.log2(chosen / scale)) <= LOG2_SCALE_STEP / 2 - np.log2(1 - 2.0**-7 / scale)).all()


def _excess_bits(scale: NDArray[np.float64], row_scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bits a symbol that tables of `row_scale` cost more than those of `scale`; 1e-12 is less than a table's tail."""
    excess = []
    for real, coded in zip(gaussians(scale), gaussians(row_scale), strict=True):
        first = min(real.first, coded.first)
        masses = np.full((2, 1 - 2 * first), 1e-12)
        for mass, of in zip(masses, (real, coded), strict=True):
            mass[of.first - first : of.first - first + len(of.mass)] += of.mass
        excess.append((masses[0] * np.log2(masses[0] / masses[1])).sum())
    return np.array(excess)


def test_the_row_of_a_scale_costs_less_than_compressais() -> None:
    table = scale_table()
    scale = np.geomspace(table[0], table[-1], 500)
    nearest = table[scale_lookup()[np.rint(scale * 2**SCALE_STEP_BITS).astype(int)]]
    not_smaller = table[np.searchsorted(table, scale * (1 - 1e-12))]  # GaussianConditional.build_indexes
    ours, theirs = _excess_bits(scale, nearest), _excess_bits(scale, not_smaller)
    assert ours.max() < 0.006
    assert ours.mean() < 0.0018
    assert theirs.max() > 3 * ours.max()
    assert theirs.mean() > 3 * ours.mean()


@pytest.fixture(params=[64.0, 1e9], ids=["sums whole", "sums split"])
def _wanted_weights(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As shipped, or asking for so many bits of weight that every layer that can must split its sums."""
    monkeypatch.setattr(definition, "MIN_WEIGHT_RMS", request.param)


def _layers(network: IntegerNetwork) -> tuple[IntegerLayer, ...]:
    """Of a network whose ẑ predicts the whole latent."""
    (part,) = network.parts
    return (*network.layers, *part.prediction)


@pytest.mark.usefixtures("_wanted_weights")
def test_every_operand_and_every_sum_is_exact_in_float32(tiny_checkpoint: Path) -> None:
    entropy = entropy_model(exportable(load_checkpoint(tiny_checkpoint).model))
    peak = np.maximum(np.abs(entropy.prior.first), np.abs(entropy.prior.first + entropy.prior.length - 1))
    for layer in _layers(entropy.network):
        sums = largest_sum(layer, peak.astype(np.int64))
        operands = np.abs(layer.weight).max(axis=(1, 2, 3))
        assert operands.max() <= MAX_OPERAND
        assert sums.max() < MAX_SUM
        # Every row has the largest power-of-two gain that keeps the promise: twice it would break it, but for the
        # half unit that rounding moves a product and the rounded sums of the groups.
        slack = layer.weight[0, 0].size * int(peak.sum()) + 2**layer.split_bits
        assert ((2 * operands > MAX_OPERAND - 2) | (2 * sums + slack >= MAX_SUM)).all()
        peak = layer.high[:: 4 if layer.upsampling else 1]


def test_splitting_gives_weights_bits_that_a_whole_sum_denies_them() -> None:
    # 512 channels at full swing, all weights alike: a whole sum leaves 2^24 / (512 · 255) = 128 for each.
    def layer(channels: int) -> IntegerLayer:
        return definition.quantised_layer(
            weight=np.full((2, channels, 1, 1), 0.01),
            bias=np.zeros(2),
            input_step=np.ones(channels),
            input_peak=np.full(channels, 255),
            output_step=np.ones(2),
            low=np.full(2, -255),
            high=np.full(2, 255),
            pad=(0, 0),
            leaky_slope_bits=None,
            upsampling=False,
        )

    assert layer(512).split_bits == 0
    wide = layer(8192)
    assert wide.split_bits == 4
    assert [group.stop - group.start for group in wide.groups] == [512] * 16
    assert 64 <= wide.weight.min() <= wide.weight.max() < 128
    x = np.random.default_rng(0).integers(-255, 256, (8192, 1, 1))
    exact = (x * 0.01).sum()
    assert np.abs(run_layers([wide], x)[:, 0, 0] - np.clip(exact, -255, 255)).max() <= 1 + abs(exact) * 2**-7


def test_the_integer_path_follows_the_float_model(tiny_checkpoint: Path) -> None:
    model = load_checkpoint(tiny_checkpoint).model
    network = entropy_model(exportable(model)).network
    z_hat = np.random.default_rng(0).integers(-3, 4, (12, 8, 8))
    coded = run_reference(network, z_hat, no_symbols)
    with torch.no_grad():
        scales, means = (v[0] for v in model.scales_and_means(torch.from_numpy(z_hat)[None].float()))
    index = np.clip((np.log2(scales.numpy()) - LOG2_MIN_SCALE) / LOG2_SCALE_STEP, 0, 63)
    # Eight-bit activations: within one index and a few steps of 1/16 where float and integer path differ.
    assert np.abs(index - coded.scale_index).mean() < 0.5
    assert np.abs(means.numpy() - coded.mean_steps * 2.0**-MEAN_STEP_BITS).mean() < 0.1


@pytest.mark.parametrize("hyperprior", ["log2", "compressai"])
@pytest.mark.parametrize("slope", [2**-7, 0.01])
@torch.no_grad()
def test_training_rounds_as_the_integer_path(hyperprior: Literal["log2", "compressai"], slope: float) -> None:
    torch.manual_seed(0)
    config = HyVICConfig(
        bands=4,
        latent_channels=10,
        hyperlatent_channels=6,
        spatial_stages=1,
        hyperprior=hyperprior,
        leaky_slope=slope,
    )
    model = HyVIC(config).eval()
    model.h_s[4].weight.mul_(8)
    model.h_s[4].bias[:10].add_(1.5)
    z_hat = torch.randint(-4, 5, (1, 6, 8, 8)).float()
    model.scales_and_means(z_hat, Arithmetic.OBSERVED)
    coded = run_reference(entropy_model(exportable(model)).network, z_hat[0].long().numpy(), no_symbols)
    scales, means = (values[0].numpy() for values in model.scales_and_means(z_hat, Arithmetic.ROUNDED))
    index = np.rint((np.log2(np.maximum(scales, SCALE_BOUND)) - LOG2_MIN_SCALE) / LOG2_SCALE_STEP)
    mean_steps = np.rint(means * 2**MEAN_STEP_BITS)
    assert len(np.unique(coded.scale_index)) > 12
    for trained, integer in ((index, coded.scale_index), (mean_steps, coded.mean_steps)):
        # Weights of eleven bits, which training does not round, turn a rounding here and there.
        assert np.abs(trained - integer).max() <= 1
        assert (trained != integer).mean() < 0.02


def _torch_layers(network: IntegerNetwork, z_hat: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
    """The layers as a training library computes them, in floating point."""
    x = torch.from_numpy(z_hat)[None].to(dtype)
    for layer in _layers(network):
        weight, bias, shift, low, high = (
            torch.from_numpy(np.asarray(v)).to(dtype)
            for v in (layer.weight, layer.bias, np.exp2(-layer.shift.astype(float)), layer.low, layer.high)
        )
        before, after = layer.pad
        x = torch.nn.functional.pad(x, (before, after, before, after))
        sums = sum(
            torch.round(torch.nn.functional.conv2d(x[:, group], weight[:, group]) * 2.0**-layer.split_bits)
            for group in layer.groups
        )
        sums = sums + bias[:, None, None]
        if layer.leaky_slope_bits is not None:
            sums = torch.nn.functional.leaky_relu(sums, 2.0**-layer.leaky_slope_bits)
        x = torch.round(sums * shift[:, None, None]).clamp(low[:, None, None], high[:, None, None])
        if layer.slope_steps is not None:
            x = torch.maximum(x, torch.round(x * (layer.slope_steps * 2.0**-SLOPE_BITS)))
        if layer.upsampling:
            x = torch.nn.functional.pixel_shuffle(x, 2)
    return x[0].long()


@pytest.mark.usefixtures("_wanted_weights")
@pytest.mark.parametrize("hyperprior", ["log2", "compressai"])
@pytest.mark.parametrize("slope", [0.5, 2**-7, 0.01, 0.3])
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_every_execution_computes_the_definition(
    tmp_path: Path, kernel_size: int, slope: float, hyperprior: Literal["log2", "compressai"]
) -> None:
    torch.manual_seed(kernel_size)
    config = HyVICConfig(
        bands=4,
        latent_channels=10,
        hyperlatent_channels=6,
        kernel_size=kernel_size,
        spatial_stages=1,
        leaky_slope=slope,
        hyperprior=hyperprior,
    )
    model = HyVIC(config).eval()
    model.entropy_bottleneck.quantiles.data[:, 0, 1] = torch.linspace(-2, 2, 6)
    model.calibrate(torch.rand(2, 4, 64, 64) * 10_000)
    entropy = entropy_model(exportable(model))
    network = entropy.network
    geometry = geometry_of(tile=32, kernel_size=kernel_size, spatial_stages=1)
    onnx.save(hyperdecoder_graph(network, geometry), tmp_path / "h.onnx")
    engine = OnnxRuntimeEngine(tmp_path / "h.onnx")
    for vector in conformance_vectors(entropy.prior, network, geometry.hyperlatents)[0]:
        outputs = engine.run({"hyperlatent": vector.hyperlatent[None].astype(np.float32)})
        assert np.array_equal(outputs["scale_index"][0], vector.expected.scale_index)
        assert np.array_equal(outputs["mean_steps"][0], vector.expected.mean_steps)
        exact = run_layers(_layers(network), vector.hyperlatent)
        for dtype in (torch.float32, torch.float64):
            assert np.array_equal(_torch_layers(network, vector.hyperlatent, dtype).numpy(), exact)


def test_the_vectors_of_the_shipped_model_reach_every_case_but_two() -> None:
    model = load_checkpoint(SHIPPED_CHECKPOINT).model
    entropy = entropy_model(exportable(model))
    vectors, unreached = conformance_vectors(entropy.prior, entropy.network, 8)
    # The slope of 1/128 keeps negative values far from their clamp.
    assert unreached == {"layer 0 clamps low", "layer 1 clamps low"}
    walked = [cases(entropy.network, vector.hyperlatent, no_symbols)[1] for vector in vectors]
    found = frozenset[str]().union(*walked)
    assert found == every_case(entropy.network) - unreached
    indices = {int(i) for vector in vectors for i in np.unique(vector.expected.scale_index)}
    assert indices == set(range(64))


def test_a_case_is_found_where_it_is() -> None:
    """One row, one channel: half to even at both parities, both clamps, worked by hand."""
    layer = IntegerLayer(
        weight=np.ones((2, 1, 1, 1), np.int64),
        split_bits=0,
        bias=np.zeros(2, np.int64),
        shift=np.ones(2, np.int64),
        low=np.array([0, -3]),
        high=np.array([5, 3]),
        pad=(0, 0),
        leaky_slope_bits=None,
        upsampling=False,
    )
    network = IntegerNetwork(layers=(), parts=(PartNetwork(prediction=(layer,)),), scale_index=None)

    def found(value: int) -> frozenset[str]:
        return cases(network, np.array([[[value]]]), no_symbols)[1]

    name = "prediction 0 layer 0"
    assert found(4) == {"scale index 2"}
    assert found(1) == {"scale index 0", f"{name} ties above even"}
    assert found(3) == {"scale index 2", f"{name} ties above odd"}
    assert found(8) == {"scale index 4", f"{name} clamps high"}
    assert found(-2) == {"scale index 0", f"{name} clamps low"}


def test_an_uncalibrated_model_is_refused() -> None:
    model = HyVIC(HyVICConfig(bands=4, latent_channels=10, hyperlatent_channels=6))
    with pytest.raises(ValueError, match="never calibrated"):
        entropy_model(exportable(model))
