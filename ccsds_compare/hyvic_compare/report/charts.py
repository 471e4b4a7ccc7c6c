"""Charts of the page in Plotly's form: plain dicts, one figure for every choice of a chart's selectors.

Every trace of a codec has the codec's name in `meta`; the page hides and shows traces by it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hyvic_compare.report.codec_style import INK, QUIET, CodecStyle
from hyvic_compare.report.pictures import shown_ratios
from hyvic_compare.report.published_figures import CURVES, HYVIC
from hyvic_compare.report.summary import rate_text, ratio_text, throughput
from hyvic_compare.report.views import Point, Series, View
from hyvic_compare.results import ComparedScene, Comparison, Measurement
from hyvic_compare.spectral_axis import SpectralAxis

PUBLISHED = "published"
"""`meta` of traces that show published figures."""

Figure = dict[str, Any]

# Plotly chooses the range by the visible traces.
_RATIO_TICKS = tuple(float(2**n) for n in range(18))


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Place on the page, with the figures that it can show.

    Attributes:
        keys: selectors that choose the figure.
        figures: figures by the values of the selectors, joined with "|".
        height: height in pixels.
        title: text for screen readers.
    """

    keys: tuple[str, ...]
    figures: Mapping[str, Figure]
    height: int
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measure:
    """Measure that the vertical axis of the rate–distortion chart can show."""

    attribute: str
    label: str
    form: str


MEASURES = {
    "psnr": _Measure(attribute="psnr_db", label="PSNR in dB (higher is better)", form=".2f"),
    "ssim": _Measure(attribute="ssim", label="SSIM (higher is better)", form=".4f"),
    "angle": _Measure(attribute="spectral_angle_deg", label="Spectral angle in degrees (lower is better)", form=".3f"),
    "error": _Measure(
        attribute="max_abs_error", label="Largest error of a sample in digital numbers (lower is better)", form=",.0f"
    ),
}


def log_axis(low: float, high: float) -> tuple[tuple[float, ...], tuple[float, float]]:
    """Return ticks at powers of two that enclose a range, and the range with a margin, in log10 as Plotly takes it.

    >>> log_axis(10, 60)[0]
    (8.0, 16.0, 32.0, 64.0)
    """
    first, last = math.floor(math.log2(low)), math.ceil(math.log2(high))
    ticks = tuple(float(2**n) for n in range(first, last + 1))
    margin = 0.04 * max(math.log10(high / low), 0.3)
    return ticks, (math.log10(low) - margin, math.log10(high) + margin)


def is_wide(ratios: Sequence[float]) -> bool:
    """Return whether ratios span enough powers of two for a logarithmic axis."""
    return max(ratios) > 4 * min(ratios)


def rate_chart(views: Sequence[View], styles: Mapping[str, CodecStyle]) -> Chart:
    """Return Fig. 7, by view and measure."""
    return Chart(
        keys=("view", "measure"),
        figures={
            f"{number}|{key}": _rate_figure(view, key, measure, styles)
            for number, view in enumerate(views)
            for key, measure in MEASURES.items()
        },
        height=500,
        title="Rate and distortion",
    )


def _rate_figure(view: View, key: str, measure: _Measure, styles: Mapping[str, CodecStyle]) -> Figure:
    values = [
        value
        for series in view.series
        for point in series.points
        if math.isfinite(value := getattr(point, measure.attribute))
    ] or [0.0]
    span = min(values), max(values) if max(values) > min(values) else min(values) + 1
    traces: list[Figure] = []
    for series in view.series:
        points = series.lossy if key == "psnr" else series.points
        if points:
            traces.append(_curve(series, points, measure, styles[series.codec]))
        if key == "psnr":
            traces += (_exact(series, point, span, styles[series.codec]) for point in series.exact)
    if key == "psnr":
        traces += _published()
    return {
        "data": traces,
        "layout": {
            "xaxis": {
                "type": "log",
                "title": {"text": "Compression ratio (further right: smaller files)"},
                "tickvals": _RATIO_TICKS,
                "ticktext": [ratio_text(tick) for tick in _RATIO_TICKS],
            },
            "yaxis": {"title": {"text": measure.label}},
            "hovermode": "closest",
        },
    }


