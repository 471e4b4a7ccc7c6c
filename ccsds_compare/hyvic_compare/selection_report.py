"""Report of `select-model`: one table for people, machines and documents, and the plots of Fig. 5 and 6."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from hyvic_runtime.support.atomic_file import replacing_folder

from hyvic_compare.bd_psnr import interpolate
from hyvic_compare.figure_files import save_svg
from hyvic_compare.markdown import markdown_table
from hyvic_compare.model_complexity import TILE, Architecture
from hyvic_compare.model_selection import Model, Selection

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TABLE, DOCUMENT = "selection.csv", "selection.md"
CURVES, MAP = "rate-distortion", "bd-psnr"
CONTENTS = (TABLE, DOCUMENT, *(f"{name}.{suffix}" for name in (CURVES, MAP) for suffix in ("png", "svg")))


def document_from_selection(selection: Selection) -> dict[str, Any]:
    """Return the selection as one JSON object."""
    return {
        "metric": "bd-psnr",
        "selected": selection.selected.label,
        "selected_runs": list(selection.selected.runs),
        "reference": selection.reference.label,
        "reference_runs": list(selection.reference.runs),
        "scenes": list(selection.scenes),
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
        (partial / DOCUMENT).write_text(_markdown(selection), encoding="utf-8")
        with (partial / TABLE).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(_CSV_HEADINGS)
            writer.writerows(map(_csv_row, selection.models))
        for name, figure in ((CURVES, _curves_figure(selection)), (MAP, _map_figure(selection))):
            figure.savefig(partial / f"{name}.png", dpi=130)
            save_svg(figure, partial / f"{name}.svg")


# ----------------------------------------------------------------------------------------------- tables

_FIGURES = ("points", "CR", "BD-PSNR dB", "over CR", "parameters", "encoder GFLOPs", "decoder GFLOPs")
_HEADINGS = ("", "model", *_FIGURES, "remark")
_LEFT = (0, 1, 9)


def _row(model: Model, selection: Selection) -> tuple[str, ...]:
    figures = model.complexity
    return (
        "*" if model is selection.selected else "",
        model.label,
        str(len(model.curve.ratios)),
        _range(model.curve.ratios[0], model.curve.ratios[-1]),
        "-" if model.bd_psnr is None else f"{model.bd_psnr.db:+.2f}",
        "-" if model.bd_psnr is None else _range(model.bd_psnr.low, model.bd_psnr.high),
        "-" if figures is None else f"{figures.parameters:,}",
        "-" if figures is None else f"{figures.encoder_flops / 1e9:.2f}",
        "-" if figures is None else f"{figures.decoder_flops / 1e9:.2f}",
        _remark(model, selection),
    )


def _range(low: float, high: float) -> str:
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"


def _remark(model: Model, selection: Selection) -> str:
    if model != selection.reference:
        return model.gap or ""
    return "reference" if model.candidate else "reference, not a candidate"


def _closing_lines(selection: Selection) -> list[str]:
    chosen = selection.selected
    assert chosen.bd_psnr is not None
    return [
        f"selected by BD-PSNR: {chosen.label} ({', '.join(chosen.runs)}), {chosen.bd_psnr.db:+.2f} dB "
        f"against {selection.reference.label}",
        f"means over {len(selection.scenes)} scenes: {', '.join(selection.scenes)}; "
        f"FLOPs a tile of {TILE} × {TILE} pixels",
        *selection.notes,
    ]


def _markdown(selection: Selection) -> str:
    rows = [_row(model, selection) for model in selection.models]
    lines = ["# Model selection by BD-PSNR", "", markdown_table(_HEADINGS, rows, left=_LEFT)]
    lines += ["", *(f"- {line}" for line in _closing_lines(selection)), ""]
    lines += [f"![Rate and distortion]({CURVES}.svg)", "", f"![BD-PSNR over the hyper-parameters]({MAP}.svg)", ""]
    return "\n".join(lines)


_CSV_FIGURES = ("points", "bd_psnr_db", "cr_min", "cr_max", "parameters", "encoder_flops", "decoder_flops")
_CSV_HEADINGS = ("model", "runs", *_CSV_FIGURES, "candidate", "gap")


def _csv_row(model: Model) -> tuple[object, ...]:
    delta, figures = model.bd_psnr, model.complexity
    return (
        model.label,
        " ".join(model.runs),
        len(model.curve.ratios),
        *(("", "", "") if delta is None else (delta.db, delta.low, delta.high)),
        *(("", "", "") if figures is None else (figures.parameters, figures.encoder_flops, figures.decoder_flops)),
        model.candidate,
        model.gap or "",
    )


# ---------------------------------------------------------------------------------------------- figures


def _curves_figure(selection: Selection) -> Figure:
    """Draw Fig. 5 (a): every model's points and the Akima curve that eq. 6 integrates."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter, ScalarFormatter

    figure = Figure(figsize=(9, 5.6), layout="constrained")
    axes = figure.subplots()
    axes.set_xscale("log", base=2)
    colours = colormaps["tab20"]
    for index, model in enumerate(selection.models):
        ratios, colour = model.curve.ratios, colours(index % 20)
        chosen, reference = model is selection.selected, model == selection.reference
        label = model.label + " (selected)" * chosen + " (reference)" * reference
        axes.plot(ratios, model.curve.psnr_db, "s" if reference else "o", color=colour, label=label)
        if len(set(ratios)) == len(ratios) > 1:
            between = np.clip(np.geomspace(ratios[0], ratios[-1], 200), ratios[0], ratios[-1])
            axes.plot(
                between,
                interpolate(model.curve, list(between)),
                color=colour,
                linewidth=2.6 if chosen else 1.2,
                linestyle="--" if reference else "-",
            )
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("compression ratio")
    axes.set_ylabel("PSNR in dB")
    axes.set_title(f"Means over {len(selection.scenes)} scenes")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8)
    return figure


