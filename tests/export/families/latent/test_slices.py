"""The joint codec's part of the entropy path: slices as integers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hyvic_export import integer_layer as definition
from hyvic_export.families.latent.analysis_form import AnalysisForm
from hyvic_export.families.latent.conformance_vectors import conformance_vectors, every_case
from hyvic_export.families.latent.entropy_model import EntropyModel, entropy_model
from hyvic_export.families.latent.graphs import encoder_graph, hyperdecoder_graph, slice_graph, with_latent
from hyvic_export.families.latent.integer_network import REST_STEPS, IntegerNetwork, run_reference
from hyvic_export.families.registry import exportable
from hyvic_export.integer_layer import MAX_OPERAND, MAX_SUM, IntegerLayer, Integers, Requantisation, largest_sum
from hyvic_runtime.engines.engine import OnnxRuntimeEngine
from hyvic_train.entropy_path_layer import Arithmetic
from hyvic_train.families.latent.checkpoint import load_checkpoint
from hyvic_train.families.latent.joint_codec import JointCodec
from hyvic_train.integer_path import (
    CORRECTION_MAX,
    HIDDEN_MAX,
    LATENT_MAX,
    LOG2_MIN_SCALE,
    LOG2_SCALE_STEP,
    MEAN_STEP_BITS,
    hidden_step,
    latent_step,
    rounded_correction,
)
from joint_models import pixels, random_joint_codec
from torch import nn


@pytest.fixture(params=[64.0, 1e9], ids=["sums whole", "sums split"])
def _wanted_weights(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(definition, "MIN_WEIGHT_RMS", request.param)


def _hyperlatent_peak(entropy: EntropyModel) -> Integers:
    prior = entropy.prior
    return np.maximum(np.abs(prior.first), np.abs(prior.first + prior.length - 1)).astype(np.int64)


def _with_operand_peaks(network: IntegerNetwork, peak: Integers) -> Iterator[tuple[IntegerLayer, Integers]]:
    """Every layer and the largest magnitude of each of its inputs."""

    def chain(layers: tuple[IntegerLayer, ...], peak: Integers) -> Iterator[tuple[IntegerLayer, Integers]]:
        for layer in layers:
            yield layer, peak
            peak = layer.high[:: 4 if layer.upsampling else 1]

    yield from chain(network.layers, peak)
    peak = network.layers[-1].high[::4]
    for part in network.parts:
        yield from chain(part.prediction, peak)
        assert part.completion is not None
        peak = np.concatenate((peak, part.completion.operand.high))
        yield from chain(part.completion.correction, peak)


@pytest.mark.usefixtures("_wanted_weights")
@pytest.mark.parametrize("kernel", [1, 3])
def test_every_operand_and_every_sum_is_exact_in_float32(kernel: int) -> None:
    entropy = entropy_model(exportable(random_joint_codec(slice_kernel_size=kernel)))
    layers = list(_with_operand_peaks(entropy.network, _hyperlatent_peak(entropy)))
    assert len(layers) == 2 + 3 * (3 + 3)
    for layer, peak in layers:
        assert len(peak) == layer.weight.shape[1]
        assert peak.max() <= MAX_OPERAND
        assert np.abs(layer.weight).max() <= MAX_OPERAND
        sums = largest_sum(layer, peak)
        assert sums.max() < MAX_SUM
        # Twice the gain would break the promise, but for what rounding moves.
        slack = layer.weight[0, 0].size * int(peak.sum()) + 2**layer.split_bits
        operands = np.abs(layer.weight).max(axis=(1, 2, 3))
        assert ((2 * operands > MAX_OPERAND - 2) | (2 * sums + slack >= MAX_SUM) | (operands == 0)).all()


def test_the_table_of_the_predicted_rest_is_the_one_that_training_felt() -> None:
    arguments = torch.arange(-CORRECTION_MAX, CORRECTION_MAX + 1).double() * 2.0**-MEAN_STEP_BITS
    assert np.array_equal(rounded_correction(arguments).numpy() * 2**MEAN_STEP_BITS, REST_STEPS)
    assert (REST_STEPS[0], REST_STEPS[-1]) == (-8, 8)
    far = torch.tensor([-100.0, 100.0], dtype=torch.float64)
    assert rounded_correction(far).tolist() == [-0.5, 0.5]


@pytest.mark.parametrize("kernel", [1, 3])
@torch.no_grad()
def test_integers_are_what_training_in_rounded_arithmetic_computes(kernel: int) -> None:
    """Of weights that the integer network holds exactly, on steps of powers of two, doubles compute it exactly."""
    model = random_joint_codec(slice_kernel_size=kernel).double()
    for name, peak in model.peaks.items():
        if "hidden_peak" in name:
            peak.copy_(HIDDEN_MAX / 1.25 * torch.exp2(torch.floor(torch.log2(peak / 255))))
    for correction in model.slices.correction:
        correction.last.weight.mul_(20)  # type: ignore[union-attr, operator]
    network = exportable(model).integer_network(np.full(6, 30))
    _dequantise(model, network)

    rng = np.random.default_rng(0)
    context = rng.integers(-HIDDEN_MAX, HIDDEN_MAX + 1, (18, 8, 8))
    symbols = np.rint(rng.normal(0, 300, (12, 8, 8))).astype(np.int64)
    tied = []

    def seen(name: str, by: Requantisation, sums: Integers) -> None:
        if name.startswith("prediction") and name.endswith("layer 2"):
            scales, unit = np.split(sums, 2)[0], 1 << np.split(by.shift, 2)[0][:, None, None]
            tied.append((2 * scales - unit) % (2 * unit) == 0)

    walked = run_reference(
        replace(network, layers=()), context, lambda part, scale_index, means: np.split(symbols, 3)[part], seen
    )
    step = hidden_step(model.h_s[1].hidden_peak)  # type: ignore[arg-type]
    given = torch.from_numpy(symbols)[None].double()
    coded = model.slices(
        torch.from_numpy(context)[None] * step[:, None, None], lambda of, means: given[:, of], Arithmetic.ROUNDED
    )
    assert np.array_equal(coded.means[0].numpy() * 2**MEAN_STEP_BITS, walked.mean_steps)
    assert np.array_equal(coded.y_hat[0].numpy() * 2**MEAN_STEP_BITS, walked.latent_steps)
    # A step of log2 σ is no power of two: a sum halfway between two indices may go to either.
    index = np.rint((np.log2(coded.scales[0].numpy()) - LOG2_MIN_SCALE) / LOG2_SCALE_STEP)
    differing = index != walked.scale_index
    assert not (differing & ~np.concatenate(tied)).any()
    # It was no small thing: operands were clamped, and rests predicted.
    rest = walked.latent_steps - walked.mean_steps - (symbols << MEAN_STEP_BITS)
    assert {-8, 0, 8} <= set(np.unique(rest).tolist())
    largest = latent_step(model.slices.latent_peak).numpy()[:, None, None] * LATENT_MAX
    assert (np.abs(walked.latent_steps * 2.0**-MEAN_STEP_BITS) > largest).any()


def _dequantise(model: JointCodec, network: IntegerNetwork) -> None:
    """Give the slices' convolutions the weights that the integers stand for."""
    context_step = hidden_step(model.h_s[1].hidden_peak)  # type: ignore[arg-type]
    latents = latent_step(model.slices.latent_peak)
    for number, part in enumerate(network.parts):
        of = model.slices.channels[number]
        assert part.completion is not None
        for module, layers, end in (
            (model.slices.prediction[number], part.prediction, of.start),
            (model.slices.correction[number], part.completion.correction, of.stop),
        ):
            last = torch.full((of.stop - of.start,), 2.0**-MEAN_STEP_BITS).double()
            offset = torch.zeros_like(last)
            if end == of.start:  # a prediction
                last = torch.cat((torch.full_like(last, LOG2_SCALE_STEP), last))
                offset = torch.cat((torch.full_like(offset, LOG2_MIN_SCALE), offset))
            steps = [torch.cat((context_step, latents[:end]))]
            convolutions: list[nn.Conv2d] = []
            for hidden in (module.first, module.second):  # type: ignore[union-attr]
                steps.append(hidden_step(hidden.hidden_peak))  # type: ignore[union-attr, arg-type]
                convolutions.append(hidden.convolution)  # type: ignore[union-attr, arg-type]
            steps.append(last)
            convolutions.append(module.last)  # type: ignore[union-attr, arg-type]
            for place, (convolution, layer) in enumerate(zip(convolutions, layers, strict=True)):
                assert layer.split_bits == 0
                row = torch.from_numpy(np.exp2(-layer.shift.astype(float))) * steps[place + 1]
                weight = torch.from_numpy(layer.weight).double() * row[:, None, None, None]
                convolution.weight.copy_(weight / steps[place][:, None, None])
                assert convolution.bias is not None
                convolution.bias.copy_(torch.from_numpy(layer.bias) * row + (offset if place == 2 else 0))


