from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hyvic_export.cli import main
from hyvic_export.exporter import bundle_from_checkpoint
from hyvic_export.families.latent.entropy_model import entropy_model
from hyvic_export.families.latent.reference_codec import reference_coding
from hyvic_export.families.registry import exportable
from hyvic_runtime.codec.bundle_files import REPORT
from hyvic_runtime.codec.quality_map import Quality
from hyvic_runtime.codec.scene_encoder import DEFAULT_QUALITY, scene_packets
from hyvic_runtime.families.latent.bundle import (
    DECODER,
    ENCODER,
    HYPERDECODER,
    file_names,
)
from hyvic_runtime.families.latent.decoder import LatentDecoder
from hyvic_runtime.families.latent.encoder import LatentRowEncoder
from hyvic_runtime.families.registry import read_bundle
from hyvic_runtime.packets.space_packet import Packetiser
from hyvic_runtime.scene.scene import Scene
from hyvic_train.checkpoint import save_checkpoint, weights
from hyvic_train.families.latent.config import config_from_json
from hyvic_train.families.latent.hyvic import HyVIC
from safetensors.torch import load_file, save_file
from scenes import smooth_cube


def test_the_same_checkpoint_gives_the_same_octets(
    tiny_checkpoint: Path, exported_bundle: Path, tmp_path: Path
) -> None:
    bundle_from_checkpoint(tiny_checkpoint, tmp_path / "again", tile=32)
    for name in file_names(0):
        assert (tmp_path / "again" / name).read_bytes() == (exported_bundle / name).read_bytes()
    # Nor does it matter what was typed: either bundle decodes what the other encoded.
    bundle_from_checkpoint(tiny_checkpoint, tmp_path / "typed", tile=32, command="something else")
    identities = {read_bundle(folder).identity for folder in (exported_bundle, tmp_path / "again", tmp_path / "typed")}
    assert len(identities) == 1


@pytest.mark.parametrize("name", [ENCODER, HYPERDECODER, DECODER])
def test_only_the_batch_is_dynamic(exported_bundle: Path, name: str) -> None:
    graph = onnx.load(exported_bundle / name).graph
    for value in (*graph.input, *graph.output):
        first, *others = value.type.tensor_type.shape.dim
        assert first.dim_param == "tile"
        assert all(dim.HasField("dim_value") and dim.dim_value > 0 for dim in others)


def test_normalisation_and_gdn_are_constants(exported_bundle: Path) -> None:
    operators = {node.op_type for node in onnx.load(exported_bundle / ENCODER).graph.node}
    # What is left is arithmetic that engines fuse; no reparametrisation (Pow, Sub of pedestals) and no Shape.
    assert not operators & {"Pow", "Shape", "Reshape", "Gather", "Loop", "If", "Expand"}


