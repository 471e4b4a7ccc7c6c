from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from compressai.utils.eval_model.__main__ import psnr as compressai_psnr
from hyspecnet_folder import patch_entry, write_splits
from hyvic_compare.evaluation import Evaluation
from hyvic_export.exporter import bundle_from_checkpoint
from hyvic_runtime.scene.content_hash import content_sha256
from hyvic_train.checkpoint import TRAINING_DATA, save_checkpoint, weights
from hyvic_train.entropy_path_layer import reached_peaks
from hyvic_train.evaluation.cli import main
from hyvic_train.evaluation.codecs import codec_of
from hyvic_train.evaluation.measures import measured
from hyvic_train.families.latent.checkpoint import load_checkpoint
from hyvic_train.families.latent.config import config_from_json
from hyvic_train.families.latent.hyvic import HyVIC
from hyvic_train.families.latent.klt import initialise
from hyvic_train.training_data import TrainingData
from pytorch_msssim import ssim
from scenes import smooth_cube

BANDS, SIDE, PEAK = 202, 128, 10_000.0
LMBDAS = (1e-5, 1e-3)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """HySpecNet-11k of four patches in the published layout: one to train on, one to choose with, two to test."""
    root = tmp_path_factory.mktemp("hyspecnet-11k")
    for number in range(4):
        path = root / "patches" / patch_entry(number)
        path.parent.mkdir(parents=True)
        cube = smooth_cube(SIDE, SIDE, BANDS, seed=number).clip(1, 10_000)
        np.save(path, np.moveaxis(cube / 10_000, -1, 0).astype(np.float32))
    write_splits(root, train=[patch_entry(0)], val=[patch_entry(1)], test=[patch_entry(2), patch_entry(3)])
    return root


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoint of two λ that starts from the KLT of the training patch, and is not trained."""
    folder = tmp_path_factory.mktemp("runs") / "two-rates"
    config = config_from_json(
        {
            "model": {"bands": BANDS, "latent_channels": 10, "hyperlatent_channels": 6, "rates": len(LMBDAS)},
            "optimisation": {"lmbda": list(LMBDAS)},
            "data": {"dataset": "hyspecnet-11k", "remove_mean_spectrum": True},
        }
    )
    torch.manual_seed(0)
    model = HyVIC(config.model)
    cube = _test_patch(data, 0)
    tiles = torch.from_numpy(cube - np.rint(cube.mean(axis=(1, 2), keepdims=True)))[None]
    initialise(model, lambda: [tiles], 300, LMBDAS)
    save_checkpoint(folder, weights(model), config, 0, {"points": []})
    return folder


def _test_patch(data: Path, number: int) -> np.ndarray:
    return np.rint(np.load(data / "patches" / patch_entry(number)) * 10_000).astype(np.float32)


def _rows(out: Path) -> list[dict[str, str]]:
    with (out / "evaluation.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_is_measured_on_the_test_part_as_a_hand_calculation_has_it(data: Path, run: Path, tmp_path: Path) -> None:
    assert main([str(run), "--data", str(data), "--out", str(tmp_path)]) == 0
    rows = _rows(tmp_path)
    assert {row["patch"] for row in rows} == {Path(patch_entry(number)).stem for number in (2, 3)}
    assert len(rows) == 2 * len(LMBDAS)

    # select-model finds the run by its weights.
    assert [p.lmbda for p in Evaluation(tmp_path).points_of(run)] == list(LMBDAS)
    assert all(len(p.scenes) == 2 for p in Evaluation(tmp_path).points_of(run))

    row = next(r for r in rows if float(r["lmbda"]) == LMBDAS[1] and r["patch"] == Path(patch_entry(2)).stem)
    cube = _test_patch(data, 2)
    mean = np.rint(cube.mean(axis=(1, 2), dtype=np.float64, keepdims=True)).astype(np.float32)
    model = load_checkpoint(run).model.eval()
    with torch.no_grad():
        output = model(torch.from_numpy(cube - mean)[None], torch.ones(1))
    decoded = output.reconstruction[0].numpy() + mean
    # As CompressAI's eval_model: bits of the likelihoods over the pixels, here over the channels too.
    bits = sum(float((-p.log2()).sum()) for p in (output.latent_likelihoods, output.hyperlatent_likelihoods))
    assert float(row["rate_bpppc"]) == pytest.approx((bits + 16 * BANDS) / cube.size, rel=1e-6)
    first, second = (torch.from_numpy(c.astype(np.float64))[None] / PEAK for c in (cube, decoded))
    assert float(row["psnr_db"]) == pytest.approx(float(compressai_psnr(first, second, max_val=1)), abs=1e-6)
    assert float(row["ssim_gaussian"]) == pytest.approx(float(ssim(first, second, data_range=1.0)), abs=1e-9)
    x, y = (c.reshape(BANDS, -1).astype(np.float64) for c in (cube, decoded))
    cosine = (x * y).sum(axis=0) / np.linalg.norm(x, axis=0) / np.linalg.norm(y, axis=0)
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean()
    assert float(row["spectral_angle_deg"]) == pytest.approx(angle, rel=1e-6)


def test_means_ratios_and_plots_are_files(
    data: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(run), "--data", str(data), "--out", str(tmp_path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document == json.loads((tmp_path / "evaluation.json").read_text())
    assert (document["dataset"], document["part"], document["patches"]) == ("hyspecnet-11k", "test", 2)
    (codec,) = document["codecs"]
    for point, lmbda in zip(codec["points"], LMBDAS, strict=True):
        rates = [float(row["rate_bpppc"]) for row in _rows(tmp_path) if float(row["lmbda"]) == lmbda]
        mean = sum(rates) / 2
        assert point["rate_bpppc"]["mean"] == pytest.approx(mean)
        for bits in (16, 32):
            ratio = point["compression_ratio"][str(bits)]
            assert ratio["of_mean_rate"] == pytest.approx(bits / mean)
            assert ratio["mean"] == pytest.approx(sum(bits / rate for rate in rates) / 2)
    pictures = {path.stem for path in tmp_path.glob("*.svg")}
    curves = {f"{name}-{bits}" for name in ("psnr_db", "ssim_gaussian", "spectral_angle_deg") for bits in (16, 32)}
    assert pictures == curves | {f"distribution-two-rates-λ-{lmbda:g}" for lmbda in LMBDAS}


def test_very_many_codecs_have_no_distributions_and_that_is_said(
    data: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("hyvic_train.evaluation.report.NAMED_CODECS", 0)
    assert main([str(run), "--data", str(data), "--out", str(tmp_path), "--limit", "1"]) == 0
    assert "no distributions are drawn of 1 codecs; name at most 0" in capsys.readouterr().out
    assert not list(tmp_path.glob("distribution-*"))
    assert (tmp_path / "psnr_db-16.svg").exists()


def test_a_patch_that_is_shown_is_drawn_before_and_after(data: Path, run: Path, tmp_path: Path) -> None:
    assert main([str(run), "--data", str(data), "--out", str(tmp_path), "--limit", "2", "--show", "*X00000003*"]) == 0
    shown = [path.name for path in tmp_path.glob("patch-*.svg")]
    name = Path(patch_entry(3)).stem
    assert sorted(shown) == [f"patch-{name}-spectra.svg", f"patch-{name}-true-colour.svg"]


def test_patches_measured_in_part_are_counted(
    run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    holed = np.load(data / "patches" / patch_entry(2))
    holed[:, 100:, 90] = 0
    path = tmp_path / "patches" / patch_entry(2)
    path.parent.mkdir(parents=True)
    np.save(path, holed)
    write_splits(tmp_path, test=[patch_entry(2)])
    assert main([str(run), "--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    assert "1 of them are measured in part" in capsys.readouterr().out
    # Of 100 lines free of no-data, as many as the model's cells of 16 fill.
    assert {row["pixels"] for row in _rows(tmp_path / "out")} == {str(96 * SIDE)}
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text())["patches_measured_in_part"] == 1


def test_what_is_measured_is_not_measured_again(
    data: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main([str(run), "--data", str(data), "--out", str(tmp_path), "--limit", "1"]) == 0
    before = _rows(tmp_path)
    assert len(before) == len(LMBDAS)
    with (tmp_path / "evaluation.csv").open("a") as file:
        file.write("two-rates,estimate,ab")  # a kill in the middle of a row
    assert main([str(run), "--data", str(data), "--out", str(tmp_path)]) == 0
    after = _rows(tmp_path)
    assert after[: len(before)] == before
    assert len(after) == 2 * len(before)
    monkeypatch.setattr("hyvic_train.evaluation.codecs.CheckpointCodec.coded", None)
    assert main([str(run), "--data", str(data), "--out", str(tmp_path)]) == 0
    assert _rows(tmp_path) == after


def test_a_bundle_is_rated_by_its_streams(tmp_path: Path, data: Path, exported_adaptive_bundle: Path) -> None:
    arguments = [str(exported_adaptive_bundle), "--data", str(data), "--out", str(tmp_path / "out"), "--limit", "1"]
    assert main([*arguments, "--dataset", "hyspecnet-11k", "--quality", "40"]) == 0
    (row,) = _rows(tmp_path / "out")
    from hyvic_runtime import decode, encode

    cube = _test_patch(data, 2)
    stream = encode(np.moveaxis(cube, 0, -1).astype(np.uint16), exported_adaptive_bundle, quality=40)
    decoded = np.moveaxis(decode(stream, exported_adaptive_bundle).scene.cube, -1, 0).astype(np.float32)
    assert (row["kind"], row["lmbda"], row["quality"]) == ("stream", "", "40.0")
    assert float(row["rate_bpppc"]) == 8 * len(stream) / cube.size
    assert float(row["psnr_db"]) == measured(cube, decoded, 8 * len(stream), PEAK).psnr_db


def test_a_patch_that_a_codec_was_trained_on_is_found_by_its_pixels(
    tmp_path: Path, data: Path, run: Path, tiny_adaptive_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = [np.moveaxis(_test_patch(data, number), 0, -1).astype(np.uint16) for number in (2, 3)]
    first, second = map(content_sha256, pixels)
    listed = Path(shutil.copytree(run, tmp_path / "listed"))
    known = TrainingData(training={first: "another name"}, validation={second: "b"})
    (listed / TRAINING_DATA).write_text(json.dumps(known.document()))
    arguments = ["--data", str(data), "--out", str(tmp_path / "out")]
    assert main([str(listed), *arguments]) == 0
    name, other = (Path(patch_entry(number)).stem for number in (2, 3))
    assert f"listed (estimate) WAS TRAINED ON {name}: expect less on other patches" in capsys.readouterr().out
    assert {row["patch"]: row["patch_sha256"] for row in _rows(tmp_path / "out")} == {name: first, other: second}
    (codec,) = json.loads((tmp_path / "out" / "evaluation.json").read_text())["codecs"]
    assert codec["training"] == {"seen": [name], "validation": [other], "not seen": [], "unknown": []}
    # A bundle without a list does not tell.
    arguments = ["--data", str(data), "--out", str(tmp_path / "bundle"), "--limit", "1", "--quality", "40", "--json"]
    assert main([str(tiny_adaptive_bundle), *arguments, "--dataset", "hyspecnet-11k"]) == 0
    (codec,) = json.loads(capsys.readouterr().out)["codecs"]
    assert codec["training"] == {"seen": [], "validation": [], "not seen": [], "unknown": [name]}


def test_a_bundle_of_a_single_rate_has_one_point(tmp_path: Path) -> None:
    config = config_from_json(
        {"model": {"bands": 5, "latent_channels": 6, "hyperlatent_channels": 4}, "optimisation": {"lmbda": 1e-3}}
    )
    model = HyVIC(config.model)
    cube = np.moveaxis(smooth_cube(32, 32, 5, seed=0), -1, 0).astype(np.float32)
    initialise(model, lambda: [torch.from_numpy(cube)[None]], 100, [1e-3])
    peaks = reached_peaks(model.peaks, lambda: model.calibrate(torch.from_numpy(cube)[None]))
    save_checkpoint(tmp_path / "run", weights(model) | peaks, config, 0, {"points": []})
    bundle_from_checkpoint(tmp_path / "run", tmp_path / "bundle", tile=32)
    codec = codec_of(tmp_path / "bundle", [0, 50, 100])
    assert len(codec.points) == 1
    ((bits, decoded),) = codec.coded(cube, codec.points)
    assert bits > 0
    assert decoded.shape == cube.shape


@pytest.mark.parametrize("value", [-1.0, 65_536.0])
def test_a_bundle_refuses_what_16_bits_cannot_hold(value: float, tiny_adaptive_bundle: Path) -> None:
    codec = codec_of(tiny_adaptive_bundle, [50])
    cube = np.full((20, 32, 32), 100, np.float32)
    cube[3, 4, 5] = value
    with pytest.raises(ValueError, match=r"digital numbers from .*; bundles are measured on 0\.\.65535"):
        list(codec.coded(cube, codec.points))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{run}", "--split", "test", "--dataset", "scenes"], "a folder of scenes has no test part"),
        (["{bundle}"], "only bundles are named"),
        (["{data}"], "holds neither config.json of train-model nor manifest.json of export-engine"),
        (["{run}", "--show", "*_X9"], "--show *_X9 names none of the 2 patches"),
        (["{run}", "--limit", "0"], "--limit is 0; at least one patch is needed"),
    ],
)
def test_what_cannot_be_measured_is_said_in_a_line(
    words: list[str],
    message: str,
    data: Path,
    run: Path,
    tiny_adaptive_bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    named = [word.format(run=run, bundle=tiny_adaptive_bundle, data=data) for word in words]
    assert main([*named, "--data", str(data), "--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_table_of_something_else_is_left_alone(data: Path, run: Path, tmp_path: Path) -> None:
    (tmp_path / "evaluation.csv").write_text("a,b\n1,2\n")
    assert main([str(run), "--data", str(data), "--out", str(tmp_path)]) == 1
    assert (tmp_path / "evaluation.csv").read_text() == "a,b\n1,2\n"