@pytest.mark.usefixtures("_wanted_weights")
@pytest.mark.parametrize(("slices", "kernel"), [(1, 3), (3, 1), (4, 3)])
def test_engines_walk_the_definition(tmp_path: Path, slices: int, kernel: int) -> None:
    model = random_joint_codec(slices=slices, slice_kernel_size=kernel)
    entropy = entropy_model(exportable(model))
    network, geometry = entropy.network, exportable(model).geometry(16)
    graphs = [hyperdecoder_graph(network, geometry), *(slice_graph(network, geometry, i) for i in range(slices))]
    engines = []
    for graph in graphs:
        onnx.save(graph, tmp_path / "g.onnx")
        engines.append(OnnxRuntimeEngine(tmp_path / "g.onnx"))
    vectors, _ = conformance_vectors(entropy.prior, network, geometry.hyperlatents)
    for vector in vectors:
        expected = vector.expected
        outputs = engines[0].run({"hyperlatent": vector.hyperlatent[None].astype(np.float32)})
        found: dict[str, list[np.ndarray]] = {"scale_index": [], "mean_steps": [], "latent_steps": []}
        for engine, symbols in zip(engines[1:], np.split(expected.symbols, slices), strict=True):
            predicted = outputs
            outputs = engine.run(
                {
                    "part_context": predicted["context"],
                    "part_symbols": symbols[None].astype(np.int32),
                    "part_mean_steps": predicted["mean_steps"],
                }
            )
            for name, of in (("scale_index", predicted), ("mean_steps", predicted), ("latent_steps", outputs)):
                found[name].append(of[name][0])
        assert outputs.keys() == {"latent_steps"}
        for name, parts in found.items():
            assert np.array_equal(np.concatenate(parts), getattr(expected, name))


