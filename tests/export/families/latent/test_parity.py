from __future__ import annotations

import copy
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hyvic_export.cli import main
from hyvic_export.exporter import bundle_from_checkpoint
from hyvic_export.families.latent import parity
from hyvic_export.families.latent.sample_scenes import centred_pixels, sample_scenes
from hyvic_export.families.registry import exportable
from hyvic_export.precision import Precision
from hyvic_runtime.codec.bundle_files import REPORT
from hyvic_runtime.codec.scene_encoder import scene_packets
from hyvic_runtime.errors import EngineError
from hyvic_runtime.families.latent.bundle import ENCODER
from hyvic_runtime.families.latent.decoder import LatentDecoder
from hyvic_runtime.families.latent.encoder import LatentRowEncoder
from hyvic_runtime.families.registry import read_bundle
from hyvic_runtime.packets.space_packet import Packetiser
from hyvic_runtime.scene.scene import Scene
from hyvic_train.families.latent.checkpoint import load_checkpoint
from hyvic_train.families.latent.hyvic import HyVIC
from int8_analysis import int8_bound
from rounding import FLOAT16
from scenes import BANDS, smooth_cube
from torch.nn.functional import pad
from torch_rounding import float_bound, movement


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scenes") / "s.npz"
    np.savez(path, cube=smooth_cube(50, 80, BANDS, seed=21), wavelengths=np.linspace(420, 2450, BANDS))
    return path


