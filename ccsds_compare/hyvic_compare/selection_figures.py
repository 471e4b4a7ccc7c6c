"""Plots of `select-model`, as Figs 4, 5 and 6 of the seed paper, of what varies among the models."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hyvic_compare.bd_psnr import interpolate
from hyvic_compare.model_complexity import TILE, Architecture
from hyvic_compare.model_selection import Model, Selection
from hyvic_compare.rate_point import MeanPoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.container import BarContainer
    from matplotlib.figure import Figure

CURVES, SSIM, ANGLE, MAP, CUBE, KERNEL = (
    "rate-distortion",
    "ssim",
    "spectral-angle",
    "bd-psnr",
    "bd-psnr-3d",
    "kernel-size",
)
TITLES = {
    CURVES: "Rate and distortion",
    SSIM: "SSIM over the compression ratio",
    ANGLE: "Spectral angle over the compression ratio",
    MAP: "BD-PSNR over the hyper-parameters",
    CUBE: "BD-PSNR over S, M and N",
    KERNEL: "Kernel size",
}
"""File names without suffix, and what the files show."""


def selection_figures(selection: Selection) -> dict[str, Figure]:
    """Return the plots that the models have figures for, by file name without suffix.

    Curves of PSNR (Fig. 5 a) and the map of BD-PSNR come always. SSIM and spectral angle (Fig. 5 b, c) need an
    evaluation, the three dimensions of Fig. 6 models that differ in S and in (M, N), and Fig. 4 models that differ in k
    alone.
    """
    figures = {CURVES: _curves_figure(selection)}
    measures: tuple[tuple[str, str, Callable[[MeanPoint], float | None]], ...] = (
        (SSIM, "SSIM (Gaussian window)", lambda point: point.ssim),
        (ANGLE, "spectral angle in degrees", lambda point: point.spectral_angle_deg),
    )
    for name, label, value_of in measures:
        if any(value_of(point) is not None for model in selection.models for point in model.points):
            figures[name] = _measure_figure(selection, label, value_of)
    cells = _cells(selection)
    figures[MAP] = _map_figure(selection, cells)
    compared = {a: model for a, model in cells.items() if model.score(selection.metric) is not None}
    if all(len(_values(axis, compared)) > 1 for axis in (_STAGES, _WIDTHS)):
        figures[CUBE] = _cube_figure(selection, compared)
    if groups := _kernel_groups(cells):
        figures[KERNEL] = _kernel_figure(groups)
    return figures


# ----------------------------------------------------------------------------------------------- curves


def _curves_figure(selection: Selection) -> Figure:
    """Draw Fig. 5 (a): every model's points and the Akima curve that BD-PSNR integrates."""
    figure, axes = _ratio_axes(selection, "PSNR in dB")
    for model, style in zip(selection.models, _styles(selection), strict=True):
        ratios = model.curve.ratios
        axes.plot([], [], **style)  # for the legend
        style["label"] = None
        axes.plot(ratios, model.curve.psnr_db, **{**style, "linestyle": "none"})
        if len(set(ratios)) == len(ratios) > 1:
            between = np.clip(np.geomspace(ratios[0], ratios[-1], 200), ratios[0], ratios[-1])
            axes.plot(between, interpolate(model.curve, list(between), selection.axis), **{**style, "marker": ""})
    _add_legend(figure, axes, selection)
    return figure


def _measure_figure(selection: Selection, label: str, value_of: Callable[[MeanPoint], float | None]) -> Figure:
    """Draw Fig. 5 (b) or (c): every model's points, joined by straight lines."""
    figure, axes = _ratio_axes(selection, label)
    for model, style in zip(selection.models, _styles(selection), strict=True):
        known = [(p.compression_ratio, value) for p in model.points if (value := value_of(p)) is not None]
        if known:
            axes.plot(*zip(*known, strict=True), **style)
    _add_legend(figure, axes, selection)
    return figure


