from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hyvic_compare.bd_psnr import Curve, bd_psnr, bd_rate
from hyvic_compare.cli import compare_codecs
from hyvic_compare.errors import ResultsFileError
from hyvic_compare.results_file import RecordedPoint, RecordedScene, read_results
from hyvic_runtime.codec.scene_encoder import scene_stream
from hyvic_runtime.codec.seen_scenes import Seen
from hyvic_runtime.families.registry import decoder_of, encoder_of, read_bundle
from hyvic_runtime.scene.content_hash import content_sha256
from hyvic_runtime.scene.scene import Scene, resample_bands
from hyvic_runtime.support.metrics import psnr
from listed_bundle import listed_bundle
from scenes import smooth_cube
from studies.cross_validation import main
from studies.cross_validation_report import REFERENCES, CodedScene, gains_of, markdown_report
from studies.harness import CodedPoint

# Dask's own doings at start and end, in threads and sockets of its own.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

PCA, JPEG2000, CCSDS = REFERENCES
RATIOS = (8.0, 32.0, 128.0)


def recorded(points: dict[str, dict[float, tuple[float, float]]]) -> RecordedScene:
    """A scene of which codec, target, ratio and PSNR are given."""
    return RecordedScene(
        name="field",
        sensor="AVIRIS",
        shape=(40, 36, 9),
        wavelengths=None,
        peak=10_000,
        points=tuple(
            RecordedPoint(codec=codec, target_ratio=target, compression_ratio=ratio, psnr_db=db)
            for codec, at in points.items()
            for target, (ratio, db) in at.items()
        ),
    )


def coded(record: RecordedScene, ratios: list[float], levels: list[float]) -> CodedScene:
    """At those ratios."""
    points = (
        CodedPoint(quality=50, octets=1, compression_ratio=r, psnr_db=db) for r, db in zip(ratios, levels, strict=True)
    )
    return CodedScene(record=record, bundle="a.bundle", training=Seen.NO, points=tuple(points))


def test_gains_are_taken_at_the_octets_that_the_other_codec_took() -> None:
    # Ours loses 3 dB an octave of the ratio; a straight line over its logarithm, which interpolation gives exactly.
    ratios = [2.0**power for power in range(2, 9)]
    record = recorded({PCA: {8: (8.5, 60.0), 32: (33.0, 54.0), 128: (129.0, 48.0), 1024: (1030.0, 30.0)}})
    gain = next(
        g for g in gains_of([coded(record, ratios, [70 - 3 * np.log2(r) for r in ratios])]) if g.reference == PCA
    )
    assert gain.at[8] == pytest.approx(70 - 3 * np.log2(8.5) - 60)
    assert gain.at[128] == pytest.approx(70 - 3 * np.log2(129) - 48)
    assert gain.at[1024] is None  # the bundle has no stream so short
    curve = Curve(ratios=tuple(ratios), psnr_db=tuple(70 - 3 * np.log2(r) for r in ratios))
    theirs = Curve(ratios=(8.5, 33.0, 129.0, 1030.0), psnr_db=(60.0, 54.0, 48.0, 30.0))
    assert gain.bd_psnr_db == bd_psnr(curve, theirs).db
    assert gain.bd_rate_percent == bd_rate(curve, theirs).percent


def test_the_best_coder_counts_at_each_target_and_gaps_are_dashes() -> None:
    hybrid, block, sample = REFERENCES[CCSDS]
    record = recorded(
        {
            hybrid: {8: (8.0, 50.0), 32: (33.0, 40.0)},
            block: {8: (8.1, 49.0), 32: (32.0, 41.0), 128: (130.0, 20.0)},
            sample: {8: (8.2, 48.0)},
        }
    )
    best = record.best(REFERENCES[CCSDS])
    assert [(target, point.codec) for target, point in best.items()] == [(8, hybrid), (32, block), (128, block)]
    text = markdown_report(
        scenes := [coded(record, [4, 16, 64, 256], [60, 54, 48, 42])],
        gains := gains_of(scenes),
    )
    by_reference = {gain.reference: gain for gain in gains}
    assert by_reference[PCA].at == {8: None, 32: None, 128: None}
    assert by_reference[PCA].bd_psnr_db is None
    assert "| field | 40 × 36 × 9 | a | – | – | – | – | – |" in text
    row = next(
        line for line in text.splitlines()[text.splitlines().index(f"**Against {CCSDS}**, in dB:") :] if "field" in line
    )
    assert row.endswith("| +7.00 | +10.00 | +24.93 |")


def test_least_and_mean_are_over_the_scenes() -> None:
    scenes = [
        coded(
            recorded({PCA: {8: (8, 50.0), 32: (32, 44.0), 128: (128, 38.0)}}),
            [4, 16, 64, 256],
            [60 + d, 54 + d, 48 + d, 42 + d],
        )
        for d in (0, 3)
    ]
    lines = markdown_report(scenes, gains_of(scenes)).splitlines()
    assert next(line for line in lines if line.startswith("| **least**")).endswith("| +7.00 | +7.00 | +7.00 |")
    assert next(line for line in lines if line.startswith("| **mean**")).endswith("| +8.50 | +8.50 | +8.50 |")


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path) -> Path:
    """A folder of two scenes, one of which can be brought to the tiny bundle's bands, and their comparison."""
    folder = tmp_path_factory.mktemp("comparison")
    np.savez(folder / "near.npz", cube=smooth_cube(40, 36, 25))
    np.savez(folder / "far.npz", cube=smooth_cube(40, 36, 7, seed=1))
    facts = {"near": (400, 2500), "far": (300, 350)}
    document = {"scenes": {name: {"wavelengths": {"start": a, "stop": b}} for name, (a, b) in facts.items()}}
    (folder / "facts.json").write_text(json.dumps(document))
    scenes = [str(folder / f"{name}.npz") for name in facts]
    options = ["--facts", str(folder / "facts.json"), "--bundle", str(tiny_bundle), "--resample", "--ratios", "8,32"]
    assert compare_codecs([*scenes, *options, "--codecs", "pca-jpeg2000", "--report", str(folder / "report")]) == 0
    return folder


