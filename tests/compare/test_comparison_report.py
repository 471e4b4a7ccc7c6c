from __future__ import annotations

import csv
import json
import math
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from comparisons import comparison, everything, gap, point
from hyvic_compare.comparison_report import CONTENTS, write_comparison_report
from hyvic_compare.report.codec_style import codec_styles
from hyvic_compare.report.published_figures import CURVES, HYVIC


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "out"
    write_comparison_report(folder, everything())
    return folder


def charts(folder: Path) -> dict[str, Any]:
    page = (folder / "index.html").read_text("utf-8")
    found = re.search(r'<script type="application/json" id="comparison">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return dict(json.loads(found[1])["charts"])


def test_a_report_is_a_page_pictures_and_figures_for_machines(report: Path) -> None:
    assert {file.name for file in report.iterdir()} == set(CONTENTS)
    for name in CONTENTS:
        start = (report / name).read_bytes()[:8]
        assert start == b"\x89PNG\r\n\x1a\n" if name.endswith(".png") else start


def test_the_json_holds_every_measurement_without_loss_and_no_infinity(report: Path) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    document = json.loads((report / "comparison.json").read_text("utf-8"), parse_constant=refuse)

    def finite(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: finite(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [finite(item) for item in value]
        return float(value) if value == "inf" else value

    expected = [finite(asdict(m)) for m in everything().measurements]
    assert [finite(m) for m in document["measurements"]] == expected
    assert document["ours"] == ["ours"]
    assert document["command"] == "compare-codecs a.npz --report out"
    assert {entry["codec"] for entry in document["bjontegaard"]} == {"ours"}


def test_the_csv_has_a_row_for_each_measurement(report: Path) -> None:
    with (report / "comparison.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    measurements = everything().measurements
    assert len(rows) == len(measurements)
    for row, m in zip(rows, measurements, strict=True):
        assert (row["scene"], row["codec"], row["training"]) == (m.scene, m.codec, m.training)
        if m.fidelity is None:
            assert row["gap"] == m.gap
            assert row["psnr_db"] == row["compression_ratio"] == ""
        else:
            assert float(row["psnr_db"]) == m.fidelity.psnr_db
            assert float(row["compression_ratio"]) == m.compression_ratio
    assert any(math.isinf(float(row["psnr_db"])) for row in rows if row["psnr_db"])


def test_a_report_replaces_a_report_and_is_the_same_for_the_same_comparison(report: Path) -> None:
    before = {name: (report / name).read_bytes() for name in CONTENTS}
    (report / "cost.png").write_bytes(b"of an earlier report")
    write_comparison_report(report, everything())
    assert {file.name: file.read_bytes() for file in report.iterdir()} == before


def test_a_folder_that_holds_something_else_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(FileExistsError, match=r"holds thesis\.tex"):
        write_comparison_report(tmp_path, everything())
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def test_names_cannot_break_the_page(report: Path) -> None:
    hostile = comparison(point("</script><script>x", '"<i>&', 100, 40.0), point("</script><script>x", "b", 100, 41.0))
    write_comparison_report(report.parent / "hostile", hostile)
    page = (report.parent / "hostile" / "index.html").read_text("utf-8")
    assert "</script><script>x" not in page
    assert 'data-toggle="&#34;&lt;i&gt;&amp;"' in page
    charts(report.parent / "hostile")


def test_no_name_is_a_formula_or_opens_a_script_that_does_not_end(tmp_path: Path) -> None:
    """HTML 13.1.2.3: after "<!--<script", "</script>" no longer ends the element."""
    name = "<!--<script>$b_$"
    write_comparison_report(tmp_path / "out", comparison(point(name, name, 100, 40.0)))
    page = (tmp_path / "out" / "index.html").read_text("utf-8")
    assert "<!--<script>$" not in page
    assert charts(tmp_path / "out")["throughput"]["figures"][""]["data"][0]["meta"] == name


def test_what_was_seen_in_training_is_drawn_apart(report: Path) -> None:
    figures = charts(report)["rate-distortion"]["figures"]
    unseen, seen = (figures[key]["data"][0] for key in ("0|psnr_db", "1|psnr_db"))
    assert (unseen["name"], unseen["line"]["dash"], unseen["marker"]["symbol"]) == ("ours", "solid", "circle")
    assert (seen["name"], seen["line"]["dash"], seen["marker"]["symbol"]) == ("ours †", "dot", "circle-open")
    assert unseen["y"] == [51.0, 45.0]
    assert seen["y"] == [71.0, 65.0]


def test_published_figures_are_marked_and_in_no_table_mean_or_file(report: Path) -> None:
    figures = charts(report)["rate-distortion"]["figures"]
    published = [trace for trace in figures["0|psnr_db"]["data"] if trace.get("meta") == "published"]
    assert len(published) == len(CURVES) + 1
    assert all("published" in trace["name"] for trace in published)
    assert not any(trace.get("meta") == "published" for trace in figures["0|ssim"]["data"])
    # HyCoT prints CR 4 … 32 for float32 samples; the same streams are CR 2 … 16 of the 16 bits that this axis counts.
    (hycot,) = [trace for trace in published if trace["name"].startswith("HyCoT")]
    assert hycot["x"] == [2, 4, 8, 16]
    assert hycot["customdata"] == [4, 8, 16, 32]
    assert hycot["y"] == list(CURVES[0].psnr_db)
    assert all("N_b 32 drawn as 16" in trace["name"] for trace in published[: len(CURVES)])
    assert "N_b not stated" in published[-1]["name"]
    page = (report / "index.html").read_text("utf-8")
    row = re.search(r"<tr><td[^>]*>HyCoT</td>.*?</tr>", page, re.DOTALL)
    assert row is not None
    cells = [re.sub(r"<[^>]+>", "", cell).strip() for cell in re.findall(r"<td.*?</td>", row[0], re.DOTALL)]
    assert cells[:5] == ["HyCoT", "4, 8, 16, 32", "32", "2, 4, 8, 16", "16"]
    assert 'data-toggle="published" aria-pressed="false"' in page
    for name in ("comparison.json", "comparison.csv"):
        text = (report / name).read_text("utf-8")
        assert not any(str(figure) in text for figure in (HYVIC.psnr_db, CURVES[0].psnr_db[0], "HyCoT"))


def test_a_lossless_codec_is_a_line_at_its_ratio(report: Path) -> None:
    data = charts(report)["rate-distortion"]["figures"]["0|psnr_db"]["data"]
    (exact,) = [trace for trace in data if trace.get("meta") == "exact"]
    assert set(exact["x"]) == {2.5}
    assert exact["line"]["dash"] == "dash"


def test_spectra_show_the_original_each_codec_and_their_difference(report: Path) -> None:
    chart = charts(report)["spectra"]
    assert chart["keys"] == ["scene", "shown", "pixel"]
    traces = chart["figures"]["0|100|1"]["data"]
    assert [trace["name"] for trace in traces] == ["original", "ours", "ours", "old & good", "old & good"]
    assert traces[0]["x"] == [450.0, 480.0, 510.0, None, 1000.0, 1010.0]
    assert traces[1]["y"] == [101.0, 101.0, 101.0, None, 101.0, 101.0]
    assert traces[2]["y"] == [1.0, 1.0, 1.0, None, 1.0, 1.0]


def test_gaps_that_differ_in_numbers_alone_are_one_row(report: Path) -> None:
    page = (report / "index.html").read_text("utf-8")
    section = page[page.index("<h2>No result</h2>") : page.index("<h2>Scenes</h2>")]
    assert section.count("<tr>") == 2
    assert "town &lt;b&gt;, sea" in section
    assert "CR 100 leaves 0 octets" in section


def test_ratios_that_gave_nothing_are_in_order(tmp_path: Path) -> None:
    late = comparison(gap("a", "x", 100, "no"), gap("b", "x", 10, "no"))
    write_comparison_report(tmp_path / "out", late)
    assert '<td class="text">10, 100</td>' in (tmp_path / "out" / "index.html").read_text("utf-8")


def test_a_comparison_without_any_result_is_a_report_too(tmp_path: Path) -> None:
    nothing = comparison(gap("a", "x", 10, "it refused"), gap("a", "x", 100, "it refused"))
    write_comparison_report(tmp_path / "out", nothing)
    assert "it refused" in (tmp_path / "out" / "index.html").read_text("utf-8")


def test_no_two_of_many_codecs_look_alike() -> None:
    styles = codec_styles([f"codec {n}" for n in range(24)])
    assert len({(style.colour, style.symbol) for style in styles.values()}) == 24
    assert codec_styles(["codec 0"])["codec 0"] == styles["codec 0"]
