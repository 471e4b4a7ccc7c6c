from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hyvic_export.cli import main
from hyvic_export.exporter import bundle_from_checkpoint
from hyvic_export.families.adaptive.context_network import (
    OUTPUTS,
    ContextNetwork,
    context_graph,
    context_network,
    context_weights,
)
from hyvic_export.families.adaptive.context_vectors import DESIGNED, cases, context_vectors, every_case
from hyvic_export.families.adaptive.row_tables import LEAST_MASS, row_distributions
from hyvic_export.integer_layer import largest_sum, layer_sums, run_layers
from hyvic_runtime.codec.bundle_files import MANIFEST, REPORT
from hyvic_runtime.families.adaptive.bundle import (
    CONTEXT_NETWORK,
    FILES,
    ROWS_OF_WEIGHTS,
    WEIGHTS,
    read_adaptive_bundle,
)
from hyvic_runtime.families.adaptive.contexts import CONTEXT_MAX, CONTEXTS
from hyvic_runtime.families.adaptive.table_choice import (
    FRACTIONS,
    GAIN_STEP_BITS,
    MAX_GAIN,
    MAX_MEAN_STEPS,
    MEAN_STEP_BITS,
    ROWS,
    SCALES,
)
from hyvic_train.checkpoint import save_checkpoint, weights
from hyvic_train.entropy_path_layer import Arithmetic
from hyvic_train.families.adaptive.checkpoint import load_context_model
from hyvic_train.families.adaptive.context_model import ContextModel
from hyvic_train.families.adaptive.integer_rows import LOG2_MIN_SCALE, LOG2_SCALE_STEP
from scenes import smooth_cube


@pytest.fixture
def model(tiny_context_checkpoint: Path) -> ContextModel:
    return load_context_model(tiny_context_checkpoint).model


@pytest.fixture
def network(model: ContextModel) -> ContextNetwork:
    return context_network(model)


def _contexts(count: int, limit: int = CONTEXT_MAX) -> np.ndarray:
    return np.random.default_rng(0).integers(-limit, limit + 1, (CONTEXTS, 1, count))


def _run(graph: onnx.ModelProto, contexts: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip(OUTPUTS, session.run(list(OUTPUTS), {"contexts": contexts.astype(np.float32)}), strict=True))


def test_the_engine_computes_the_integer_network_exactly(network: ContextNetwork) -> None:
    contexts = _contexts(20_000)
    outputs = _run(context_graph(network), contexts[None])
    for output, expected in zip(OUTPUTS, run_layers(network, contexts), strict=True):
        assert outputs[output].dtype == np.int32
        np.testing.assert_array_equal(outputs[output][0, 0], expected)


def test_the_weights_that_a_bundle_carries_are_the_networks(network: ContextNetwork) -> None:
    carried = context_weights(network)
    x = _contexts(5_000)[:, 0]
    for layer in carried.layers:
        bias, shift, negative_shift, low, high = layer.rows.astype(np.int64).T[:, :, None]
        sums = layer.weight.astype(np.int64) @ x + bias
        scaled = np.rint(sums * np.exp2(-np.where(sums < 0, negative_shift, shift).astype(float)))
        x = np.clip(scaled, low, high).astype(np.int64)
    np.testing.assert_array_equal(x[:, None], run_layers(network, _contexts(5_000)))


@pytest.mark.parametrize(("width", "layers"), [(1, 1), (7, 8), (256, 2)])
def test_any_network_that_can_be_configured_is_carried(model: ContextModel, width: int, layers: int) -> None:
    other = ContextModel(replace(model.config, width=width, layers=layers))
    for hidden in other.hidden:
        hidden.hidden_peak.fill_(1.0)
    assert context_weights(context_network(other)).widths == (CONTEXTS, *[width] * layers, len(OUTPUTS))


def test_any_batch_and_picture_will_do(network: ContextNetwork) -> None:
    contexts = _contexts(3 * 4 * 5).reshape(CONTEXTS, 3, 4, 5).transpose(1, 0, 2, 3)
    outputs = _run(context_graph(network), contexts)
    for index, of_one in enumerate(contexts):
        expected = run_layers(network, of_one)
        np.testing.assert_array_equal([outputs[output][index, 0] for output in OUTPUTS], expected)
    graph = context_graph(network).graph
    (contexts_input,) = graph.input
    first, channels, *others = contexts_input.type.tensor_type.shape.dim
    assert channels.dim_value == CONTEXTS
    assert all(dim.dim_param for dim in (first, *others))