def _curve(series: Series, points: Sequence[Point], measure: _Measure, style: CodecStyle) -> Figure:
    mark = " (seen in training)" if series.seen else ""
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": series.label,
        "meta": series.codec,
        "x": [point.compression_ratio for point in points],
        "y": [getattr(point, measure.attribute) for point in points],
        "customdata": [
            (
                "none" if p.target_ratio is None else ratio_text(p.target_ratio),
                f"{p.psnr_text} dB" if math.isfinite(p.psnr_db) else p.psnr_text,
                p.ssim,
                p.spectral_angle_deg,
                p.max_abs_error,
            )
            for p in points
        ],
        "line": {"color": style.colour, "width": 2.5, "dash": "dot" if series.seen else "solid"},
        "marker": {"symbol": style.symbol + "-open" * series.seen, "size": 10, "line": {"width": 2 * series.seen}},
        "hovertemplate": f"<b>{series.codec}</b>{mark}<br>CR %{{x:,.1f}} (asked for %{{customdata[0]}})"
        "<br>PSNR %{customdata[1]}<br>SSIM %{customdata[2]:.4f}<br>spectral angle %{customdata[3]:.3f}°"
        "<br>largest error %{customdata[4]:,} DN<extra></extra>",
    }


def _exact(series: Series, point: Point, span: tuple[float, float], style: CodecStyle) -> Figure:
    """Return a line at the ratio of an exact result, since infinite PSNR has no place on the axis."""
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": f"{series.label}, lossless",
        "meta": series.codec,
        # Hovering finds points only.
        "x": [point.compression_ratio] * 20,
        "y": np.linspace(*span, 20).tolist(),
        "line": {"color": style.colour, "width": 2, "dash": "dash"},
        "marker": {"size": 12, "opacity": 0},  # invisible, but they keep the line away from the edge
        "hovertemplate": f"<b>{series.codec}</b><br>every sample exact at CR %{{x:.2f}}<extra></extra>",
    }


def _published() -> Iterator[Figure]:
    for curve, symbol in zip(CURVES, ("circle-open", "square-open", "diamond-open", "triangle-up-open"), strict=True):
        yield {
            "type": "scatter",
            "mode": "lines+markers",
            "name": f"{curve.codec}, published",
            "meta": PUBLISHED,
            "x": curve.ratios,
            "y": curve.psnr_db,
            "line": {"color": QUIET, "width": 1.2, "dash": "dash"},
            "marker": {"symbol": symbol, "size": 8},
            "hovertemplate": f"<b>{curve.codec}</b>, published, other data<br>CR %{{x}}: %{{y:.2f}} dB<extra></extra>",
        }
    yield {
        "type": "scatter",
        "mode": "lines",
        "name": f"{HYVIC.codec}, published",
        "meta": PUBLISHED,
        "x": [HYVIC.low, HYVIC.high],
        "y": [HYVIC.psnr_db] * 2,
        "line": {"color": QUIET, "width": 4},
        "error_y": {"type": "constant", "value": HYVIC.deviation_db, "color": QUIET},
        "hovertemplate": f"<b>{HYVIC.codec}</b>, published, other data<br>{HYVIC.psnr_db} ± {HYVIC.deviation_db} dB, "
        f"most scenes between CR {HYVIC.low:g} and {HYVIC.high:g}<extra></extra>",
    }


def spectra_chart(comparison: Comparison, styles: Mapping[str, CodecStyle]) -> Chart:
    """Return Fig. 9 with the differences below the spectra, by scene, ratio and pixel."""
    figures = {}
    for number, scene in enumerate(comparison.scenes):
        axis = SpectralAxis.of(scene.wavelengths, scene.shape[2])
        for ratio in shown_ratios(comparison):
            for pixel in range(len(scene.pixels)):
                figures[f"{number}|{ratio:g}|{pixel}"] = _spectra_figure(comparison, scene, axis, ratio, pixel, styles)
    return Chart(keys=("scene", "shown", "pixel"), figures=figures, height=560, title="Spectra")