Axis = tuple[str, Callable[[Architecture], tuple[int, ...]]]
_AXES: tuple[Axis, ...] = (
    ("S", lambda a: (a.spatial_stages,)),
    ("M, N", lambda a: (a.latent_channels, a.hyperlatent_channels)),  # one hyper-parameter in Table I
    ("k", lambda a: (a.kernel_size,)),
    ("C", lambda a: (a.bands,)),
    ("rates", lambda a: (a.rates,)),
)


def _map_figure(selection: Selection) -> Figure:
    """Draw Fig. 6 as heat maps: BD-PSNR over the first two varying hyper-parameters, a map for each value of the rest.

    If models share a cell, because they differ in something else, the best is shown.
    """
    from matplotlib.figure import Figure

    cells: dict[Architecture, Model] = {}
    for model in selection.models:
        if model.architecture is not None:
            cells.setdefault(model.architecture, model)
    varying = [axis for axis in _AXES if len({axis[1](architecture) for architecture in cells}) > 1]
    across, down = [*varying, *(axis for axis in _AXES if axis not in varying)][:2]
    rest = [axis for axis in varying if axis not in (across, down)]
    settings = list(itertools.product(*(_values(axis, cells) for axis in rest)))

    figure = Figure(figsize=(4.6 * len(settings) + 1.2, 4.4), layout="constrained")
    if not cells:
        figure.text(0.5, 0.5, "No HyVIC model among the runs", ha="center", va="center")
        return figure
    values = [model.bd_psnr.db for model in cells.values() if model.bd_psnr is not None]
    low, high = min(values, default=0.0), max(values, default=0.0)
    columns, rows = _values(across, cells), _values(down, cells)
    image = None
    for axes, setting in zip(np.ravel(figure.subplots(1, len(settings), squeeze=False)), settings, strict=True):
        grid = np.full((len(rows), len(columns)), np.nan)
        for architecture, model in cells.items():
            if tuple(axis[1](architecture) for axis in rest) == setting:
                place = rows.index(down[1](architecture)), columns.index(across[1](architecture))
                grid[place] = np.nan if model.bd_psnr is None else model.bd_psnr.db
                _write_cell(axes, place, model, selection, low=low, high=high)
        # With a span of zero, the colour scale would divide by zero.
        image = axes.imshow(grid, cmap="viridis", vmin=low - 1e-6, vmax=high + 1e-6, aspect="auto")
        axes.set_facecolor("#dddddd")
        axes.set_xticks(range(len(columns)), map(_value_text, columns))
        axes.set_yticks(range(len(rows)), map(_value_text, rows))
        axes.set_xlabel(across[0])
        axes.set_ylabel(down[0])
        axes.set_title(", ".join(f"{axis[0]} = {_value_text(v)}" for axis, v in zip(rest, setting, strict=True)))
    assert image is not None  # there is at least one setting: the empty one
    figure.colorbar(image, ax=figure.axes, label=f"BD-PSNR in dB against\n{selection.reference.label}")
    return figure


def _values(axis: Axis, architectures: Iterable[Architecture]) -> Sequence[tuple[int, ...]]:
    return sorted({axis[1](architecture) for architecture in architectures})


def _value_text(value: tuple[int, ...]) -> str:
    return ", ".join(map(str, value))


def _write_cell(
    axes: Axes, place: tuple[int, int], model: Model, selection: Selection, *, low: float, high: float
) -> None:
    text = "no value" if model.bd_psnr is None else f"{model.bd_psnr.db:+.2f}"
    bright = model.bd_psnr is None or model.bd_psnr.db > (low + high) / 2
    mark = "\nselected" if model is selection.selected else "\nreference" if model == selection.reference else ""
    weight = "bold" if model is selection.selected else "normal"
    axes.text(
        place[1], place[0], text + mark, ha="center", va="center", color="black" if bright else "white", weight=weight
    )
