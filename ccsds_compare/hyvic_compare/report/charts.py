"""Charts of the page in Plotly's form: plain dicts, one figure for every choice of a chart's selectors.

Every trace of a codec has the codec's name in `meta`; the page hides and shows traces by it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hyvic_runtime.codec.seen_scenes import Seen

from hyvic_compare.report.codec_style import INK, QUIET, CodecStyle
from hyvic_compare.report.pictures import shown_at, shown_ratios
from hyvic_compare.report.published_figures import CURVES, HYVIC
from hyvic_compare.report.summary import rate_text, ratio_text, throughput
from hyvic_compare.report.views import Point, Series, View
from hyvic_compare.results import ComparedScene, Comparison, Measurement
from hyvic_compare.sample_bits import BITS_PER_SAMPLE
from hyvic_compare.spectral_axis import SpectralAxis

_IN_TRAINING = {Seen.TRAINED: " (seen in training)", Seen.UNKNOWN: " (perhaps seen in training)"}
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


MEASURES = {
    "psnr_db": "PSNR in dB (higher is better)",
    "ssim": "SSIM (higher is better)",
    "spectral_angle_deg": "Spectral angle in degrees (lower is better)",
    "max_abs_error": "Largest error of a sample in digital numbers (lower is better)",
}
"""Fields of a point that the vertical axis of the rate–distortion chart can show, with their labels."""


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
            f"{number}|{measure}": _rate_figure(view, measure, styles)
            for number, view in enumerate(views)
            for measure in MEASURES
        },
        height=500,
        title="Rate and distortion",
    )


def _rate_figure(view: View, measure: str, styles: Mapping[str, CodecStyle]) -> Figure:
    values = [
        value for series in view.series for point in series.points if math.isfinite(value := getattr(point, measure))
    ] or [0.0]
    span = min(values), max(values) if max(values) > min(values) else min(values) + 1
    traces: list[Figure] = []
    for series in view.series:
        points = series.lossy if measure == "psnr_db" else series.points
        if points:
            traces.append(_curve(series, points, measure, styles[series.codec]))
        if measure == "psnr_db":
            traces += (_exact(series, point, span, styles[series.codec]) for point in series.exact)
    if measure == "psnr_db":
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
            "yaxis": {"title": {"text": MEASURES[measure]}},
            "hovermode": "closest",
        },
    }


def _scatter(codec: str | None, name: str, x: Sequence[Any], y: Sequence[Any], hover: str, **style: Any) -> Figure:
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": name,
        "meta": codec,
        "x": x,
        "y": y,
        "hovertemplate": f"{hover}<extra></extra>",
        **style,
    }


def _curve(series: Series, points: Sequence[Point], measure: str, style: CodecStyle) -> Figure:
    mark = _IN_TRAINING.get(series.training, "")
    return _scatter(
        series.codec,
        series.label,
        [point.compression_ratio for point in points],
        [getattr(point, measure) for point in points],
        f"<b>{series.codec}</b>{mark}<br>CR %{{x:,.1f}} (asked for %{{customdata[0]}})"
        "<br>PSNR %{customdata[1]}<br>SSIM %{customdata[2]:.4f}<br>spectral angle %{customdata[3]:.3f}°"
        "<br>largest error %{customdata[4]:,} DN",
        customdata=[
            (
                "none" if p.target_ratio is None else ratio_text(p.target_ratio),
                f"{p.psnr_text} dB" if math.isfinite(p.psnr_db) else p.psnr_text,
                p.ssim,
                p.spectral_angle_deg,
                p.max_abs_error,
            )
            for p in points
        ],
        line={"color": style.colour, "width": 2.5, "dash": "dot" if series.seen else "solid"},
        marker={"symbol": style.symbol + "-open" * series.seen, "size": 10, "line": {"width": 2 * series.seen}},
    )


def _exact(series: Series, point: Point, span: tuple[float, float], style: CodecStyle) -> Figure:
    """Return a line at the ratio of an exact result, since infinite PSNR has no place on the axis."""
    return _scatter(
        series.codec,
        f"{series.label}, lossless",
        # Hovering finds points only.
        [point.compression_ratio] * 20,
        np.linspace(*span, 20).tolist(),
        f"<b>{series.codec}</b><br>every sample exact at CR %{{x:.2f}}",
        line={"color": style.colour, "width": 2, "dash": "dash"},
        marker={"size": 12, "opacity": 0},  # invisible, but they keep the line away from the edge
    )


def _published() -> Iterator[Figure]:
    for curve, symbol in zip(CURVES, ("circle-open", "square-open", "diamond-open", "triangle-up-open"), strict=True):
        yield _scatter(
            PUBLISHED,
            f"{curve.codec}, published, N_b {curve.bits_per_sample} drawn as {BITS_PER_SAMPLE}",
            curve.ratios,
            curve.psnr_db,
            f"<b>{curve.codec}</b>, published, other data<br>CR %{{x}} of {BITS_PER_SAMPLE}-bit samples: %{{y:.2f}} dB"
            f"<br>(printed: CR %{{customdata}} of {curve.bits_per_sample}-bit samples)",
            customdata=curve.printed_ratios,
            line={"color": QUIET, "width": 1.2, "dash": "dash"},
            marker={"symbol": symbol, "size": 8},
        )
    yield _scatter(
        PUBLISHED,
        f"{HYVIC.codec}, published, N_b not stated",
        [HYVIC.low, HYVIC.high],
        [HYVIC.psnr_db] * 2,
        f"<b>{HYVIC.codec}</b>, published, other data<br>{HYVIC.psnr_db} ± {HYVIC.deviation_db} dB, "
        f"most scenes between CR {HYVIC.low:g} and {HYVIC.high:g},<br>for samples of unstated size",
        mode="lines",
        line={"color": QUIET, "width": 4},
        error_y={"type": "constant", "value": HYVIC.deviation_db, "color": QUIET},
    )


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
    ink = {"color": INK, "width": 4}
    y = _rounded(axis.line(original))
    traces = [_scatter(None, "original", x, y, "original %{y:,.0f}", mode="lines", line=ink, opacity=0.45)]
    for codec, preview in shown_at(comparison, scene, ratio).items():
        decoded = preview.spectra[pixel]
        line = {"color": styles[codec].colour, "width": 1.6}
        for values, y_axis, what in ((decoded, "y", ""), (decoded - original, "y2", " − original")):
            y, hover = _rounded(axis.line(values)), f"{codec}{what} %{{y:,.1f}}"
            traces.append(_scatter(codec, codec, x, y, hover, mode="lines", yaxis=y_axis, line=line))
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
    spreads = {
        "tiles": ("PSNR of tiles", tile_psnr, "PSNR of a tile in dB", "%{x:.2f} dB"),
        "scenes": ("PSNR of scenes", scene_psnr, "PSNR of a scene in dB", "%{x:.2f} dB"),
        "ratios": ("Compression ratios of scenes", scene_ratios, "CR of a scene (dashed: asked for)", "CR %{x:,.1f}"),
    }
    figures: dict[str, dict[str, Figure]] = {name: {} for name in spreads}
    for number, view in enumerate(views):
        for ratio in comparison.ratios:
            found = [(series, measured_at(series, ratio)) for series in view.series]
            for name, (_, values_of, label, form) in spreads.items():
                traces = [_spread(series, values_of(points), styles[series.codec], form) for series, points in found]
                figure = _spread_figure(traces, label)
                if name == "ratios":
                    _mark_target(figure, ratio)
                figures[name][f"{number}|{ratio:g}"] = figure
    lossy = sum(any(series.lossy for view in views for series in view.series if series.codec == c) for c in styles)
    height = 110 + 38 * max(lossy, 2)
    return {
        name: Chart(keys=("view", "ratio"), figures=figures[name], height=height, title=title)
        for name, (title, *_) in spreads.items()
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


def _spread_figure(traces: Sequence[Figure], label: str) -> Figure:
    return {
        "data": [trace for trace in traces if trace["x"]],
        "layout": {
            "xaxis": {"title": {"text": label}},
            "yaxis": {"autorange": "reversed"},
            "hovermode": "closest",
        },
    }


def _mark_target(figure: Figure, ratio: float) -> None:
    """Draw the ratio that was asked for, and make the axis logarithmic if the ratios need it."""
    values = [ratio, *(value for trace in figure["data"] for value in trace["x"])]
    if is_wide(values):
        ticks, reach = log_axis(min(values), max(values))
        texts = [ratio_text(tick) for tick in ticks]
        figure["layout"]["xaxis"] |= {"type": "log", "tickvals": ticks, "ticktext": texts, "range": reach}
    line = {"color": QUIET, "dash": "dash", "width": 1.5}
    shape = {"type": "line", "x0": ratio, "x1": ratio, "y0": 0, "y1": 1, "yref": "paper", "line": line}
    figure["layout"]["shapes"] = [shape]


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