def _spectra_figure(
    comparison: Comparison,
    scene: ComparedScene,
    axis: SpectralAxis,
    ratio: float,
    pixel: int,
    styles: Mapping[str, CodecStyle],
) -> Figure:
    original = scene.original.spectra[pixel]
    x = _rounded(axis.x)
    traces: list[Figure] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "original",
            "x": x,
            "y": _rounded(axis.line(original)),
            "line": {"color": INK, "width": 4},
            "opacity": 0.45,
            "hovertemplate": "original %{y:,.0f}<extra></extra>",
        }
    ]
    for codec in comparison.codecs:
        preview = comparison.previews.get((scene.name, codec, ratio))
        if preview is None:
            continue
        decoded = preview.spectra[pixel]
        line = {"color": styles[codec].colour, "width": 1.6}
        for values, y_axis, what in ((decoded, "y", ""), (decoded - original, "y2", " − original")):
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "name": codec,
                    "meta": codec,
                    "x": x,
                    "y": _rounded(axis.line(values)),
                    "yaxis": y_axis,
                    "line": line,
                    "hovertemplate": f"{codec}{what} %{{y:,.1f}}<extra></extra>",
                }
            )
    return {
        "data": traces,
        "layout": {
            "xaxis": {"title": {"text": axis.label}, "anchor": "y2"},
            "yaxis": {"title": {"text": "Digital number"}, "domain": [0.42, 1]},
            "yaxis2": {"title": {"text": "Decoded − original"}, "domain": [0, 0.34], "zeroline": True},
            "hovermode": "x",
        },
    }


def _rounded(values: np.ndarray[Any, Any]) -> list[float | None]:
    return [None if math.isnan(value) else round(float(value), 1) for value in values]


def spread_charts(comparison: Comparison, views: Sequence[View], styles: Mapping[str, CodecStyle]) -> dict[str, Chart]:
    """Return Fig. 10: distributions of PSNR and ratio over tiles and scenes, by view and target ratio."""
    tiles, scenes, ratios = {}, {}, {}
    for number, view in enumerate(views):
        for ratio in comparison.ratios:
            key = f"{number}|{ratio:g}"
            found = [(series, measured_at(series, ratio)) for series in view.series]
            tiles[key] = _spread_figure(
                [_spread(series, tile_psnr(points), styles[series.codec], "%{x:.2f} dB") for series, points in found],
                {"title": {"text": "PSNR of a tile in dB"}},
            )
            scenes[key] = _spread_figure(
                [_spread(series, scene_psnr(points), styles[series.codec], "%{x:.2f} dB") for series, points in found],
                {"title": {"text": "PSNR of a scene in dB"}},
            )
            ratios[key] = _ratios_figure(
                [
                    _spread(series, scene_ratios(points), styles[series.codec], "CR %{x:,.1f}")
                    for series, points in found
                ],
                ratio,
            )
    lossy = sum(any(series.lossy for view in views for series in view.series if series.codec == c) for c in styles)
    height = 110 + 38 * max(lossy, 2)
    keys = ("view", "ratio")
    return {
        "tiles": Chart(keys=keys, figures=tiles, height=height, title="PSNR of tiles"),
        "scenes": Chart(keys=keys, figures=scenes, height=height, title="PSNR of scenes"),
        "ratios": Chart(keys=keys, figures=ratios, height=height, title="Compression ratios of scenes"),
    }


def measured_at(series: Series, ratio: float) -> list[Measurement]:
    """Return a codec's measurements on a view's scenes at a target."""
    return [m for m in series.measurements if m.target_ratio == ratio]


Values = list[tuple[str, float]]
"""Names of scenes with measured values."""


def tile_psnr(points: Sequence[Measurement]) -> Values:
    """Return the PSNR of every tile that is not exact."""
    return [
        (m.scene, value)
        for m in points
        for value in (m.fidelity.tile_psnr_db if m.fidelity is not None else ())
        if math.isfinite(value)
    ]


def scene_psnr(points: Sequence[Measurement]) -> Values:
    """Return the PSNR of every scene that is not exact."""
    return [(m.scene, m.fidelity.psnr_db) for m in points if m.fidelity and math.isfinite(m.fidelity.psnr_db)]


def scene_ratios(points: Sequence[Measurement]) -> Values:
    """Return the compression ratio of every scene."""
    return [(m.scene, m.compression_ratio) for m in points if m.compression_ratio is not None]