def test_every_sum_is_exact_in_float32(network: ContextNetwork) -> None:
    peak = np.full(CONTEXTS, CONTEXT_MAX)
    for layer in network:
        assert np.abs(layer.weight).max() <= 2048
        assert (largest_sum(layer, peak) < 2**24).all()
        peak = np.maximum(np.abs(layer.low), np.abs(layer.high))


def test_the_integer_network_is_the_rounded_model_but_for_its_weights(
    model: ContextModel, network: ContextNetwork
) -> None:
    contexts = _contexts(20_000, 128)
    model.arithmetic = Arithmetic.ROUNDED
    with torch.no_grad():
        log2_scale, mean, gain = model.outputs(torch.from_numpy(contexts[None]).float())
    expected = (
        np.rint((log2_scale.numpy() - LOG2_MIN_SCALE) / LOG2_SCALE_STEP).clip(0, SCALES - 1),
        np.rint(mean.numpy() * 2**MEAN_STEP_BITS).clip(-MAX_MEAN_STEPS, MAX_MEAN_STEPS),
        np.rint(gain.numpy() * 2**GAIN_STEP_BITS),
    )
    for integers, floats in zip(run_layers(network, contexts), expected, strict=True):
        off = np.abs(integers - floats[0])
        assert len(np.unique(integers)) > 8
        assert off.max() <= 2
        assert off.mean() < 0.05


def test_rows_are_the_models_distributions(model: ContextModel) -> None:
    rows = row_distributions(model)
    assert len(rows) == ROWS
    for fraction, scale_index in ((0, 0), (3, 21), (7, 40), (7, 63)):
        row = rows[fraction * SCALES + scale_index]
        reach = 20_000
        mass = model.row_masses(scale_index, reach).numpy()[fraction]
        np.testing.assert_array_equal(row.mass, mass[row.first + reach :][: len(row.mass)])
        beyond = np.delete(mass, np.arange(len(row.mass)) + row.first + reach)
        assert beyond.max() < LEAST_MASS <= row.mass.min()
        # What a narrow row leaves to its escape is nothing, what the widest does a share in ten thousand.
        assert 1 - row.mass.sum() < 1e-3


def test_vectors_bring_about_what_the_report_does_not_name(model: ContextModel) -> None:
    with torch.no_grad():  # so far that every output reaches both ends
        model.last.weight.copy_(20 * model.last.weight.abs() * torch.tensor([1, -1]).repeat(4)[:, None, None])
    network = context_network(model)
    vectors, unreached = context_vectors(network)
    assert len(vectors) >= DESIGNED
    assert all(np.abs(vector).max() <= CONTEXT_MAX for vector in vectors)
    assert frozenset().union(*(cases(network, vector) for vector in vectors)) == every_case(network) - unreached
    for output, (low, high) in {"scale_index": (0, SCALES - 1), "gain": (0, MAX_GAIN)}.items():
        values = np.concatenate([run_layers(network, v)[OUTPUTS.index(output)].ravel() for v in vectors])
        assert (values.min(), values.max()) == (low, high)
        assert {f"{output} clamps low", f"{output} clamps high"}.isdisjoint(unreached)
    assert {"layer 0 clamps high", "layer 1 clamps high"}.isdisjoint(unreached)


def test_designed_vectors_drive_each_output_farther_than_chance(network: ContextNetwork) -> None:
    vectors, _ = context_vectors(network)
    *hidden, last = network

    def sums(contexts: np.ndarray) -> np.ndarray:
        return layer_sums(last, run_layers(hidden, contexts))

    chance = sums(_contexts(100_000))
    for row in range(len(OUTPUTS)):
        driven = sums(vectors[3 + row])[row]
        assert driven.min() < chance[row].min()
        assert driven.max() > chance[row].max()