def _ratio_axes(selection: Selection, label: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    figure = Figure(figsize=(9, 5.6), layout="constrained")
    axes = figure.subplots()
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(LogLocator(base=2, numticks=20))
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.set_xlabel(f"compression ratio, N_b = {selection.bits_per_sample}")
    axes.set_ylabel(label)
    axes.set_title(f"Means over {len(selection.scenes)} scenes, by {selection.measured_by}", fontsize=10)
    axes.grid(alpha=0.25)
    return figure, axes


def _styles(selection: Selection) -> list[dict[str, Any]]:
    """Return a style for every model; where S and (M, N) vary, S is the colour and (M, N) the symbol."""
    from matplotlib import colormaps

    cells = _cells(selection)
    stages, widths = _values(_STAGES, cells), _values(_WIDTHS, cells)
    by_axes = 1 < len(stages) <= 10 and 1 < len(widths) <= len(_SYMBOLS)
    styles = []
    for index, model in enumerate(selection.models):
        chosen, reference = model is selection.selected, model == selection.reference
        colour, symbol = colormaps["tab20"](index % 20), "o"
        if by_axes and model.architecture is not None:
            colour = colormaps["tab10"](stages.index(_STAGES[1](model.architecture)))
            symbol = _SYMBOLS[widths.index(_WIDTHS[1](model.architecture))]
        styles.append(
            {
                "color": "black" if reference else colour,
                "marker": symbol,
                "markersize": 5,
                "linestyle": "--" if reference else "-",
                "linewidth": 2.6 if chosen else 1.1,
                "label": model.label + " (selected)" * chosen + " (reference)" * reference,
            }
        )
    return styles


_SYMBOLS = "os^Dv*"


def _add_legend(figure: Figure, axes: Axes, selection: Selection) -> None:
    """Put a short legend among the curves, and a long one beside them."""
    if len(selection.models) <= _FEW:
        axes.legend(frameon=False, fontsize=8)
    else:
        figure.set_size_inches(12, 6.4)
        figure.legend(loc="outside right center", frameon=False, fontsize=8)


_FEW = 6


# ------------------------------------------------------------------------------------------ hyper-parameters

Axis = tuple[str, Callable[[Architecture], tuple[int, ...]]]
_STAGES: Axis = ("S", lambda a: (a.spatial_stages,))
_WIDTHS: Axis = ("M, N", lambda a: (a.latent_channels, a.hyperlatent_channels))  # one hyper-parameter in Table I
_AXES: tuple[Axis, ...] = (
    _STAGES,
    _WIDTHS,
    ("k", lambda a: (a.kernel_size,)),
    ("C", lambda a: (a.bands,)),
    ("rates", lambda a: (a.rates,)),
)
Cells = dict[Architecture, Model]


def _cells(selection: Selection) -> Cells:
    """Return the models by architecture; of models that differ in something else, the best."""
    cells: Cells = {}
    for model in selection.models:
        if model.architecture is not None:
            cells.setdefault(model.architecture, model)
    return cells


def _map_figure(selection: Selection, cells: Cells) -> Figure:
    """Draw heat maps: BD-PSNR over the first two varying hyper-parameters, a map for each value of the rest."""
    from matplotlib.figure import Figure

    varying = [axis for axis in _AXES if len(_values(axis, cells)) > 1]
    across, down = [*varying, *(axis for axis in _AXES if axis not in varying)][:2]
    rest = [axis for axis in varying if axis not in (across, down)]
    settings = list(itertools.product(*(_values(axis, cells) for axis in rest)))

    figure = Figure(figsize=(4.6 * len(settings) + 1.2, 4.4), layout="constrained")
    if not cells:
        figure.text(0.5, 0.5, "No HyVIC model among the runs", ha="center", va="center")
        return figure
    low, high = _score_range(selection, cells)
    columns, rows = _values(across, cells), _values(down, cells)
    image = None
    for axes, setting in zip(np.ravel(figure.subplots(1, len(settings), squeeze=False)), settings, strict=True):
        grid = np.full((len(rows), len(columns)), np.nan)
        for architecture, model in cells.items():
            if tuple(axis[1](architecture) for axis in rest) == setting:
                place = rows.index(down[1](architecture)), columns.index(across[1](architecture))
                score = model.score(selection.metric)
                grid[place] = np.nan if score is None else score
                _write_cell(axes, place, model, selection, low=low, high=high)
        # With a span of zero, the colour scale would divide by zero.
        image = axes.imshow(grid, cmap="viridis", vmin=low - 1e-6, vmax=high + 1e-6, aspect="auto")
        axes.set_facecolor("#dddddd")
        axes.set_xticks(range(len(columns)), map(_value_text, columns))
        axes.set_yticks(range(len(rows)), map(_value_text, rows))
        axes.set_xlabel(across[0])
        axes.set_ylabel(down[0])
        axes.set_title(_setting_text(rest, setting))
    assert image is not None  # there is at least one setting: the empty one
    figure.colorbar(image, ax=figure.axes, label=_score_text(selection))
    return figure


def _cube_figure(selection: Selection, cells: Cells) -> Figure:
    """Draw Fig. 6: a point over S and (M, N) for every model that shares the best one's other hyper-parameters.

    Args:
        selection: result to draw.
        cells: models that have a BD-PSNR, best first.
    """
    from matplotlib.figure import Figure

    best = next(iter(cells))
    others = [axis for axis in _AXES if axis not in (_STAGES, _WIDTHS)]
    shown = {a: model for a, model in cells.items() if all(axis[1](a) == axis[1](best) for axis in others)}
    low, high = _score_range(selection, shown)
    floor = low - 0.15 * max(high - low, 0.1)
    stages, widths = _values(_STAGES, cells), _values(_WIDTHS, cells)

    figure = Figure(figsize=(8.4, 6.6), layout="constrained")
    axes: Any = figure.add_subplot(projection="3d")  # its class has no types
    points = []
    for architecture, model in shown.items():
        score = model.score(selection.metric)
        assert score is not None
        x, y = stages.index(_STAGES[1](architecture)), widths.index(_WIDTHS[1](architecture))
        points.append((x, y, score))
        axes.plot([x, x], [y, y], [floor, score], color="0.75", linewidth=1)
        if model is selection.selected:  # the map has the numbers of all
            axes.text(x, y, score + 0.05 * (high - floor), f"selected, {score:+.2f}", ha="center", weight="bold")
    for y in range(len(widths)):  # models of one width are joined
        if line := sorted(point for point in points if point[1] == y):
            axes.plot(*zip(*line, strict=True), color="0.45", linewidth=1)
    image = axes.scatter(
        *zip(*points, strict=True), c=[score for *_, score in points], cmap="viridis", s=46, depthshade=False
    )
    axes.set_xticks(range(len(stages)), map(_value_text, stages))
    axes.set_yticks(range(len(widths)), map(_value_text, widths))
    axes.set_zlim(floor, high + 0.1 * (high - floor))
    axes.set(xlabel="S", ylabel="M, N", zlabel="BD-PSNR in dB")
    axes.yaxis.labelpad = 12
    axes.view_init(elev=22, azim=-58)
    varying = [axis for axis in others if len(_values(axis, cells)) > 1]
    axes.set_title(_setting_text(varying, [axis[1](best) for axis in varying]))
    figure.colorbar(image, ax=axes, shrink=0.6, pad=0.12, label=_score_text(selection))
    return figure


def _values(axis: Axis, architectures: Iterable[Architecture]) -> Sequence[tuple[int, ...]]:
    return sorted({axis[1](architecture) for architecture in architectures})


def _value_text(value: tuple[int, ...]) -> str:
    return ", ".join(map(str, value))


def _setting_text(axes: Sequence[Axis], values: Sequence[tuple[int, ...]]) -> str:
    return ", ".join(f"{axis[0]} = {_value_text(value)}" for axis, value in zip(axes, values, strict=True))


def _score_range(selection: Selection, cells: Cells) -> tuple[float, float]:
    scores = [score for model in cells.values() if (score := model.score(selection.metric)) is not None]
    return min(scores, default=0.0), max(scores, default=0.0)


def _score_text(selection: Selection) -> str:
    over = {"cr": "CR", "log-cr": "log CR"}[selection.axis]
    return f"BD-PSNR over {over} in dB against\n{selection.reference.label}"


def _write_cell(
    axes: Axes, place: tuple[int, int], model: Model, selection: Selection, *, low: float, high: float
) -> None:
    score = model.score(selection.metric)
    text = "no value" if score is None else f"{score:+.2f}"
    bright = score is None or score > (low + high) / 2
    mark = "\nselected" if model is selection.selected else "\nreference" if model == selection.reference else ""
    weight = "bold" if model is selection.selected else "normal"
    axes.text(
        place[1], place[0], text + mark, ha="center", va="center", color="black" if bright else "white", weight=weight
    )


# ----------------------------------------------------------------------------------------------- kernel size

Group = dict[int, Model]
"""Models that differ in k alone, by k."""


def _kernel_groups(cells: Cells) -> dict[Architecture, Group]:
    """Return the groups of two models and more, by their architecture with k = 0."""
    groups: dict[Architecture, Group] = {}
    for architecture, model in sorted(cells.items(), key=lambda item: item[0].kernel_size):
        groups.setdefault(replace(architecture, kernel_size=0), {})[architecture.kernel_size] = model
    return {common: group for common, group in groups.items() if len(group) > 1}


def _kernel_figure(groups: dict[Architecture, Group]) -> Figure:
    """Draw Fig. 4: PSNR at each λ, parameters and FLOPs by kernel size; a row for every S, M and N."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    most = max(len({point.lmbda for model in group.values() for point in model.points}) for group in groups.values())
    figure = Figure(figsize=(8.2 + 0.9 * most, 3.6 * len(groups)), layout="constrained")
    panels = figure.subplots(len(groups), 3, squeeze=False, width_ratios=(2 + most, 3, 3.6))
    for (common, group), (left, middle, right) in zip(groups.items(), panels, strict=True):
        colours = {k: colormaps["viridis"](0.15 + 0.7 * n / (len(group) - 1)) for n, k in enumerate(group)}
        psnr = {k: dict(sorted((point.lmbda, point.psnr_db) for point in model.points)) for k, model in group.items()}
        lmbdas = sorted({lmbda for own in psnr.values() for lmbda in own})
        width = 0.8 / len(group)
        for n, (k, own) in enumerate(psnr.items()):
            places = [lmbdas.index(lmbda) + (n - (len(group) - 1) / 2) * width for lmbda in own]
            _label(left, left.bar(places, list(own.values()), width, color=colours[k], label=f"k = {k}"), "{:.2f}")
        values = [value for own in psnr.values() for value in own.values()]
        margin = 0.25 * max(max(values) - min(values), 1)
        left.set_ylim(max(0, min(values) - margin), max(values) + margin)  # bars from zero would look alike
        left.set_xticks(range(len(lmbdas)), [f"{lmbda:g}" for lmbda in lmbdas])
        left.set(xlabel="λ", ylabel="PSNR in dB (axis cut)")
        left.set_title(f"S = {common.spatial_stages}, M = {common.latent_channels}, N = {common.hyperlatent_channels}")
        left.legend(frameon=False, fontsize=8, ncols=len(group), loc="upper left")
        kernels, figures = [f"{k}" for k in group], [model.complexity for model in group.values()]
        parameters = [0 if f is None else f.parameters / 1e6 for f in figures]
        _label(middle, middle.bar(kernels, parameters, color=list(colours.values())), "{:.3g}")
        middle.set(xlabel="k", ylabel="parameters in millions")
        for side, (word, flops) in enumerate(
            (
                ("encoder", [0 if f is None else f.encoder_flops / 1e9 for f in figures]),
                ("decoder", [0 if f is None else f.decoder_flops / 1e9 for f in figures]),
            )
        ):
            places = [n + (side - 0.5) * 0.4 for n in range(len(group))]
            bars = right.bar(
                places, flops, 0.4, color=list(colours.values()), hatch="//" * side, edgecolor="white", label=word
            )
            _label(right, bars, "{:.3g}")
        right.set_xticks(range(len(group)), kernels)
        right.set(xlabel="k", ylabel=f"GFLOPs a tile of {TILE} × {TILE}")
        right.legend(frameon=False, fontsize=8, loc="upper left")
        for axes in (middle, right):
            axes.margins(y=0.15)
    return figure


def _label(axes: Axes, bars: BarContainer, form: str) -> None:
    axes.bar_label(bars, fmt=form, fontsize=7, padding=2)