def _spread(series: Series, values: Values, style: CodecStyle, form: str) -> Figure:
    return {
        "type": "box",
        "orientation": "h",
        "name": series.label,
        "meta": series.codec,
        "x": [round(value, 3) for _, value in values],
        "y": [series.label] * len(values),
        "text": [scene for scene, _ in values],
        "boxpoints": "all",
        "jitter": 0.6,
        "pointpos": 0,
        "fillcolor": "rgba(0,0,0,0)",
        # A handful of values has no quartiles worth showing.
        "line": {"color": style.colour, "width": 1.5 * (len(values) >= _FEWEST)},
        "marker": {"color": style.colour, "size": 7, "opacity": 0.65, "symbol": style.symbol + "-open" * series.seen},
        "hoveron": "points",
        "hovertemplate": f"<b>{series.label}</b><br>%{{text}}<br>{form}<extra></extra>",
    }


_FEWEST = 5


def _spread_figure(traces: Sequence[Figure], axis: Figure) -> Figure:
    return {
        "data": [trace for trace in traces if trace["x"]],
        "layout": {"xaxis": axis, "yaxis": {"autorange": "reversed"}, "hovermode": "closest"},
    }


def _ratios_figure(traces: Sequence[Figure], ratio: float) -> Figure:
    values = [ratio, *(value for trace in traces for value in trace["x"])]
    axis: Figure = {"title": {"text": "CR of a scene (dashed: asked for)"}}
    if is_wide(values):
        ticks, reach = log_axis(min(values), max(values))
        axis |= {
            "type": "log",
            "tickvals": ticks,
            "ticktext": [ratio_text(tick) for tick in ticks],
            "range": reach,
        }
    figure = _spread_figure(traces, axis)
    line = {"color": QUIET, "dash": "dash", "width": 1.5}
    shape = {"type": "line", "x0": ratio, "x1": ratio, "y0": 0, "y1": 1, "yref": "paper", "line": line}
    figure["layout"]["shapes"] = [shape]
    return figure


def cost_charts(comparison: Comparison, styles: Mapping[str, CodecStyle]) -> dict[str, Chart]:
    """Return the charts of samples a second and core, and of memory."""
    speed, memory = [], []
    for codec, style in styles.items():
        rates = throughput(comparison, codec)
        if rates is not None:
            speed.append(_bar(codec, rates[0], style, "encode", 1))
            speed.append(_bar(codec, rates[1], style, "decode", 0.45))
        peak = peak_memory_mb(comparison, codec)
        if peak is not None:
            memory.append(_bar(codec, peak, style, "", 1))
    height = 110 + 44 * len(styles)
    return {
        "throughput": Chart(
            keys=(), figures={"": _bars(speed, "MSamples a second and core")}, height=height, title="Throughput"
        ),
        "memory": Chart(keys=(), figures={"": _bars(memory, "Peak memory in MB")}, height=height, title="Peak memory"),
    }


def peak_memory_mb(comparison: Comparison, codec: str) -> float | None:
    """Return the largest peak of all scenes and targets, or None if the system did not tell."""
    costs = [m.cost for m in comparison.measurements if m.codec == codec and m.cost is not None]
    return max((cost.peak_memory_mb for cost in costs if cost.peak_memory_mb is not None), default=None)


def _bar(codec: str, value: float, style: CodecStyle, what: str, opacity: float) -> Figure:
    return {
        "type": "bar",
        "orientation": "h",
        "name": f"{codec} {what}",
        "meta": codec,
        "offsetgroup": what,
        "x": [value],
        "y": [codec],
        "text": [f"{rate_text(value)} {what}".strip()],
        "textposition": "outside",
        "cliponaxis": False,
        "marker": {"color": style.colour, "opacity": opacity},
        "hovertemplate": f"<b>{codec}</b> {what}<br>%{{x:,.2f}}<extra></extra>",
    }


def _bars(traces: Sequence[Figure], label: str) -> Figure:
    layout = {
        "xaxis": {"title": {"text": label}},
        "yaxis": {"autorange": "reversed"},
        "bargap": 0.3,
        "margin": {"r": 84},
    }
    return {"data": list(traces), "layout": layout}
