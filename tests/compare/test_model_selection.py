from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from hyvic_compare import cli
from hyvic_compare.bd_psnr import Curve
from hyvic_compare.errors import RunError
from hyvic_compare.model_selection import curve_from_points, select
from hyvic_compare.selection_report import CONTENTS, write_selection
from hyvic_compare.training_run import RatePoint, SceneMeasure

RATIOS = {1e-6: 320.0, 1e-5: 160.0, 1e-4: 80.0, 1e-3: 40.0}


def point(lmbda: float, ratio: float, psnr_db: float, quality: float | None = None) -> dict[str, Any]:
    """Two scenes whose means are N_b / ratio and psnr_db."""
    rate = 16 / ratio
    return {
        "lmbda": lmbda,
        "quality": quality,
        "scenes": {
            "a": {"rate_bpppb": rate * 0.5, "mse": 1.0, "psnr_db": psnr_db - 3},
            "b": {"rate_bpppb": rate * 1.5, "mse": 1.0, "psnr_db": psnr_db + 3},
        },
    }


def write_run(folder: Path, points: list[dict[str, Any]], *, bits: int = 16, step: int = 4000, **model: Any) -> Path:
    sizes = {"bands": 202, "latent_channels": 96, "hyperlatent_channels": 64, "kernel_size": 3, "spatial_stages": 2}
    folder.mkdir(parents=True)
    config = {"model": {**sizes, "peak": 10000.0, "leaky_slope_bits": 7, **model}, "optimisation": {"steps": 4000}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "rd.json").write_text(json.dumps({"step": step, "bits_per_sample": bits, "points": points}))
    return folder


def write_model(folder: Path, offset_db: float, **model: Any) -> list[Path]:
    """One run for every λ, on the line 60 − CR / 20 dB plus an offset."""
    return [
        write_run(folder / f"{lmbda:g}", [point(lmbda, ratio, 60 - ratio / 20 + offset_db)], **model)
        for lmbda, ratio in RATIOS.items()
    ]


@pytest.fixture
def ablation(tmp_path: Path) -> dict[int, list[Path]]:
    offsets = {0: -2.0, 1: 0.75, 2: 1.0, 3: 0.0}
    return {stages: write_model(tmp_path / f"s{stages}", db, spatial_stages=stages) for stages, db in offsets.items()}


def words(ablation: dict[int, list[Path]], reference: int = 3) -> list[str]:
    return [*(str(run) for runs in ablation.values() for run in runs), "--reference", str(ablation[reference][0])]