@pytest.fixture(scope="module", params=list(Precision))
def bundle(
    request: pytest.FixtureRequest, scene: Path, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("bundle") / request.param
    bundle_from_checkpoint(tiny_checkpoint, out, tile=32, precision=request.param, scenes=[scene])
    return out


def test_the_report_holds_the_engine_against_the_model(bundle: Path, scene: Path, tiny_checkpoint: Path) -> None:
    report = json.loads((bundle / REPORT).read_text())
    precision = Precision(report["precision"])
    measured = parity.Parity(**report["parity"])
    assert measured.scenes == ["s.npz"]
    assert measured.symbols == 20 * 13 * 16  # channels, and latents that cover 50 × 64 pixels: two tiles a side at most
    measured.check(precision)
    differing = 1 - measured.symbols_equal
    assert differing < parity.TOLERANCES[precision].symbols
    assert report["calibrated_on"] == (["s.npz"] if precision is Precision.INT8 else [])

    # Each precision strays as far as its bits explain: no farther, and far enough that no other one was computed.
    low, high = _explained(precision, scene, tiny_checkpoint)
    assert low <= measured.rms_latent_difference <= high


@torch.no_grad()
def _explained(precision: Precision, path: Path, checkpoint: Path) -> tuple[float, float]:
    """Least and largest root mean square of latent differences, in quantiser steps, on any processor."""
    loaded = load_checkpoint(checkpoint)
    model = loaded.model
    assert isinstance(model, HyVIC)
    samples = sample_scenes([path], loaded.config, exportable(model).geometry(32))
    (pixels,) = (centred_pixels(sample, subtract_mean=True) for sample in samples)  # cut to whole cells
    stride, margin = 2**model.config.spatial_stages, 8
    lines, samples_ = pixels.shape[2:]
    beyond = [-side % 32 + margin * stride for side in (lines, samples_)]
    x = pad(pixels.double(), (margin * stride, beyond[1], margin * stride, beyond[0]), mode="reflect")
    covered = [slice(margin, margin - (-side // stride)) for side in (lines, samples_)]
    gain, _ = model.gains(torch.tensor([float(model.config.rates - 1)]))
    if precision is Precision.INT8:
        amplified = copy.deepcopy(model)
        amplified.g_a[-1].weight.mul_(gain.reshape(-1, 1, 1, 1))  # type: ignore[operator]
        amplified.g_a[-1].bias.mul_(gain.flatten())  # type: ignore[operator]
        steps, cut = int8_bound(amplified, x, exportable(model).calibrated_peaks([pixels]), covered)
        # Of all the steps, float32 rounds few the other way; that neither halves nor doubles what all of them move.
        return steps / 2, 2 * steps + cut
    double = copy.deepcopy(model).double()

    def latents() -> torch.Tensor:
        return (double.analyse(x) * gain)[..., covered[0], covered[1]]

    if precision is Precision.FP32:
        return 0.0, float(np.sqrt(np.mean(float_bound(latents).bound ** 2)))
    # At least what is stored is rounded; a sixteenth, since roundings are seldom the worst and some layers stay in
    # float32. At most, on processors that also add in half precision, all sums' roundings; twice, for one draw is few.
    return movement(latents, FLOAT16, lambda terms: 1) / 16, 2 * movement(latents, FLOAT16, math.sqrt)


def test_a_stream_of_any_precision_decodes_with_every_bundle(bundle: Path, exported_bundle: Path, scene: Path) -> None:
    ours, plain = read_bundle(bundle), read_bundle(exported_bundle)
    assert ours.identity == plain.identity
    cube = np.load(scene)["cube"]
    packets = scene_packets(LatentRowEncoder(ours), Scene(cube=cube), Packetiser())
    stream = b"".join(packet for tile in packets for packet in tile)
    pictures = [LatentDecoder(each).decode(stream).scene.cube for each in (ours, plain)]
    assert np.array_equal(*pictures)


def test_an_int8_graph_computes_its_convolutions_in_integers(bundle: Path) -> None:
    import onnx

    graph = onnx.load(bundle / ENCODER).graph
    operators = [node.op_type for node in graph.node]
    quantised = Precision(bundle.name) is Precision.INT8
    # Inputs and outputs of two strided convolutions, and their weights.
    assert operators.count("QuantizeLinear") == (4 if quantised else 0)
    assert operators.count("DequantizeLinear") == (6 if quantised else 0)


def test_an_engine_that_is_not_the_model_ends_the_export(
    scene: Path, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hyvic_export.families.latent import hyvic as exportable_hyvic

    weights = exportable_hyvic.layer_weights

    def one_percent_off(layer: object) -> tuple[np.ndarray, np.ndarray]:
        weight, bias = weights(layer)
        return weight * np.float32(1.01), bias

    monkeypatch.setattr(exportable_hyvic, "layer_weights", one_percent_off)
    with pytest.raises(EngineError, match=r"in fp32 is not the model: \d+\.\d+% of the symbols differ"):
        bundle_from_checkpoint(tiny_checkpoint, tmp_path / "b", tile=32, scenes=[scene])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [{"symbols_equal": 0.99}, {"bits": 1001.0}, {"psnr_db": 39.9}, {"psnr_db": 39.9, "reference_psnr_db": np.inf}],
)
def test_each_measure_alone_can_fail(change: dict[str, float]) -> None:
    equal = parity.Parity(
        scenes=("s",),
        engine="an engine",
        quality=100.0,
        symbols=1000,
        symbols_equal=1.0,
        largest_latent_difference=0.0,
        rms_latent_difference=0.0,
        bits=1000.0,
        reference_bits=1000.0,
        psnr_db=40.0,
        reference_psnr_db=40.0,
    )
    equal.check(Precision.FP32)
    replace(equal, psnr_db=np.inf, reference_psnr_db=np.inf).check(Precision.FP32)
    with pytest.raises(EngineError, match="an engine in fp32 is not the model"):
        replace(equal, **change).check(Precision.FP32)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["--precision", "bf16"], "unknown precision 'bf16'; choose among fp32, fp16, int8"),
        (["--precision", "int8"], "int8 needs scenes to calibrate with"),
        (["--scene", "missing.npz"], "missing.npz"),
        (["--scene", "three-bands.npy"], "three-bands.npy has 3 bands and the model codes 20"),
    ],
)
def test_bad_precision_or_scene_is_one_line_and_leaves_nothing(
    tiny_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    match: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("three-bands.npy", np.zeros((40, 40, 3), np.uint16))
    out = tmp_path / "b"
    assert main(["--checkpoint", str(tiny_checkpoint), "--out", str(out), "--tile", "32", *arguments]) == 1
    error = capsys.readouterr().err
    assert match in error
    assert len(error.strip().splitlines()) == 1
    assert not out.exists()


def test_no_data_is_neither_calibrated_with_nor_measured(tmp_path: Path, tiny_checkpoint: Path) -> None:
    cube = smooth_cube(50, 64, BANDS, seed=21)
    reports = []
    for name, no_data in (("whole", None), ("gaps", 65535)):
        arrays = {"cube": cube.copy(), "wavelengths": np.linspace(420, 2450, BANDS)}
        if no_data is not None:
            arrays["cube"][20:, :20] = no_data
            arrays["no_data"] = np.array(no_data, np.uint16)
        np.savez(tmp_path / f"{name}.npz", **arrays)
        out = tmp_path / name
        scenes = [tmp_path / f"{name}.npz"]
        bundle_from_checkpoint(tiny_checkpoint, out, tile=32, precision=Precision.INT8, scenes=scenes)
        reports.append(json.loads((out / REPORT).read_text())["parity"])
    whole, gaps = reports
    assert gaps["reference_psnr_db"] > whole["reference_psnr_db"] - 3
    assert gaps["psnr_db"] > gaps["reference_psnr_db"] - 0.5
    assert gaps["symbols_equal"] > whole["symbols_equal"] - 0.1
