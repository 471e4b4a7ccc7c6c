"""The joint codec's transforms as graphs, and the whole way from checkpoint to decoded stream."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hyvic_export.cli import main
from hyvic_export.exporter import bundle_from_checkpoint
from hyvic_export.families.latent.analysis_form import AnalysisForm
from hyvic_export.families.latent.entropy_model import entropy_model
from hyvic_export.families.latent.graphs import decoder_graph, encoder_graph, with_latent
from hyvic_export.families.latent.reference_codec import reference_coding
from hyvic_export.families.registry import exportable
from hyvic_export.graph_files import save_graph
from hyvic_export.precision import Precision
from hyvic_runtime.codec.bundle_files import MANIFEST
from hyvic_runtime.codec.quality_map import Quality
from hyvic_runtime.codec.scene_encoder import DEFAULT_QUALITY, scene_packets
from hyvic_runtime.engines.engine import OnnxRuntimeEngine
from hyvic_runtime.families.latent.bundle import ENCODER, file_names, graph_names
from hyvic_runtime.families.latent.decoder import LatentDecoder
from hyvic_runtime.families.latent.encoder import LatentRowEncoder
from hyvic_runtime.families.registry import read_bundle
from hyvic_runtime.packets.space_packet import Packetiser
from hyvic_runtime.scene.scene import Scene
from hyvic_train.checkpoint import save_checkpoint, weights
from hyvic_train.families.latent.checkpoint import load_checkpoint
from hyvic_train.families.latent.config import config_from_json
from joint_models import ARCHITECTURE, pixels, random_joint_codec
from rounding import FLOAT16, FLOAT32
from scenes import BANDS, smooth_cube
from torch_codec import decoded_latents
from torch_rounding import float_bound, movement

VARIANTS: list[dict[str, object]] = [
    {},
    {"attention": False},
    {"spectral_branch": False},
    {"attention": False, "spectral_branch": False, "extraction_blocks": 0},
    {"extraction_blocks": 2, "spatial_features": 3},
    {"spatial_stages": 0},
    {"spatial_stages": 2, "attention_block": 2},
    {"kernel_size": 5, "slices": 1},
]


def _name(fields: dict[str, object]) -> str:
    return ", ".join(f"{key} {value}" for key, value in fields.items()) or "plain"


@pytest.mark.parametrize("fields", VARIANTS, ids=_name)
@torch.no_grad()
def test_transforms_are_torchs_on_a_window(tmp_path: Path, fields: dict[str, object]) -> None:
    model = random_joint_codec(**fields)
    entropy, geometry = entropy_model(exportable(model)), exportable(model).geometry(32)
    stride = geometry.latent_stride
    x = pixels(geometry.window)
    mean = x.mean(dim=(2, 3), keepdim=True)
    form = AnalysisForm()
    save_graph(with_latent(encoder_graph(exportable(model), entropy, geometry, form)), tmp_path / "e.onnx")
    outputs = OnnxRuntimeEngine(tmp_path / "e.onnx").run(
        {
            "tile": np.ascontiguousarray(x.permute(0, 2, 3, 1).numpy()),
            "mean_spectrum": np.ascontiguousarray(mean.permute(0, 2, 3, 1).numpy()),
            "gain": np.ones((1, 12, 1, 1), np.float32),
            "hyperlatent_mask": np.ones((1, 1, geometry.hyperlatents, geometry.hyperlatents), np.float32),
            "latent_mask": np.ones((1, 1, geometry.latents, geometry.latents), np.float32),
        }
    )
    first = geometry.halo_before // stride
    own = slice(first, first + geometry.latents)
    double = copy.deepcopy(model).double()
    latent = float_bound(lambda: double.analyse((x - mean).double())[..., own, own])
    assert (np.abs(outputs["latent"] - latent.exact) <= latent.bound).all()

    save_graph(decoder_graph(exportable(model), geometry), tmp_path / "d.onnx")
    size = geometry.latent_window
    y_hat = 20 * torch.randn(1, 12, size, size, generator=torch.Generator().manual_seed(1))
    picture = OnnxRuntimeEngine(tmp_path / "d.onnx").run({"latent": y_hat.numpy()})["reconstruction"]
    own = slice(geometry.latent_halo_before * stride, geometry.latent_halo_before * stride + geometry.tile)
    expected = float_bound(lambda: double.synthesise(y_hat.double())[..., own, own])
    picture = np.moveaxis(picture, -1, 1)
    assert picture.shape == expected.exact.shape
    assert (np.abs(picture - expected.exact) <= expected.bound).all()


def test_windows_hold_whole_blocks_of_attention() -> None:
    for fields in VARIANTS:
        model = random_joint_codec(**fields)
        geometry = exportable(model).geometry(32)
        for stage in model.config.attention_stages:
            block = model.config.attention_block << stage
            for pixels_of in (geometry.tile, geometry.halo_before, geometry.halo_after):
                assert pixels_of % block == 0
            block //= geometry.latent_stride
            assert geometry.latent_halo_before * (1 << model.config.spatial_stages) % max(block, 1) == 0
    with pytest.raises(ValueError, match="tile is 24 pixels; it must be a multiple of 16"):
        exportable(random_joint_codec(spatial_stages=2)).geometry(24)


@pytest.mark.parametrize(
    "fields", [*VARIANTS, {"slices": 12, "slice_kernel_size": 1}, {"rates": 2, "hyperlatent_channels": 3}], ids=_name
)
def test_every_architecture_exports_and_its_stream_decodes(tmp_path: Path, fields: dict[str, object]) -> None:
    config = config_from_json(
        {"model": {"family": "joint", **ARCHITECTURE, **fields}, "optimisation": {"lmbda": _lambdas(fields)}}
        | {"data": {"crop": 64}}
    )
    model = random_joint_codec(**fields)
    save_checkpoint(tmp_path / "checkpoint", weights(model), config, 1, {})
    bundle_from_checkpoint(tmp_path / "checkpoint", tmp_path / "b", tile=32)
    bundle = read_bundle(tmp_path / "b")
    assert bundle.manifest.family == "joint"
    assert bundle.manifest.slices == model.config.slices
    cube = smooth_cube(37, 50, 7)
    packets = scene_packets(LatentRowEncoder(bundle), Scene(cube=cube), Packetiser())
    stream = b"".join(packet for tile in packets for packet in tile)
    decoder = LatentDecoder(bundle)
    decoded = decoder.decode(stream)
    assert (decoded.quality == Quality.EXACT).all()
    expected = reference_coding(
        exportable(model),
        entropy_model(exportable(model)),
        cube,
        np.zeros(7, np.uint16),
        bundle.manifest.geometry,
        DEFAULT_QUALITY,
    )
    # A latent within float32's rounding of a half may round the other way, later slices follow it, and so do the pixels
    # of all blocks of attention that see it. Where none did, the picture is torch's, which the bound of a tile is for.
    symbols, latents = decoded_latents(decoder, stream)
    if np.array_equal(symbols, expected.symbols):
        double, size = copy.deepcopy(model).double(), bundle.manifest.geometry.latents
        whole = [(0, 0), *((0, -side % size) for side in latents.shape[1:])]
        mosaic = torch.from_numpy(np.pad(latents, whole, mode="edge"))[None]
        bound = float_bound(lambda: double.synthesise(mosaic)).bound[0, :, 0, 0]
        difference = np.abs(decoded.scene.cube - expected.reconstruction.clip(0, 65535))
        assert (difference <= 0.5 + bound).all()


def _lambdas(fields: dict[str, object]) -> object:
    return [1e-4, 1e-3] if fields.get("rates") == 2 else 1e-4


def test_the_same_checkpoint_gives_the_same_octets(
    tiny_joint_checkpoint: Path, exported_joint_bundle: Path, tmp_path: Path
) -> None:
    bundle_from_checkpoint(tiny_joint_checkpoint, tmp_path / "again", tile=32)
    names = file_names(3)
    assert set(graph_names(3)) <= set(names)
    for name in names:
        assert (tmp_path / "again" / name).read_bytes() == (exported_joint_bundle / name).read_bytes()
    assert {file.name for file in exported_joint_bundle.iterdir()} == {*names, MANIFEST, "report.json"}
    for name in graph_names(3):
        graph = onnx.load(exported_joint_bundle / name).graph
        for value in (*graph.input, *graph.output):
            assert value.type.tensor_type.shape.dim[0].dim_param == "tile"


def test_half_precision_strays_no_further_than_it_explains(tiny_joint_checkpoint: Path, tmp_path: Path) -> None:
    wavelengths, cube = np.linspace(420, 2450, BANDS), smooth_cube(50, 64, BANDS, seed=21)
    np.savez(tmp_path / "s.npz", cube=cube, wavelengths=wavelengths)
    model = load_checkpoint(tiny_joint_checkpoint).model.double()
    centred = torch.from_numpy(np.moveaxis(cube - cube.mean(axis=(0, 1)), -1, 0)[None, :, :48]).double()
    gain = model.gains(torch.tensor([model.config.rates - 1.0]))[0]

    def latents() -> torch.Tensor:
        return model.analyse(centred) * gain

    identities = set()
    for precision in (Precision.FP32, Precision.FP16):
        out = tmp_path / precision
        bundle_from_checkpoint(tiny_joint_checkpoint, out, tile=32, precision=precision, scenes=[tmp_path / "s.npz"])
        parity = json.loads((out / "report.json").read_text())["parity"]
        # At most all roundings of all sums, twice for a draw is few; in half precision at least one of what is stored,
        # a sixteenth because roundings are seldom the worst and some layers stay in float32.
        unit = FLOAT32 if precision is Precision.FP32 else FLOAT16
        low = movement(latents, unit, lambda terms: 1) / 16 if precision is Precision.FP16 else 0
        high = 2 * movement(latents, unit, math.sqrt if precision is Precision.FP16 else float)
        assert low <= parity["rms_latent_difference"] <= high
        identities.add(read_bundle(out).identity)
        halves = sum(
            value.data_type == onnx.TensorProto.FLOAT16 for value in onnx.load(out / ENCODER).graph.initializer
        )
        assert (halves > 0) == (precision is Precision.FP16)
    assert len(identities) == 1


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["--precision", "int8"], "a model of the family joint has no int8 form; choose fp32 or fp16"),
        (["--tile", "24"], "tile is 24 pixels; it must be a multiple of 16"),
    ],
)
def test_what_is_not_made_for_the_family_is_one_line_and_leaves_nothing(
    tiny_joint_checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    match: str,
) -> None:
    cube, wavelengths = smooth_cube(32, 32, BANDS), np.linspace(420, 2450, BANDS)
    np.savez(tmp_path / "s.npz", cube=cube, wavelengths=wavelengths)
    scene = ["--scene", str(tmp_path / "s.npz")]
    command = ["--checkpoint", str(tiny_joint_checkpoint), "--out", str(tmp_path / "b"), "--tile", "32"]
    assert main([*command, *scene, *arguments]) == 1
    error = capsys.readouterr().err
    assert match in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    "fields",
    [
        *VARIANTS,
        {"kernel_size": 15, "attention": False, "spatial_stages": 2},
        {"kernel_size": 9, "spatial_stages": 2},
        {"extraction_blocks": 6, "attention": False},
    ],
    ids=_name,
)
@torch.no_grad()
def test_pixels_farther_in_than_the_halo_know_nothing_of_the_neighbour(
    tmp_path: Path, fields: dict[str, object]
) -> None:
    """A quality map calls them exact where the neighbour is lost."""
    model = random_joint_codec(**fields)
    geometry = exportable(model).geometry(64)
    save_graph(decoder_graph(exportable(model), geometry), tmp_path / "d.onnx")
    engine = OnnxRuntimeEngine(tmp_path / "d.onnx")
    shape = (1, model.config.latent_channels, geometry.latent_window, geometry.latent_window)
    latent = np.random.default_rng(0).normal(0, 0.5, shape).astype(np.float32)
    lost = latent.copy()
    lost[..., : geometry.latent_halo_before] = 0
    whole, beside = (engine.run({"latent": y_hat})["reconstruction"][0] for y_hat in (latent, lost))
    inside = geometry.latent_halo_before * geometry.latent_stride
    np.testing.assert_array_equal(whole[:, inside:], beside[:, inside:])
