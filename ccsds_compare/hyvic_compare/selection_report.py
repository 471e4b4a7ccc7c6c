"""Report of `select-model`: one table for people, machines and documents, beside the plots of `selection_figures`."""

from __future__ import annotations

import csv
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hyvic_runtime.support.atomic_file import replacing_folder

from hyvic_compare.bd_psnr import BDPSNR
from hyvic_compare.figure_files import save_svg
from hyvic_compare.markdown import markdown_table
from hyvic_compare.model_complexity import TILE
from hyvic_compare.model_selection import Metric, Model, Selection
from hyvic_compare.selection_figures import TITLES, selection_figures
from hyvic_compare.training_run import names_text

TABLE, DOCUMENT = "selection.csv", "selection.md"
CONTENTS = (TABLE, DOCUMENT, *(f"{name}.{suffix}" for name in TITLES for suffix in ("png", "svg")))
_MEANINGS: dict[Metric, str] = {
    "bd-psnr": "BD-PSNR over CR is eq. 6 of the paper to the letter, so high ratios weigh most",
    "bd-psnr-log-cr": "BD-PSNR over log CR is Bjøntegaard's: every doubling of the ratio weighs alike",
}


def document_from_selection(selection: Selection) -> dict[str, Any]:
    """Return the selection as one JSON object."""
    return {
        "metric": selection.metric,
        "meanings": {"bd_psnr": _MEANINGS["bd-psnr"], "bd_psnr_log_cr": _MEANINGS["bd-psnr-log-cr"]},
        "selected": selection.selected.label,
        "selected_runs": list(selection.selected.runs),
        "reference": selection.reference.label,
        "reference_runs": list(selection.reference.runs),
        "bits_per_sample": selection.bits_per_sample,
        "scenes": list(selection.scenes),
        "measured_by": selection.measured_by,
        "notes": list(selection.notes),
        "models": [asdict(model) for model in selection.models],
    }


def text_table(selection: Selection) -> str:
    """Return an aligned table, the selected model and the notes."""
    rows = [_HEADINGS, *(_row(model, selection) for model in selection.models)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if column in _LEFT else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([*lines, "", *_closing_lines(selection)])


def write_selection(selection: Selection, folder: Path) -> None:
    """Write table (CSV, Markdown) and plots (PNG, SVG), all or none; an earlier report there is replaced.

    Raises:
        FileExistsError: the folder holds something else.
    """
    with replacing_folder(folder, contents=CONTENTS) as partial:
        figures = selection_figures(selection)
        (partial / DOCUMENT).write_text(_markdown(selection, list(figures)), encoding="utf-8")
        with (partial / TABLE).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(_CSV_HEADINGS)
            writer.writerows(map(_csv_row, selection.models))
        for name, figure in figures.items():
            figure.savefig(partial / f"{name}.png", dpi=130)
            save_svg(figure, partial / f"{name}.svg")


_DELTAS = ("BD-PSNR dB, CR", "BD-PSNR dB, log CR", "common CR")
_HEADINGS = ("", "model", "points", "CR", *_DELTAS, "parameters", "encoder GFLOPs", "decoder GFLOPs", "remark")
_LEFT = (0, 1, len(_HEADINGS) - 1)


def _row(model: Model, selection: Selection) -> tuple[str, ...]:
    figures = model.complexity
    return (
        "*" if model is selection.selected else "",
        model.label,
        str(len(model.curve.ratios)),
        _range(model.curve.ratios[0], model.curve.ratios[-1]),
        _db(model.bd_psnr),
        _db(model.bd_psnr_log_cr),
        "-" if model.bd_psnr is None else _range(model.bd_psnr.low, model.bd_psnr.high),
        "-" if figures is None else f"{figures.parameters:,}",
        "-" if figures is None else f"{figures.encoder_flops / 1e9:.2f}",
        "-" if figures is None else f"{figures.decoder_flops / 1e9:.2f}",
        _remark(model, selection),
    )


def _db(delta: BDPSNR | None) -> str:
    return "-" if delta is None else f"{delta.db:+.2f}"


def _range(low: float, high: float) -> str:
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"


def _remark(model: Model, selection: Selection) -> str:
    if model != selection.reference:
        return model.gap or ""
    return "reference" if model.candidate else "reference, not a candidate"


def _closing_lines(selection: Selection) -> list[str]:
    chosen = selection.selected
    other: Metric = "bd-psnr-log-cr" if selection.metric == "bd-psnr" else "bd-psnr"
    return [
        f"selected by {selection.metric}: {chosen.label} ({names_text(chosen.runs)}), "
        f"{chosen.score(selection.metric):+.2f} dB against {selection.reference.label}",
        f"{_MEANINGS[selection.metric]}; this decides. {_MEANINGS[other]}.",
        f"means over {len(selection.scenes)} scenes: {names_text(selection.scenes)}; "
        f"measured by {selection.measured_by}; CR of {selection.bits_per_sample}-bit samples; "
        f"FLOPs a tile of {TILE} × {TILE} pixels",
        *selection.notes,
    ]


def _markdown(selection: Selection, figures: list[str]) -> str:
    rows = [_row(model, selection) for model in selection.models]
    lines = ["# Model selection by BD-PSNR", "", markdown_table(_HEADINGS, rows, left=_LEFT)]
    lines += ["", *(f"- {line}" for line in _closing_lines(selection)), ""]
    for name in figures:
        lines += [f"![{TITLES[name]}]({name}.svg)", ""]
    return "\n".join(lines)


_CSV_DELTAS = ("bd_psnr_db", "bd_psnr_log_cr_db", "cr_min", "cr_max")
_CSV_FIGURES = ("parameters", "encoder_flops", "decoder_flops")
_CSV_HEADINGS = ("model", "runs", "points", *_CSV_DELTAS, *_CSV_FIGURES, "candidate", "gap")


def _csv_row(model: Model) -> tuple[object, ...]:
    delta, log_delta, figures = model.bd_psnr, model.bd_psnr_log_cr, model.complexity
    return (
        model.label,
        " ".join(model.runs),
        len(model.curve.ratios),
        *(("",) * 4 if delta is None or log_delta is None else (delta.db, log_delta.db, delta.low, delta.high)),
        *(("", "", "") if figures is None else (figures.parameters, figures.encoder_flops, figures.decoder_flops)),
        model.candidate,
        model.gap or "",
    )