@pytest.mark.parametrize("kernel", [1, 3])
@torch.no_grad()
def test_the_encoders_copy_of_the_slices_sees_what_the_decoder_has(tmp_path: Path, kernel: int) -> None:
    """Where a tile is cut off no symbols are coded: they are zero to the later slices of both sides."""
    model = random_joint_codec(slice_kernel_size=kernel)
    entropy, geometry = entropy_model(exportable(model)), exportable(model).geometry(16)
    graph = with_latent(encoder_graph(exportable(model), entropy, geometry, AnalysisForm()))
    onnx.save(graph, tmp_path / "e.onnx")
    tile = pixels(geometry.window)[0].permute(1, 2, 0).numpy()[None]
    cells, latents = np.ones((1, 1, 2, 2), np.float32), np.ones((1, 1, 8, 8), np.float32)
    latents[..., 5:, :] = latents[..., 3:] = 0
    cells[..., 1] = 0
    inputs = {
        "tile": np.ascontiguousarray(tile),
        "mean_spectrum": np.zeros((1, 1, 1, 7), np.float32),
        "gain": np.ones((1, 12, 1, 1), np.float32),
        "hyperlatent_mask": cells,
        "latent_mask": latents,
    }
    outputs = OnnxRuntimeEngine(tmp_path / "e.onnx").run(inputs)
    symbols = np.split(outputs["symbols"][0].astype(np.int64), 3)
    walked = run_reference(
        entropy.network, outputs["hyperlatent"][0].astype(np.int64), lambda part, scale_index, means: symbols[part]
    )
    assert np.array_equal(walked.scale_index, outputs["scale_index"][0])
    rounded = np.rint(outputs["latent"][0] - walked.mean_steps * 2.0**-MEAN_STEP_BITS)
    assert np.array_equal(outputs["symbols"][0], rounded * latents[0])
    assert (np.abs(outputs["symbols"][0, :, :5, :3]) > 0).mean() > 0.3


def test_the_vectors_of_a_trained_model_name_what_they_do_not_reach(tiny_joint_checkpoint: Path) -> None:
    entropy = entropy_model(exportable(load_checkpoint(tiny_joint_checkpoint).model))
    vectors, unreached = conformance_vectors(entropy.prior, entropy.network, 4)
    assert unreached < every_case(entropy.network)
    # Whatever its weights, symbols of all magnitudes drive operands to both ends, through ties of both parities.
    assert not {case for case in unreached if case.startswith("operand") and "ties" not in case}
    assert all(np.abs(vector.expected.symbols).max() <= 32768 for vector in vectors)
