"""Charts of the page as Matplotlib figures, for documents that show pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np

from hyvic_compare.report.charts import is_wide, log_axis, measured_at, peak_memory_mb, scene_ratios, tile_psnr
from hyvic_compare.report.codec_style import INK, QUIET, CodecStyle, codec_styles
from hyvic_compare.report.pictures import ERROR_MAP, caption_lines, error_scale, measured, shown_at, shown_ratios
from hyvic_compare.report.summary import rate_text, ratio_text, throughput
from hyvic_compare.report.views import SEEN_MARK, UNKNOWN_MARK, View, mark_of
from hyvic_compare.results import Comparison
from hyvic_compare.spectral_axis import SpectralAxis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

RATE, SCENES, PICTURES = "rate-distortion", "rate-distortion-scenes", "pictures"
SPECTRA, SPREAD, COST = "spectra", "distributions", "cost"
PLOTS = (RATE, SCENES, PICTURES, SPECTRA, SPREAD, COST)
_MOST_SCENES = 4
"""Largest number of rows in a picture of scenes; the page shows all scenes."""
_TITLE_CHARACTERS = 56
"""Width of a panel in characters."""


def comparison_plots(comparison: Comparison, views: Sequence[View]) -> dict[str, Figure]:
    """Return figures by name."""
    styles = codec_styles(comparison.codecs)
    return {
        RATE: _rate_plot([view for view in views if view is views[0] or len(view.scenes) > 1], styles, columns=2),
        SCENES: _rate_plot([view for view in views if len(view.scenes) == 1], styles, columns=4),
        PICTURES: _pictures_plot(comparison),
        SPECTRA: _spectra_plot(comparison, styles),
        SPREAD: _spread_plot(comparison, views[0], styles),
        COST: _cost_plot(comparison, styles),
    }


def _rate_plot(views: Sequence[View], styles: Mapping[str, CodecStyle], *, columns: int) -> Figure:
    """Draw Fig. 7: a panel for every view, the main one first."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    columns = min(columns, len(views))
    rows = math.ceil(len(views) / columns)
    figure = Figure(figsize=(max(5.2 * columns + 0.6, 9), 4.4 * rows + 0.9), layout="constrained")
    panels = list(np.ravel(figure.subplots(rows, columns, squeeze=False)))
    for axes, view in zip(panels, views, strict=False):
        _rate_panel(axes, view, styles)
    for axes in panels[len(views) :]:
        axes.set_axis_off()
    marks = [Line2D([], [], color=QUIET, linestyle="--", label="lossless")]
    if any(view.seen_by for view in views):
        label = f"{SEEN_MARK} seen in training"
        marks.append(Line2D([], [], color=QUIET, marker="o", markerfacecolor="white", linestyle=":", label=label))
    if any(view.unknown_by for view in views):
        marks.append(Line2D([], [], linestyle="", label=f"{UNKNOWN_MARK} perhaps seen in training"))
    _legend(figure, styles, *marks)
    return figure


def _rate_panel(axes: Axes, view: View, styles: Mapping[str, CodecStyle]) -> None:
    for series in view.series:
        style = styles[series.codec]
        points = series.lossy
        axes.plot(
            [point.compression_ratio for point in points],
            [point.psnr_db for point in points],
            color=style.colour,
            marker=style.marker,
            markerfacecolor="white" if series.seen else style.colour,
            linestyle=":" if series.seen else "-",
            linewidth=2,
        )
        for point in series.exact:
            axes.axvline(point.compression_ratio, color=style.colour, linestyle="--", linewidth=1.5)
    ratios = [point.compression_ratio for series in view.series for point in series.points]
    if ratios:
        axes.set_xscale("log", base=2)
        _ratio_ticks(axes, min(ratios), max(ratios))
    title, bracket, facts = view.label.partition(" (")
    axes.set_title("\n".join((title, *wrap(bracket.lstrip() + facts, _TITLE_CHARACTERS))), fontsize=11)
    axes.set_xlabel("compression ratio")
    axes.set_ylabel("PSNR in dB")
    axes.grid(alpha=0.25)