def test_the_same_checkpoint_gives_the_same_octets(
    tiny_context_checkpoint: Path, exported_adaptive_bundle: Path, tmp_path: Path
) -> None:
    bundle_from_checkpoint(tiny_context_checkpoint, tmp_path / "again", tile=32, command="typed")
    for name in FILES:
        assert (tmp_path / "again" / name).read_bytes() == (exported_adaptive_bundle / name).read_bytes()
    again, before = (read_adaptive_bundle(folder) for folder in (tmp_path / "again", exported_adaptive_bundle))
    assert again.identity == before.identity
    assert again.manifest.provenance["command"] == "typed"


def test_the_bundle_says_what_its_tables_and_its_rounding_cost(exported_adaptive_bundle: Path) -> None:
    report = json.loads((exported_adaptive_bundle / REPORT).read_text())
    assert len(report["table_excess_bits"]) == FRACTIONS * SCALES
    assert all(-1e-9 <= excess < 0.01 for excess in report["table_excess_bits"])
    lengths = report["parity"]["code_lengths"]
    assert [of["of"] for of in lengths] == [f"noise, step {step}" for step in (10, 40, 160)]
    for of in lengths:
        assert of["coefficients"] > 10_000
        assert of["bits"] == pytest.approx(of["reference_bits"], rel=0.01)


def test_command_exports_and_measures_scenes(
    tiny_context_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "scene.npz", cube=smooth_cube(40, 40, 6))
    out, scene = tmp_path / "b", tmp_path / "scene.npz"
    arguments = ["--checkpoint", str(tiny_context_checkpoint), "--out", str(out), "--scene", str(scene), "--json"]
    assert main(arguments) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["files"].keys() == {*FILES, REPORT}
    assert result["engines"] is None
    assert read_adaptive_bundle(out).manifest.tile == 256
    parity = json.loads((out / REPORT).read_text())["parity"]["code_lengths"]
    assert [of["of"] for of in parity] == [f"scene.npz, step {step}" for step in (10, 40, 160)]
    assert all(of["bits"] > 0 and of["coefficients"] > 0 for of in parity)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["--tile", "40"], "tile is 40; a multiple of 32 is needed"),
        (["--precision", "int8"], "--precision int8 has no use with model.family adaptive"),
        (["--precision", "fp16"], "--precision fp16 has no use with model.family adaptive"),
        (["--target", "tensorrt"], "--target tensorrt has no use with model.family adaptive"),
        (["--target", "tensorrt-rtx"], "--target tensorrt-rtx has no use with model.family adaptive"),
        (["--scene", "nowhere.npz"], "nowhere.npz"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    tiny_context_checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    match: str,
) -> None:
    assert main(["--checkpoint", str(tiny_context_checkpoint), "--out", str(tmp_path / "b"), *arguments]) == 1
    error = capsys.readouterr().err
    assert match in error
    assert len(error.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_of_the_family_is_not_compiled(
    exported_adaptive_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--bundle", str(exported_adaptive_bundle), "--out", str(tmp_path / "b"), "--target", "tensorrt"]) == 1
    assert "of the family adaptive, which has no latent" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_was_never_watched_is_refused(tiny_context_checkpoint: Path, tmp_path: Path) -> None:
    loaded = load_context_model(tiny_context_checkpoint)
    loaded.model.hidden[1].hidden_peak.zero_()
    save_checkpoint(tmp_path / "checkpoint", weights(loaded.model), loaded.config, 1, {})
    with pytest.raises(ValueError, match="was never calibrated"):
        bundle_from_checkpoint(tmp_path / "checkpoint", tmp_path / "b")


def test_a_bundle_of_another_family_is_replaced_when_that_is_asked_for(
    tiny_context_checkpoint: Path, exported_adaptive_bundle: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(exported_adaptive_bundle, tmp_path / "b"))
    for name in FILES:
        (out / name).rename(out / name.replace("contexts", "hyperlatents"))
    (out / "hyperlatents.onnx").rename(out / "hyperdecoder.onnx")
    for name in (WEIGHTS, ROWS_OF_WEIGHTS):
        (out / name.replace("contexts", "hyperlatents")).unlink()
    assert main(["--checkpoint", str(tiny_context_checkpoint), "--out", str(out), "--tile", "32", "--force"]) == 0
    assert {path.name for path in out.iterdir()} == {*FILES, MANIFEST, REPORT}
    assert (out / CONTEXT_NETWORK).is_file()