@pytest.mark.parametrize("stages", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("kernel_size", [3, 5, 7])
def test_every_architecture_of_table_i_exports_and_its_stream_decodes(
    tmp_path: Path, stages: int, kernel_size: int
) -> None:
    config = config_from_json(
        {
            "model": {
                "bands": 5,
                "latent_channels": 10,
                "hyperlatent_channels": 6,
                "kernel_size": kernel_size,
                "spatial_stages": stages,
            },
            "optimisation": {"lmbda": 1e-4, "steps": 1},
        }
    )
    torch.manual_seed(0)
    model = HyVIC(config.model).eval()
    model.calibrate(torch.rand(1, 5, 64, 64) * 5000)
    save_checkpoint(tmp_path / "checkpoint", weights(model), config, 1, {})
    assert main(["--checkpoint", str(tmp_path / "checkpoint"), "--out", str(tmp_path / "b"), "--tile", "64"]) == 0
    bundle = read_bundle(tmp_path / "b")
    cube = smooth_cube(70, 90, 5)
    packets = scene_packets(LatentRowEncoder(bundle), Scene(cube=cube), Packetiser())
    decoded = LatentDecoder(bundle).decode(b"".join(packet for tile in packets for packet in tile))
    assert (decoded.quality == Quality.EXACT).all()
    expected = reference_coding(
        exportable(model),
        entropy_model(exportable(model)),
        cube,
        np.zeros(5, np.uint16),
        bundle.manifest.geometry,
        DEFAULT_QUALITY,
    )
    # Rounding to whole numbers, and float32's own: 1e-2 is 1e-6 of the peak.
    assert np.abs(decoded.scene.cube - expected.reconstruction.clip(0, 65535)).max() <= 0.5 + 1e-2


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\x08" * 100), "model.safetensors"),
        (lambda folder: _truncate(folder / "model.safetensors"), "model.safetensors"),
        (lambda folder: _with_nan(folder / "model.safetensors"), "holds NaN"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json"),
        (lambda folder: _rename_architecture(folder / "config.json"), "config.json: model.architecture"),
    ],
    ids=["no weights", "truncated", "NaN", "no configuration", "unknown architecture"],
)
def test_a_damaged_checkpoint_is_one_line_and_leaves_nothing(
    tiny_checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[Path], object],
    match: str,
) -> None:
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(tiny_checkpoint, checkpoint)
    damage(checkpoint)
    out = tmp_path / "b"
    assert main(["--checkpoint", str(checkpoint), "--out", str(out), "--tile", "32"]) == 1
    error = capsys.readouterr().err
    assert match in error
    assert len(error.strip().splitlines()) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint"}


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _with_nan(path: Path) -> None:
    tensors = load_file(path)
    next(iter(tensors.values())).view(-1)[0] = float("nan")
    save_file(tensors, path)


def _rename_architecture(path: Path) -> None:
    config = json.loads(path.read_text())
    config["model"]["architecture"] = "joint"
    path.write_text(json.dumps(config))


def test_the_bundle_says_what_its_tables_cost_and_its_vectors_leave_out(exported_bundle: Path) -> None:
    report = json.loads((exported_bundle / REPORT).read_text())
    rows = len(read_bundle(exported_bundle).tables.first)
    assert len(report["table_excess_bits"]) == rows
    assert all(0 <= excess < 1e-3 for excess in report["table_excess_bits"])
    assert "layer 1 clamps low" in report["conformance_unreached"]
    assert "layer 0 clamps high" not in report["conformance_unreached"]


def test_command_reports_as_json(tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "b"
    assert main(["--checkpoint", str(tiny_checkpoint), "--out", str(out), "--tile", "32", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["files"].keys() == {*file_names(0), REPORT}
    assert result["octets"] == sum(f.stat().st_size for f in out.iterdir())


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["--checkpoint", "missing"], "is missing; a checkpoint is a folder"),
        (["--tile", "40"], "tile is 40 pixels; it must be a multiple of 16"),
        (["--tile", "0"], "tile 0"),
        (["--tile", "160000000"], "a whole number in 0..4096 is needed"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], match: str
) -> None:
    out = tmp_path / "b"
    assert main(["--checkpoint", str(tiny_checkpoint), "--out", str(out), *arguments]) == 1
    error = capsys.readouterr().err
    assert match in error
    assert len(error.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_replaced_unasked(
    tiny_checkpoint: Path, exported_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "b"
    shutil.copytree(exported_bundle, bundle)
    arguments = ["--checkpoint", str(tiny_checkpoint), "--out", str(bundle), "--tile", "32"]
    assert main(arguments) == 1
    assert "pass --force" in capsys.readouterr().err
    assert main([*arguments, "--force"]) == 0
    folder = tmp_path / "precious"
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")
    (folder / "manifest.json").write_text("{}")
    assert main([*arguments[:3], str(folder), "--force"]) == 1
    assert "so it is not replaced" in capsys.readouterr().err
    assert (folder / "thesis.txt").read_text() == "mine"