def _ratio_ticks(axes: Axes, low: float, high: float) -> None:
    ticks, reach = log_axis(low, high)
    axes.set_xticks(ticks, [ratio_text(tick) for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlim(10 ** reach[0], 10 ** reach[1])


def _legend(figure: Figure, styles: Mapping[str, CodecStyle], *more: Line2D) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=style.colour, marker=style.marker, linewidth=2, label=codec)
        for codec, style in styles.items()
    ]
    handles += more
    longest = max((len(str(handle.get_label())) for handle in handles), default=0)
    columns = max(1, min(len(handles), int(figure.get_figwidth() / (0.9 + 0.095 * longest))))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False)


def _middle(comparison: Comparison) -> float:
    ratios = shown_ratios(comparison) or comparison.ratios
    return ratios[len(ratios) // 2]


def _at(comparison: Comparison, ratio: float, styles: Mapping[str, CodecStyle]) -> dict[str, CodecStyle]:
    """Return the codecs that have a result at a target."""
    able = {m.codec for m in comparison.measurements if m.gap is None and m.target_ratio == ratio}
    return {codec: style for codec, style in styles.items() if codec in able}


def _pictures_plot(comparison: Comparison) -> Figure:
    """Draw Fig. 8: reconstructions and errors of the first scenes at the middle ratio."""
    from matplotlib.figure import Figure

    ratio = _middle(comparison)
    scenes = [scene for scene in comparison.scenes if shown_at(comparison, scene, ratio)][:_MOST_SCENES]
    points = measured(comparison)
    codecs = [codec for codec in comparison.codecs if any(codec in shown_at(comparison, s, ratio) for s in scenes)]
    if not scenes:
        figure = Figure(figsize=(8, 2))
        figure.text(0.5, 0.5, f"No reconstruction was kept at CR {ratio_text(ratio)}", ha="center", va="center")
        return figure
    figure = Figure(figsize=(2.6 * (len(codecs) + 1), 5.9 * len(scenes) + 0.5), layout="constrained")
    grid = figure.subplots(2 * len(scenes), len(codecs) + 1, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for row, scene in enumerate(scenes):
        shown = shown_at(comparison, scene, ratio)
        top = error_scale(shown)
        above, below = grid[2 * row], grid[2 * row + 1]
        above[0].imshow(scene.original.true_colour, interpolation="nearest")
        above[0].set_title(f"{scene.name}\noriginal", fontsize=9)
        image = None
        for column, codec in enumerate(codecs, start=1):
            preview = shown.get(codec)
            if preview is None:
                continue
            m = points[scene.name, codec, ratio]
            mark = mark_of(m.training)
            above[column].imshow(preview.true_colour, interpolation="nearest")
            above[column].set_title("\n".join((codec + mark, *caption_lines(m))), fontsize=9)
            if preview.error is not None:
                image = below[column].imshow(preview.error, cmap=ERROR_MAP, vmin=0, vmax=top, interpolation="nearest")
        if image is not None:
            scale = below[0].inset_axes((0, 0.9, 1, 0.07))
            figure.colorbar(image, cax=scale, orientation="horizontal", label="error in DN, RMS over bands")
    figure.suptitle(f"Compressed {ratio_text(ratio)} times")
    return figure


def _spectra_plot(comparison: Comparison, styles: Mapping[str, CodecStyle]) -> Figure:
    """Draw Fig. 9: spectra of the pixels of the first scenes at the middle ratio."""
    from matplotlib.figure import Figure

    ratio = _middle(comparison)
    scenes = comparison.scenes[:_MOST_SCENES]
    columns = max(len(scene.pixels) for scene in scenes)
    figure = Figure(figsize=(5 * columns, 3.4 * len(scenes) + 0.8), layout="constrained")
    grid = figure.subplots(len(scenes), columns, squeeze=False)
    for panels, scene in zip(grid, scenes, strict=True):
        axis = SpectralAxis.of(scene.wavelengths, scene.shape[2])
        for pixel, axes in enumerate(panels):
            if pixel >= len(scene.pixels):
                axes.set_axis_off()
                continue
            axes.plot(axis.x, axis.line(scene.original.spectra[pixel]), color=INK, linewidth=4, alpha=0.4)
            for codec, preview in shown_at(comparison, scene, ratio).items():
                axes.plot(axis.x, axis.line(preview.spectra[pixel]), color=styles[codec].colour, linewidth=1.2)
            line, sample = scene.pixels[pixel]
            axes.set_title(f"{scene.name}: line {line}, sample {sample}", fontsize=10)
            axes.set_xlabel(axis.label)
            axes.grid(alpha=0.25)
        panels[0].set_ylabel("digital number")
    _legend(figure, _at(comparison, ratio, styles))
    figure.suptitle(f"Compressed {ratio_text(ratio)} times; the broad grey line is the original")
    return figure


def _spread_plot(comparison: Comparison, main: View, styles: Mapping[str, CodecStyle]) -> Figure:
    """Draw Fig. 10: PSNR of the tiles, and ratios of the scenes, of the main view at the middle ratio."""
    from matplotlib.figure import Figure

    ratio = _middle(comparison)
    figure = Figure(figsize=(13.5, 4.8), layout="constrained")
    tiles, scenes = figure.subplots(1, 2)
    styles = _at(comparison, ratio, styles)
    found = {series.codec: measured_at(series, ratio) for series in main.series if series.codec in styles}
    psnr = {codec: [value for _, value in tile_psnr(points)] for codec, points in found.items()}
    ratios = {codec: [value for _, value in scene_ratios(points)] for codec, points in found.items()}
    every = [value for values in psnr.values() for value in values]
    if every:
        edges = np.histogram_bin_edges(every, bins=min(40, max(8, len(every) // 12))).tolist()
        for codec, values in psnr.items():
            tiles.hist(values, bins=edges, color=styles[codec].colour, histtype="step", linewidth=2)
    tiles.set_xlabel("PSNR of a tile in dB")
    tiles.set_ylabel("tiles")
    for row, (codec, values) in enumerate(ratios.items()):
        style = styles[codec]
        scenes.plot(values, [row] * len(values), style.marker, color=style.colour, alpha=0.6)
    reached = [ratio, *(value for values in ratios.values() for value in values)]
    if is_wide(reached):
        scenes.set_xscale("log", base=2)
        _ratio_ticks(scenes, min(reached), max(reached))
    scenes.axvline(ratio, color=QUIET, linestyle="--")
    scenes.set_yticks([])
    scenes.invert_yaxis()
    scenes.set_xlabel("compression ratio of a scene; dashed: asked for")
    for axes in (tiles, scenes):
        axes.grid(alpha=0.25)
    _legend(figure, styles)
    figure.suptitle(f"{main.label}, compressed {ratio_text(ratio)} times".removeprefix("Mean over "))
    return figure


def _cost_plot(comparison: Comparison, styles: Mapping[str, CodecStyle]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.5, 0.55 * len(styles) + 1.6), layout="constrained")
    speed, memory = figure.subplots(1, 2, sharey=True)
    for row, (codec, style) in enumerate(styles.items()):
        rates = throughput(comparison, codec)
        if rates is not None:
            for offset, rate, alpha in ((-0.2, rates[0], 1.0), (0.2, rates[1], 0.45)):
                bar = speed.barh(row + offset, rate, height=0.36, color=style.colour, alpha=alpha)
                speed.bar_label(bar, labels=[rate_text(rate)], padding=3, fontsize=9)
        peak = peak_memory_mb(comparison, codec)
        if peak is not None:
            memory.bar_label(memory.barh(row, peak, height=0.6, color=style.colour), fmt="%.0f", padding=3, fontsize=9)
    speed.set_yticks(range(len(styles)), list(styles))
    speed.invert_yaxis()
    speed.set_xlabel("MSamples a second and core: encode, and decode in light")
    memory.set_xlabel("peak memory in MB")
    for axes in (speed, memory):
        axes.grid(alpha=0.25, axis="x")
        axes.margins(x=0.12)
        axes.set_axisbelow(True)
    return figure