def test_runs_of_one_model_are_one_curve_and_the_best_is_selected(
    ablation: dict[int, list[Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.select_model([*words(ablation), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["selected"] == "S = 2, k = 3, M = 96, N = 64"
    assert result["selected_runs"] == [str(run) for run in ablation[2]]
    assert [model["bd_psnr"]["db"] for model in result["models"]] == pytest.approx([1.0, 0.75, 0, -2], abs=1e-9)
    assert result["models"][0]["bd_psnr"]["low"] == pytest.approx(40)
    assert result["models"][0]["bd_psnr"]["high"] == pytest.approx(320)
    assert result["scenes"] == ["a", "b"]
    assert result["notes"] == []


def test_the_table_is_aligned_and_names_the_selected_model(
    ablation: dict[int, list[Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.select_model(words(ablation)) == 0
    heading, *rows, empty, chosen, scenes = capsys.readouterr().out.splitlines()
    assert [row.split("S = ")[1][0] for row in rows] == ["2", "1", "3", "0"]
    end = heading.index("BD-PSNR dB") + len("BD-PSNR dB")
    assert [row[:end].split()[-1] for row in rows] == ["+1.00", "+0.75", "+0.00", "-2.00"]
    assert rows[2].endswith("reference")
    assert rows[0].startswith("*")
    assert empty == ""
    assert chosen.startswith("selected by BD-PSNR: S = 2, k = 3, M = 96, N = 64 (")
    assert "2 scenes: a, b" in scenes


def test_scenes_are_averaged_as_documented() -> None:
    points = [
        RatePoint(
            lmbda=1.0,
            quality=None,
            scenes={"a": SceneMeasure(rate_bpppb=0.1, psnr_db=40), "b": SceneMeasure(rate_bpppb=0.3, psnr_db=50)},
        ),
        RatePoint(lmbda=2.0, quality=None, scenes={"a": SceneMeasure(rate_bpppb=1.6, psnr_db=60)}),
    ]
    assert curve_from_points(points, 16) == Curve(ratios=(10, 80), psnr_db=(60, 45))


def test_a_variable_rate_run_is_a_curve_of_its_own(tmp_path: Path, ablation: dict[int, list[Path]]) -> None:
    points = [point(1e-4, ratio, 61 - ratio / 20, quality) for quality, ratio in ((10, 300.0), (50, 90.0), (90, 45.0))]
    run = write_run(tmp_path / "variable", points, rates=8)
    selection = select([run, *ablation[3]], [ablation[3][0]])
    assert selection.selected.runs == (str(run),)
    assert selection.selected.label.endswith("rates = 8")
    assert selection.selected.bd_psnr is not None
    assert selection.selected.bd_psnr.db == pytest.approx(1.0, abs=1e-9)
    assert "different ranges" in selection.notes[0]


def test_a_reference_outside_the_runs_cannot_be_selected(tmp_path: Path) -> None:
    line = [point(lmbda, r, 60 - r / 20) for lmbda, r in RATIOS.items()]
    worse = [point(lmbda, r, 58 - r / 20) for lmbda, r in RATIOS.items()]
    references = [write_run(tmp_path / f"reference-{i}", [p], kernel_size=5) for i, p in enumerate(line)]
    selection = select([write_run(tmp_path / "run", worse)], references)
    assert [model.candidate for model in selection.models] == [False, True]
    assert selection.selected.label.startswith("S = 2, k = 3")


def test_references_of_two_models_are_refused(ablation: dict[int, list[Path]]) -> None:
    with pytest.raises(RunError, match=r"the references are 2 models \(S = 0, .* and S = 1, "):
        select(ablation[2], [ablation[0][0], ablation[1][0]])


def test_a_model_that_cannot_be_compared_is_a_gap_and_no_crash(
    tmp_path: Path, ablation: dict[int, list[Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    alone = write_run(tmp_path / "alone", [point(1e-4, 100, 50)], kernel_size=5)
    apart = write_run(tmp_path / "apart", [point(1e-7, 900, 30), point(1e-8, 800, 31)], kernel_size=7)
    other = write_run(tmp_path / "other", [point(1e-4, 50, 50), point(1e-5, 100, 49)], attention_heads=4)
    runs = [str(alone), str(apart), str(other), *words(ablation)]
    assert cli.select_model([*runs, "--out", str(tmp_path / "report")]) == 0
    out = capsys.readouterr().out
    assert "the curve has 1 point; two are needed" in out
    assert "no common range: CR 800 to 900 against 40 to 320" in out
    assert {path.name for path in (tmp_path / "report").iterdir()} == set(CONTENTS)


def test_the_report_holds_the_figures(tmp_path: Path, ablation: dict[int, list[Path]]) -> None:
    runs = [run for runs in ablation.values() for run in runs]
    runs += write_model(tmp_path / "wide", 1.5, spatial_stages=1, latent_channels=192, hyperlatent_channels=128)
    runs += write_model(tmp_path / "k5", 0.5, spatial_stages=1, kernel_size=5)
    selection = select(runs, [ablation[3][0]])
    for _ in range(2):  # a second report replaces the first
        write_selection(selection, tmp_path / "report")
    with (tmp_path / "report" / "selection.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["bd_psnr_db"]) for row in rows] == pytest.approx([1.5, 1, 0.75, 0.5, 0, -2], abs=1e-9)
    assert "| * | S = 1, k = 3, M = 192, N = 128 | 4 | 40 to 320 | +1.50 |" in (
        tmp_path / "report" / "selection.md"
    ).read_text(encoding="utf-8")
    for name in ("rate-distortion", "bd-psnr"):
        assert (tmp_path / "report" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (tmp_path / "report" / f"{name}.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize("hyvic", [[], [point(1e-4, 100, 50)]])
def test_models_of_another_family_are_ranked_without_figures(tmp_path: Path, hyvic: list[dict[str, Any]]) -> None:
    line = [point(lmbda, r, 60 - r / 20) for lmbda, r in RATIOS.items()]
    run = write_run(tmp_path / "joint", line, attention_heads=4)
    runs = [run, write_run(tmp_path / "hyvic", hyvic)] if hyvic else [run]
    selection = select(runs, [run])
    assert selection.selected.complexity is None
    write_selection(selection, tmp_path / "report")
    assert (tmp_path / "report" / "bd-psnr.png").exists()


def test_all_problems_come_in_one_line_and_nothing_is_written(
    tmp_path: Path, ablation: dict[int, list[Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    no_points = write_run(tmp_path / "no-points", [])
    (tmp_path / "bare").mkdir()
    damaged = write_run(tmp_path / "damaged", [point(1.0, 10, 10)], kernel_size=5)
    (damaged / "rd.json").write_text('{"step": 1')
    wrong = write_run(tmp_path / "wrong", [point(-1.0, 10, 10), {"lmbda": 1, "scenes": {}}], step=-1, kernel_size=7)
    other = point(1e-4, 100, 50)
    other["scenes"]["c"] = other["scenes"].pop("b")
    scenes = write_run(tmp_path / "scenes", [other], bits=8, kernel_size=9, peak=4095.0)
    infinite = point(1e-4, 100, 50)
    infinite["scenes"]["a"]["psnr_db"] = float("inf")
    exact = write_run(tmp_path / "exact", [infinite], kernel_size=11)
    bad = [no_points, tmp_path / "bare", damaged, wrong, scenes, exact]
    runs = [*map(str, ablation[2]), *map(str, bad), "--reference", str(tmp_path / "missing")]
    assert cli.select_model([*runs, "--out", str(tmp_path / "report")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    for part in (
        "no-points/rd.json: points is []; Tuple should have at least 1 item",
        "bare/config.json is missing",
        "bare/rd.json is missing; train-model writes it at every validation",
        "damaged/rd.json: Invalid JSON: EOF while parsing",
        "wrong/rd.json: step is -1; it should be greater than or equal to 0",
        "wrong/rd.json: points.0.lmbda is -1.0; it should be greater than 0",
        "wrong/rd.json: points.1.scenes is {}; Dictionary should have at least 1 item",
        "scenes: point 0 lacks b and adds c compared with",
        "scenes codes 8-bit samples",
        "scenes takes PSNR over 4095.0",
        "exact/rd.json: points.0.scenes.a.psnr_db is Infinity; it should be a finite number",
        "missing: no such folder",
    ):
        assert part in line
    assert "points is [{" not in line  # each point is named, so the list of them is not
    assert not (tmp_path / "report").exists()


def test_a_context_model_is_refused_in_one_line(
    tmp_path: Path, tiny_context_checkpoint: Path, ablation: dict[int, list[Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [str(tiny_context_checkpoint), *map(str, ablation[3])]
    assert cli.select_model([*runs, "--reference", str(ablation[3][0])]) == 1
    error = capsys.readouterr().err
    assert "trained a context model, whose runs measure rates and no distortion; compare its bundles" in error
    assert len(error) < 400
    assert error.count("\n") == 1


def test_one_model_twice_at_one_lambda_is_refused(
    ablation: dict[int, list[Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = write_run(tmp_path / "again", [point(1e-4, 79, 50)])
    assert cli.select_model([str(again), *words(ablation)]) == 1
    assert "are one model at λ = 0.0001; name one of them" in capsys.readouterr().err


def test_no_comparable_model_is_said_with_the_reasons(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run", [point(1.0, 10, 10)])
    assert cli.select_model([str(run), "--reference", str(run)]) == 1
    assert "no model has a BD-PSNR against S = 2, k = 3, M = 96, N = 64" in capsys.readouterr().err


def test_an_unfinished_run_is_noted(tmp_path: Path) -> None:
    line = [point(lmbda, r, 60 - r / 20) for lmbda, r in RATIOS.items()]
    run = write_run(tmp_path / "run", line, step=1000)
    assert select([run], [run]).notes == (f"{run} was measured at step 1000 of 4000.",)


def test_a_foreign_folder_is_not_replaced(
    ablation: dict[int, list[Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.select_model([*words(ablation), "--out", str(tmp_path)]) == 1
    assert "is not replaced; name another" in capsys.readouterr().err


def test_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.select_model(["--help"])
    assert "example:\n  select-model runs/s0-*" in capsys.readouterr().out
