from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hyvic_compare import cli
from hyvic_compare.bd_psnr import Curve, bd_psnr
from hyvic_compare.errors import RunError
from hyvic_compare.model_selection import select
from hyvic_compare.rate_point import RatePoint, SceneMeasure, mean_points
from hyvic_compare.report.published_figures import CURVES
from hyvic_compare.selection_figures import selection_figures
from hyvic_compare.selection_report import CONTENTS, write_selection

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
    (folder / "model.safetensors").write_bytes(str(folder).encode())
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
    # Over log CR the offsets are the same: each model differs by a constant.
    assert [model["bd_psnr_log_cr"]["db"] for model in result["models"]] == pytest.approx([1.0, 0.75, 0, -2], abs=1e-9)
    assert result["metric"] == "bd-psnr"
    assert "eq. 6" in result["meanings"]["bd_psnr"]
    assert result["scenes"] == ["a", "b"]
    assert result["notes"] == []


def test_the_table_is_aligned_and_names_the_selected_model(
    ablation: dict[int, list[Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.select_model(words(ablation)) == 0
    heading, *rows, empty, chosen, meaning, scenes = capsys.readouterr().out.splitlines()
    assert [row.split("S = ")[1][0] for row in rows] == ["2", "1", "3", "0"]
    for column in ("BD-PSNR dB, CR", "BD-PSNR dB, log CR"):
        end = heading.index(column) + len(column)
        assert [row[:end].split()[-1] for row in rows] == ["+1.00", "+0.75", "+0.00", "-2.00"]
    assert rows[2].endswith("reference")
    assert rows[0].startswith("*")
    assert empty == ""
    assert chosen.startswith("selected by bd-psnr: S = 2, k = 3, M = 96, N = 64 (")
    assert meaning.startswith("BD-PSNR over CR is eq. 6 of the paper to the letter")
    assert "2 scenes: a, b; measured by the last validation; CR of 16-bit samples" in scenes


def test_scenes_are_averaged_as_documented() -> None:
    points = [
        RatePoint(
            lmbda=1.0,
            quality=None,
            scenes={"a": SceneMeasure(rate_bpppb=0.1, psnr_db=40), "b": SceneMeasure(rate_bpppb=0.3, psnr_db=50)},
        ),
        RatePoint(lmbda=2.0, quality=None, scenes={"a": SceneMeasure(rate_bpppb=1.6, psnr_db=60)}),
    ]
    first, second = mean_points(points, 16)
    assert (first.compression_ratio, first.psnr_db, first.lmbda) == (10, 60, 2)
    assert (second.compression_ratio, second.psnr_db, second.lmbda) == (80, 45, 1)
    assert first.ssim is None


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
    written = {path.name for path in (tmp_path / "report").iterdir()}
    assert written == {name for name in CONTENTS if not name.startswith(("ssim", "spectral-angle", "bd-psnr-3d"))}


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
    assert [float(row["bd_psnr_log_cr_db"]) for row in rows] == pytest.approx([1.5, 1, 0.75, 0.5, 0, -2], abs=1e-9)
    document = (tmp_path / "report" / "selection.md").read_text(encoding="utf-8")
    assert "| * | S = 1, k = 3, M = 192, N = 128 | 4 | 40 to 320 | +1.50 | +1.50 |" in document
    # S, (M, N) and k vary, and nothing was evaluated.
    for name in ("rate-distortion", "bd-psnr", "bd-psnr-3d", "kernel-size"):
        assert f"({name}.svg)" in document
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


def test_the_axis_can_change_the_selection_and_the_notes_say_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(name: str, gains: tuple[float, ...], **model: Any) -> str:
        line = zip((4e-5, 3e-5, 2e-5, 1e-5), (10.0, 100.0, 300.0, 1000.0), gains, strict=True)
        points = [point(lmbda, ratio, 60 - ratio / 50 + gain, lmbda) for lmbda, ratio, gain in line]
        return str(write_run(tmp_path / name, points, **model))

    flat = run("flat", (0, 0, 0, 0), kernel_size=7)
    high = run("high", (-1, -1, 1, 1), kernel_size=3)  # better where ratios are high
    low = run("low", (2, 2, 0, 0), kernel_size=5)  # better where they are low
    selected = {}
    for metric in ("bd-psnr", "bd-psnr-log-cr"):
        words = [flat, high, low, "--reference", flat, "--metric", metric, "--json"]
        assert cli.select_model(words) == 0
        result = json.loads(capsys.readouterr().out)
        assert result["metric"] == metric
        selected[metric] = (result["selected_runs"], result["notes"])
    assert selected["bd-psnr"][0] == [high]
    assert selected["bd-psnr-log-cr"][0] == [low]
    assert selected["bd-psnr"][1] == ["By bd-psnr-log-cr, S = 2, k = 5, M = 96, N = 64 would be selected."]


# ------------------------------------------------------------------------------- published curve as reference

HYCOT = CURVES[0]


def write_curve(path: Path, *rows: str, heading: str = "codec,compression_ratio,bits_per_sample,psnr_db") -> Path:
    path.write_text("\n".join((heading, *rows)) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def hycot(tmp_path: Path) -> Path:
    """Points that HyCoT's paper prints, in any order."""
    points = list(zip(HYCOT.printed_ratios, HYCOT.psnr_db, strict=True))[::-1]
    return write_curve(tmp_path / "hycot.csv", *(f"HyCoT,{ratio:g},32,{psnr}" for ratio, psnr in points))


def low_ratio_run(folder: Path) -> Path:
    ratios = {1e-1: 16.0, 1.0: 8.0, 10.0: 4.0, 100.0: 2.0}
    return write_run(folder, [point(lmbda, ratio, 60 - ratio / 4, lmbda) for lmbda, ratio in ratios.items()])


def test_a_published_curve_is_the_reference_at_our_ratios(
    tmp_path: Path, hycot: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = low_ratio_run(tmp_path / "run")
    assert cli.select_model([str(run), "--reference", str(hycot), "--json", "--out", str(tmp_path / "report")]) == 0
    result = json.loads(capsys.readouterr().out)
    ours = Curve(ratios=(2, 4, 8, 16), psnr_db=(59.5, 59, 58, 56))
    theirs = Curve(ratios=(2, 4, 8, 16), psnr_db=HYCOT.psnr_db)
    ranked, reference = result["models"]
    assert ranked["bd_psnr"]["db"] == pytest.approx(bd_psnr(ours, theirs).db, abs=1e-9)
    assert ranked["bd_psnr_log_cr"]["db"] == pytest.approx(bd_psnr(ours, theirs, "log-cr").db, abs=1e-9)
    assert (reference["label"], reference["candidate"], reference["runs"]) == ("HyCoT", False, [str(hycot)])
    assert reference["curve"]["ratios"] == [2, 4, 8, 16]
    assert result["notes"] == [
        f"{hycot} states CR 4 to 32 of 32-bit samples; here they are CR 2 to 16 of 16-bit samples."
    ]
    assert "HyCoT" in (tmp_path / "report" / "selection.md").read_text(encoding="utf-8")


def test_an_option_states_the_bits_of_a_file_that_does_not(tmp_path: Path, hycot: Path) -> None:
    run = low_ratio_run(tmp_path / "run")
    rows = [f"HyCoT,{ratio:g},{psnr},mean" for ratio, psnr in zip(HYCOT.printed_ratios, HYCOT.psnr_db, strict=True)]
    bare = write_curve(tmp_path / "bare.csv", *rows, heading="codec,compression_ratio,psnr_db,statistic")
    stated, optional = select([run], [hycot]), select([run], [bare], reference_bits=32)
    assert optional.selected == stated.selected
    assert optional.notes[0].endswith("; columns not read: statistic.")
    with pytest.raises(RunError, match=r"bare.csv lacks the column bits_per_sample; add it, or .*--reference-bits"):
        select([run], [bare])


@pytest.mark.parametrize(
    ("heading", "rows", "message"),
    [
        (
            "codec,ratio,psnr_db",
            ["A,4,50"],
            "lacks the column compression_ratio; its columns are codec, ratio, psnr_db",
        ),
        ("", [], "lacks the column codec and compression_ratio and psnr_db"),
        (None, ["A,4,32,50"], "has 1 of the two points that Akima's interpolation needs"),
        (None, ["A,4,32,50", "B,8,32,40"], "holds 2 codecs (A, B); keep the rows of one"),
        (None, ["A,4,32,50", "A,2,16,40"], "has two points at one compression ratio"),
        (None, ["A,4,32,50", "A,8,32,high"], 'line 3: psnr_db is "high"'),
        (None, ["A,4,32,50", "A,8,32,"], "line 3: psnr_db is missing"),
        (None, ["A,4,32,50", "A,-8,32,40"], 'line 3: compression_ratio is "-8"'),
        (None, ["A,4,32,50", "A,8,32,40,5"], "line 3 has more cells than the heading; write numbers with a point"),
        (None, ["A,400,32,50", "A,800,32,40"], "no common range: CR 2 to 16 against 200 to 400"),
    ],
)
def test_a_wrong_curve_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], heading: str | None, rows: list[str], message: str
) -> None:
    run = low_ratio_run(tmp_path / "run")
    words = {} if heading is None else {"heading": heading}
    curve = write_curve(tmp_path / "curve.csv", *rows, **words)
    assert cli.select_model([str(run), "--reference", str(curve), "--out", str(tmp_path / "report")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "report").exists()


def test_a_curve_stands_alone_and_its_bits_belong_to_it(
    tmp_path: Path, hycot: Path, ablation: dict[int, list[Path]]
) -> None:
    with pytest.raises(RunError, match="is a whole curve; name one --reference, not 2"):
        select(ablation[0], [hycot, ablation[1][0]])
    with pytest.raises(RunError, match="--reference-bits belongs to a CSV file"):
        select(ablation[0], [ablation[0][0]], reference_bits=32)


# ------------------------------------------------------------------------------------------------ evaluation


def write_evaluation(folder: Path, runs: list[Path], *, psnr_db: float = 0.0) -> Path:
    """Table of evaluate-model: two patches, whose means are the run's own but for PSNR; and a bundle's rows."""
    folder.mkdir()
    with (folder / "evaluation.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        measures = ("rate_bpppc", "psnr_db", "ssim_uniform", "ssim_gaussian", "spectral_angle_deg")
        writer.writerow(("codec", "kind", "sha256", "lmbda", "quality", "patch", *measures))
        writer.writerow(("bundle", "stream", "0" * 64, "", 50.0, "p", 0.1, "inf", 1.0, 1.0, 0.0))
        for run in runs:
            digest = hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()
            for p in json.loads((run / "rd.json").read_text())["points"]:
                for patch, (scene, ssim, angle) in {"p": ("a", 0.9, 1.0), "q": ("b", 0.8, 3.0)}.items():
                    own = p["scenes"][scene]
                    found = (own["rate_bpppb"], own["psnr_db"] + psnr_db, 0.5, ssim, angle)
                    writer.writerow((run.name, "estimate", digest, p["lmbda"], 50.0, patch, *found))
    return folder


def test_an_evaluation_takes_the_place_of_the_validation(ablation: dict[int, list[Path]], tmp_path: Path) -> None:
    runs = [run for runs in ablation.values() for run in runs]
    evaluation = write_evaluation(tmp_path / "evaluation", runs, psnr_db=-5)
    validated = select(runs, [ablation[3][0]])
    selection = select(runs, [ablation[3][0]], evaluation=evaluation)
    assert selection.scenes == ("p", "q")
    assert selection.measured_by == f"evaluate-model ({evaluation})"
    assert selection.selected.curve.psnr_db == pytest.approx([psnr - 5 for psnr in validated.selected.curve.psnr_db])
    assert [(p.ssim, p.spectral_angle_deg) for p in selection.selected.points] == [(pytest.approx(0.85), 2.0)] * 4
    write_selection(selection, tmp_path / "report")
    for name in ("ssim", "spectral-angle"):
        assert (tmp_path / "report" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert not {"ssim", "spectral-angle"} & selection_figures(validated).keys()


def test_a_run_that_was_trained_on_since_its_evaluation_is_refused(
    ablation: dict[int, list[Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluation = write_evaluation(tmp_path / "evaluation", ablation[3])
    (ablation[3][1] / "model.safetensors").write_bytes(b"other weights")
    words = [*map(str, ablation[3]), "--reference", str(ablation[3][0]), "--evaluation", str(evaluation)]
    assert cli.select_model(words) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"has no row of {ablation[3][1]}/model.safetensors as it is now; evaluate this run again" in line
    (evaluation / "evaluation.csv").write_text("a,b\n1,2\n")
    assert cli.select_model(words) == 1
    assert "evaluation.csv is not a table of evaluate-model" in capsys.readouterr().err
    assert cli.select_model([*words[:-1], str(tmp_path)]) == 1
    assert "evaluation.csv is not readable" in capsys.readouterr().err


# --------------------------------------------------------------------------------------------------- figures


def test_bars_of_the_kernel_size_are_psnr_parameters_and_flops(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / f"k{k}-{lmbda:g}", [point(lmbda, ratio, psnr)], kernel_size=k)
        for k, drop in ((3, 0.0), (5, 1.0), (7, 2.5))
        for lmbda, ratio, psnr in ((1e-6, 300.0, 45 - drop), (1e-2, 100.0, 50 - drop))
    ]
    selection = select(runs, [runs[0]])
    figures = selection_figures(selection)
    assert "bd-psnr-3d" not in figures  # neither S nor (M, N) varies
    psnr, parameters, flops = figures["kernel-size"].axes
    assert [[bar.get_height() for bar in bars] for bars in psnr.containers] == [[45, 50], [44, 49], [42.5, 47.5]]
    assert [label.get_text() for label in psnr.get_xticklabels()] == ["1e-06", "0.01"]
    by_kernel = {m.architecture.kernel_size: m.complexity for m in selection.models if m.architecture and m.complexity}
    counted = [bar.get_height() * 1e6 for bar in parameters.containers[0]]
    assert counted == pytest.approx([by_kernel[k].parameters for k in (3, 5, 7)])
    encoder, decoder = ([bar.get_height() * 1e9 for bar in bars] for bars in flops.containers)
    assert encoder == pytest.approx([by_kernel[k].encoder_flops for k in (3, 5, 7)])
    assert decoder == pytest.approx([by_kernel[k].decoder_flops for k in (3, 5, 7)])


def test_three_dimensions_hold_every_stage_and_width_at_the_kernel_of_the_best(tmp_path: Path) -> None:
    offsets = {(0, 96, 64): -2.0, (2, 96, 64): 0.0, (0, 192, 128): 1.0, (2, 192, 128): 2.0}
    runs = {
        sizes: write_model(
            tmp_path / "-".join(map(str, sizes)),
            db,
            spatial_stages=sizes[0],
            latent_channels=sizes[1],
            hyperlatent_channels=sizes[2],
        )
        for sizes, db in offsets.items()
    }
    other = write_model(tmp_path / "k5", 1.5, kernel_size=5)  # another kernel: another picture
    selection = select([*(run for own in runs.values() for run in own), *other], [runs[2, 96, 64][0]])
    axes: Any = selection_figures(selection)["bd-psnr-3d"].axes[0]
    (points,) = axes.collections
    drawn = sorted(zip(*(list(values) for values in points._offsets3d), strict=True))
    assert drawn == [
        (0, 0, pytest.approx(-2)),
        (0, 1, pytest.approx(1)),
        (1, 0, pytest.approx(0)),
        (1, 1, pytest.approx(2)),
    ]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["96, 64", "192, 128"]
    assert axes.get_title() == "k = 3"