def words(comparison: Path, out: Path, bundle: Path, unseen: str, *scenes: str) -> list[str]:
    return [
        *(str(comparison / f"{name}.npz") for name in scenes or ("near", "far")),
        *("--fold", f"{bundle}={unseen}", "--reference", str(comparison / "report" / "comparison.json")),
        *("--facts", str(comparison / "facts.json"), "--out", str(out), "--quality-step", "10", "--json"),
    ]


def test_every_scene_is_the_cube_of_the_comparison_and_coded_for_real(
    comparison: Path, tmp_path: Path, tiny_adaptive_bundle: Path, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "table.md"
    assert main(words(comparison, out, tiny_adaptive_bundle, "near,f*")) == 0
    gains: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["gains"]
    assert {gain["training"] for gain in gains} == {"unknown"}
    assert [(g["scene"], g["shape"]) for g in gains[:2]] == [("near", [40, 36, 20]), ("far", [40, 36, 7])]
    assert {path.name for path in tmp_path.iterdir()} == {"table.md", "table.csv", "table.svg", "table.png"}
    assert "| near | 40 × 36 × 20 | tiny-adaptive |" in out.read_text(encoding="utf-8")
    with (tmp_path / "table.csv").open() as file:
        points = [row for row in csv.DictReader(file) if row["scene"] == "near"]
    ratios = [float(point["compression_ratio"]) for point in points]
    assert ratios == sorted(ratios)
    # What the table says of one point is what the bundle makes of the resampled scene.
    raw = np.load(comparison / "near.npz")["cube"]
    centres = read_bundle(tiny_bundle).manifest.wavelengths
    assert centres is not None
    scene = resample_bands(Scene(cube=raw, wavelengths=np.linspace(400, 2500, 25)), np.array(centres))
    bundle = read_bundle(tiny_adaptive_bundle)
    stream = scene_stream(encoder_of(bundle), scene, quality=20)
    point = next(point for point in points if float(point["quality"]) == 20)
    assert int(point["octets"]) == len(stream)
    assert float(point["psnr_db"]) == psnr(scene.cube, decoder_of(bundle).decode(stream).scene.cube, 10_000)


@pytest.mark.parametrize(
    ("unseen", "scenes", "said"),
    [
        ("near", ("near", "far"), "every fold may have seen far; name it in the --fold that was trained without it"),
        ("*", ("other",), "the comparison has no scene other; it has near, far"),
    ],
)
def test_a_scene_that_cannot_be_told_of_stops_before_any_work(
    comparison: Path,
    tmp_path: Path,
    tiny_adaptive_bundle: Path,
    capsys: pytest.CaptureFixture[str],
    unseen: str,
    scenes: tuple[str, ...],
    said: str,
) -> None:
    assert main(words(comparison, tmp_path / "table.md", tiny_adaptive_bundle, unseen, *scenes)) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_another_cube_than_the_comparisons_is_refused(
    comparison: Path, tmp_path: Path, tiny_adaptive_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "near.npz", cube=smooth_cube(40, 30, 25))
    arguments = words(comparison, tmp_path / "table.md", tiny_adaptive_bundle, "*", "near")
    assert main([str(tmp_path / "near.npz"), *arguments[1:]]) == 1
    assert "is 40 × 30 × 20 here and 40 × 36 × 20 in the comparison" in capsys.readouterr().err


def test_a_fold_that_was_trained_on_its_scene_is_refused_whatever_its_pattern_says(
    comparison: Path, tmp_path: Path, tiny_adaptive_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    near, far = (content_sha256(np.load(comparison / f"{name}.npz")["cube"]) for name in ("near", "far"))
    bundle = listed_bundle(tiny_adaptive_bundle, tmp_path / "a.bundle", training=(far,), validation=(near,))
    assert main(words(comparison, tmp_path / "table.md", bundle, "*")) == 1
    error = capsys.readouterr().err
    assert "a.bundle was trained on far, by the hash of its pixels; name far in another --fold" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "table.md").exists()
    assert main(words(comparison, tmp_path / "table.md", bundle, "*", "near")) == 0
    assert {gain["training"] for gain in json.loads(capsys.readouterr().out)["gains"]} == {"validation"}
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "whose list of training scenes does not hold its pixels. near validated the training" in text


def test_a_fold_that_cannot_be_checked_is_called_unknown() -> None:
    record = recorded({PCA: {8: (8, 50.0), 32: (32, 44.0)}})
    scenes = [coded(record, [4, 16, 64], [60, 54, 48])]
    assert "unknown" not in markdown_report(scenes, gains_of(scenes))
    scenes = [replace(scenes[0], training=Seen.UNKNOWN)]
    text = markdown_report(scenes, gains_of(scenes))
    assert "except field: **unknown**, because a.bundle came without a complete list" in text


@pytest.mark.parametrize("text", ["", "[]", '{"scenes": []}', '{"scenes": [{"name": "a"}], "measurements": []}'])
def test_what_is_no_comparison_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "comparison.json").write_text(text)
    with pytest.raises(ResultsFileError, match=r"is not a comparison\.json of compare-codecs"):
        read_results(tmp_path / "comparison.json")


def test_a_fold_names_bundle_and_scenes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["a.npz", "--fold", "a.bundle", "--reference", "c.json", "--out", "t.md"])
    assert "'a.bundle' is not BUNDLE=PATTERN,..." in capsys.readouterr().err
