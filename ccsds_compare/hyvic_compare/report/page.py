"""Page of a comparison: everything in one file that needs no network."""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from hyvic_runtime.support.report_page import preformatted, report_page, table

from hyvic_compare.report.charts import (
    MEASURES,
    PUBLISHED,
    Chart,
    cost_charts,
    rate_chart,
    spectra_chart,
    spread_charts,
)
from hyvic_compare.report.codec_style import INK, QUIET, CodecStyle, codec_styles
from hyvic_compare.report.pictures import pictures_html, shown_ratios, swatch
from hyvic_compare.report.published_figures import CURVES, DATA_SET, HYVIC
from hyvic_compare.report.summary import count_text, findings, ratio_text, words
from hyvic_compare.report.views import SEEN_MARK, Delta, View, default_reference, deltas_of
from hyvic_compare.results import TILE, Comparison, Measurement

_GRID = {"gridcolor": "#e8ebed", "linecolor": "#cfd6db", "zeroline": False, "automargin": True}
_BASE: dict[str, Any] = {
    "font": {"family": "system-ui, sans-serif", "size": 14, "color": INK},
    "paper_bgcolor": "rgba(0,0,0,0)",
    "plot_bgcolor": "rgba(0,0,0,0)",
    "margin": {"l": 64, "r": 16, "t": 12, "b": 56},
    "showlegend": False,
    "xaxis": _GRID,
    "yaxis": _GRID,
    "hoverlabel": {"bgcolor": "white", "bordercolor": "#cfd6db", "font": {"color": INK}, "align": "left"},
}

_TERMS = {
    "Compression ratio (CR)": "bits of the raw scene over bits of the file, everything that a decoder needs included "
    "(HyVIC paper, eq. 4). Asked for, a ratio is an upper limit on the file: codecs end at it or a little above.",
    "bpppc": "bits the file spends on a pixel and channel: the scene's bit depth over CR.",
    "PSNR": "10 log₁₀(MAX² / mean squared error) in dB over all samples, MAX being the sensor's range (eq. 5). "
    "6 dB more: half the typical error.",
    "Spectral angle": "mean over the pixels of the angle between original and decoded spectrum (eq. 7); "
    "brightness does not count, the spectrum's shape does.",
    "SSIM": "how alike the pictures of the bands look, mean over bands and windows; 1 is the same (eq. 8).",
    "Largest error": "of any one sample, in digital numbers (DN).",
    "BD-PSNR": "mean gap in dB between two codecs' curves over the ratios that both cover, by Akima interpolation "
    "(eq. 6). The axis is the ratio itself, so high ratios weigh most. Positive: better than the reference.",
    "BD-rate": "octets that a codec takes beyond the reference's for the same PSNR, by the mean of the rates' "
    "logarithms over the PSNR that both reach. Negative: better than the reference.",
    "Means": "over scenes, of CR and of each measure, at the same ratio asked for; only where every scene of the mean "
    "has a result, and never over scenes that a codec was trained on together with others.",
    SEEN_MARK: "the codec was trained on this scene: open symbols, dotted lines. It says little about new scenes.",
    "Tile": f"a square of {TILE} × {TILE} pixels, whole ones only.",
    "Error picture": "root mean square over the bands, in DN; one scale for all codecs at a ratio.",
    "MSamples a second and core": "millions of samples of the cube over seconds of processor time, all threads "
    "together; the encoder's includes its search for the rate. Median over scenes and ratios.",
    "Peak memory": "resident memory that coding adds, the model's weights included; the largest of all scenes.",
}


def comparison_page(comparison: Comparison, views: Sequence[View]) -> str:
    """Return HTML that opens from a disk."""
    from plotly.offline import get_plotlyjs

    styles = codec_styles(comparison.codecs)
    charts = {
        "rate-distortion": rate_chart(views, styles),
        **({"spectra": spectra_chart(comparison, styles)} if shown_ratios(comparison) else {}),
        **spread_charts(comparison, views, styles),
        **cost_charts(comparison, styles),
    }
    made = sum(m.gap is None for m in comparison.measurements)
    resources = files("hyvic_compare.report")
    data = {"base": _BASE, "charts": {name: _chart_document(chart) for name, chart in charts.items()}}
    # A name with "</script>" must not end the element, nor one with "<!--<script>" keep it open.
    text = json.dumps(data, allow_nan=False, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    return report_page(
        title=f"{len(comparison.codecs)} codecs on {count_text(len(comparison.scenes), 'hyperspectral scene')}",
        note="How small each makes them, how much it loses, and what that costs. Every figure is measured, unless "
        "it is marked as published.",
        figures={
            "scenes": f"{len(comparison.scenes):,}",
            "codecs": f"{len(comparison.codecs)}",
            "streams coded, decoded and compared": f"{made:,}",
            "runs without a result": f"{len(comparison.measurements) - made:,}",
        },
        pictures=(),
        sections={
            "In short": _summary(comparison, views),
            "Size against quality": _rate_section(comparison, views, styles, charts["rate-distortion"]),
            "What it looks like": _picture_section(comparison, views, styles, charts.get("spectra")),
            "How it spreads over tiles and scenes": _spread_section(comparison, views, charts),
            "What it costs": _cost_section(comparison, charts),
            "No result": _gaps(comparison),
            "Scenes": _scenes(comparison, views),
            "What the words mean": _terms(),
            "Published figures": _published(),
            "All measurements": _all(comparison),
            "How to make this page": preformatted([comparison.command]) + table(comparison.environment),
        },
        style=resources.joinpath("page.css").read_text("utf-8"),
        scripts=f"<script>{get_plotlyjs()}</script>\n"
        f'<script type="application/json" id="comparison">{text}</script>\n'
        f"<script>{resources.joinpath('page.js').read_text('utf-8')}</script>\n",
    )


def _chart_document(chart: Chart) -> dict[str, Any]:
    return {"keys": chart.keys, "height": chart.height, "figures": chart.figures}


def _place(name: str, chart: Chart) -> str:
    return (
        f'<div class="chart" id="{name}" role="img" aria-label="{html.escape(chart.title)}" '
        f'style="min-height:{chart.height}px"></div>'
    )


def _summary(comparison: Comparison, views: Sequence[View]) -> str:
    items = (
        f"<dt>{html.escape(topic)}</dt><dd>{html.escape(text)}</dd>" for topic, text in findings(comparison, views)
    )
    return f'<dl class="summary">{"".join(items)}</dl>'


def _rate_section(comparison: Comparison, views: Sequence[View], styles: Mapping[str, CodecStyle], chart: Chart) -> str:
    chips = "".join(
        f'<button class="chip" data-toggle="{html.escape(codec)}" aria-pressed="true"'
        f">{swatch(style)}{html.escape(codec)}</button>"
        for codec, style in styles.items()
    )
    chips += (
        f'<button class="chip" data-toggle="{PUBLISHED}" aria-pressed="false">'
        f'<span class="swatch" style="color:{QUIET}">○</span>published, other data</button>'
    )
    start = str(comparison.codecs.index(default_reference(comparison, views[0])))
    references = {str(number): codec for number, codec in enumerate(comparison.codecs)}
    measures = {key: label.split(" (")[0] for key, label in MEASURES.items()}
    return (
        '<p class="lead">Up is closer to the original, right is smaller. A point is a file that was written and read '
        "back; a dashed vertical line is a lossless codec at the ratio it reaches. Click a codec to hide it "
        "everywhere.</p>"
        f'<div class="codecs">{chips}</div>'
        f'<div class="controls">{_views(views)}'
        f"{_select('measure', 'Measure', measures)}</div>"
        f"{_place('rate-distortion', chart)}"
        f'<p class="quiet" data-codec="{PUBLISHED}">Grey: what papers print for {html.escape(DATA_SET)}. Other scenes '
        "than these, so their height says nothing against the coloured curves.</p>"
        "<h3>PSNR in dB at each ratio asked for</h3>"
        f"{''.join(_when(f'view={n}', _ratio_table(comparison, view, styles)) for n, view in enumerate(views))}"
        "<h3>Distance between the curves</h3>"
        f'<div class="controls">{_select("reference", "Against", references, start)}</div>'
        + "".join(
            _when(f"view={n}&amp;reference={r}", _delta_table(list(deltas_of(view, codec)), styles))
            for n, view in enumerate(views)
            for r, codec in references.items()
        )
    )


def _ratio_table(comparison: Comparison, view: View, styles: Mapping[str, CodecStyle]) -> str:
    best = {
        ratio: max((p.psnr_db for series in view.series if (p := series.at(ratio)) is not None), default=None)
        for ratio in comparison.ratios
    }
    rows = []
    for series in view.series:
        cells = [_named(series.label, styles[series.codec])]
        for ratio in comparison.ratios:
            point = series.at(ratio)
            if point is None:
                cells.append('<span class="quiet">–</span>')
            else:
                text = point.psnr_text
                # Show the ratio that was reached if it differs from the target.
                if point.compression_ratio > 1.05 * ratio:
                    text += f'<br><small class="quiet">at CR {point.compression_ratio:,.0f}</small>'
                cells.append(f'<span class="best">{text}</span>' if point.psnr_db == best[ratio] else text)
        exact = series.exact
        cells.append(f"CR {exact[0].compression_ratio:.2f}" if exact else '<span class="quiet">–</span>')
        rows.append(cells)
    return _grid(["", *(f"CR {ratio_text(ratio)}" for ratio in comparison.ratios), "lossless"], rows, text=1)


def _delta_table(deltas: Sequence[Delta], styles: Mapping[str, CodecStyle]) -> str:
    rows = []
    for delta in deltas:
        psnr, rate = delta.bd_psnr, delta.bd_rate
        rows.append(
            [
                _named(f"{delta.codec} {SEEN_MARK}" if delta.seen else delta.codec, styles[delta.codec]),
                "–" if psnr is None else f"{psnr.db:+.2f} dB",
                "–" if psnr is None else f"{psnr.low:,.1f} to {psnr.high:,.1f}",
                "–" if rate is None else f"{rate.percent:+,.1f} %",
                "–" if rate is None else f"{rate.low_db:.1f} to {rate.high_db:.1f} dB",
                str(delta.points),
                f'<span class="reason">{html.escape("; ".join(delta.gaps))}</span>',
            ]
        )
    return _grid(["", "BD-PSNR", "over CR", "BD-rate", "over PSNR", "points", ""], rows, text=1)


def _picture_section(
    comparison: Comparison, views: Sequence[View], styles: Mapping[str, CodecStyle], chart: Chart | None
) -> str:
    if chart is None:
        return "<p>No reconstruction was kept.</p>"
    labels = {view.scenes[0]: view.label for view in views if len(view.scenes) == 1}
    scenes = {str(number): labels[scene.name] for number, scene in enumerate(comparison.scenes)}
    pixels = {str(n): f"pixel {n + 1}" for n in range(max(len(scene.pixels) for scene in comparison.scenes))}
    return (
        '<p class="lead">True colour above, error below, all at the same ratio asked for and on the same colour scale: '
        "the darker, the closer to the original.</p>"
        f'<div class="controls">{_select("scene", "Scene", scenes)}'
        f"{_ratios('shown', shown_ratios(comparison))}</div>"
        f"{pictures_html(comparison, styles)}"
        "<h3>Spectra of the numbered pixels: grey is the original; below, what each codec adds or takes away</h3>"
        f'<div class="controls">{_select("pixel", "Spectrum of", pixels)}</div>{_place("spectra", chart)}'
    )


def _spread_section(comparison: Comparison, views: Sequence[View], charts: Mapping[str, Chart]) -> str:
    return (
        '<p class="lead">A point is a tile or a scene; a box holds the middle half of them, its line is the median.</p>'
        f'<div class="controls">{_views(views)}{_ratios("ratio", comparison.ratios)}</div>'
        f"{_place('tiles', charts['tiles'])}"
        f'<div class="pair"><div>{_place("scenes", charts["scenes"])}</div>'
        f"<div>{_place('ratios', charts['ratios'])}</div></div>"
    )


def _cost_section(comparison: Comparison, charts: Mapping[str, Chart]) -> str:
    processors = sorted({m.cost.processor for m in comparison.measurements if m.cost is not None})
    where = f" Measured on {html.escape(words(processors))}." if processors else ""
    return (
        f'<p class="lead">Longer is faster on the left, and takes more memory on the right.{where} What a codec costs '
        "does not depend on whether it was trained on a scene, so all scenes count.</p>"
        f'<div class="pair"><div>{_place("throughput", charts["throughput"])}</div>'
        f"<div>{_place('memory', charts['memory'])}</div></div>"
    )


def _gaps(comparison: Comparison) -> str:
    """Return one row for each codec and reason, whatever numbers the reason holds; the CSV file has every gap."""
    alike: dict[tuple[str, str], list[Measurement]] = {}
    for m in comparison.measurements:
        if m.gap is not None:
            alike.setdefault((m.codec, re.sub(r"[\d.,−-]+", "#", m.gap)), []).append(m)
    if not alike:
        return "<p>Every codec gave a stream for every scene and ratio.</p>"
    rows = []
    for (codec, _), gaps in alike.items():
        scenes = dict.fromkeys(m.scene for m in gaps)
        reason = html.escape(gaps[0].gap or "")
        if len({m.gap for m in gaps}) > 1:
            reason += (
                f' <span class="quiet">({html.escape(gaps[0].scene)} at {_target(gaps[0])}; the others alike)</span>'
            )
        rows.append(
            [
                html.escape(codec),
                html.escape(", ".join(scenes))
                if len(scenes) < 4
                else f"{len(scenes)} of {len(comparison.scenes)} scenes",
                ", ".join(dict.fromkeys(map(_target, sorted(gaps, key=lambda m: m.target_ratio or 0)))),
                f"{len(gaps)}",
                reason,
            ]
        )
    return _grid(["codec", "scenes", "asked for", "runs", "why"], rows, text=5)


def _scenes(comparison: Comparison, views: Sequence[View]) -> str:
    seen_by = {view.scenes[0]: view.seen_by for view in views if len(view.scenes) == 1}
    rows = []
    for scene in comparison.scenes:
        trained = words(seen_by[scene.name])
        rows.append(
            [
                html.escape(scene.name),
                html.escape(scene.sensor or "–"),
                "\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}".join(map(str, scene.shape)),
                f"{scene.bit_depth}",
                f"{scene.peak:g}",
                html.escape(scene.prepared or "as it is"),
                f"{SEEN_MARK} {html.escape(trained)}" if trained else "–",
            ]
        )
    headings = ["scene", "sensor", "size", "bits", "MAX", "prepared", "trained on it"]
    return _grid(headings, rows, text=7)


def _terms() -> str:
    items = (f"<dt>{html.escape(term)}</dt><dd>{html.escape(text)}</dd>" for term, text in _TERMS.items())
    return f'<dl class="terms">{"".join(items)}</dl>'


def _published() -> str:
    rows = [
        [
            html.escape(curve.codec),
            ", ".join(f"{ratio:g}" for ratio in curve.ratios),
            ", ".join(f"{psnr_db:.2f}" for psnr_db in curve.psnr_db),
            html.escape(curve.source),
        ]
        for curve in CURVES
    ]
    span = f"most scenes {HYVIC.low:g} to {HYVIC.high:,.0f}"
    rows.append([html.escape(HYVIC.codec), span, f"{HYVIC.psnr_db} ± {HYVIC.deviation_db}", html.escape(HYVIC.source)])
    return (
        f'<p class="lead">Printed by others for {html.escape(DATA_SET)}; not measured here, on other scenes, and in '
        "none of the tables, means and sentences above. The grey button shows them beside the curves.</p>"
        + _grid(["codec", "CR", "PSNR in dB", "source"], rows, text=4)
    )


def _all(comparison: Comparison) -> str:
    rows = []
    for m in comparison.measurements:
        if m.fidelity is None or m.compression_ratio is None or m.rate_bpppc is None or m.octets is None:
            continue
        f, cost = m.fidelity, m.cost
        rows.append(
            [
                html.escape(m.scene),
                html.escape(f"{m.codec} {SEEN_MARK}" if m.seen else m.codec),
                _target(m),
                f"{m.octets:,}",
                f"{m.compression_ratio:,.2f}",
                f"{m.rate_bpppc:.4f}",
                _psnr(f.psnr_db),
                f"{f.ssim:.4f}",
                f"{f.spectral_angle_deg:.3f}",
                f"{f.max_abs_error:,}",
                *(("–", "–") if cost is None else (f"{cost.encode_s:.3f}", f"{cost.decode_s:.3f}")),
            ]
        )
    headings = ["scene", "codec", "asked for", "octets", "CR", "bpppc", "PSNR", "SSIM", "angle °", "max DN"]
    headings += ["enc s", "dec s"]
    return (
        f"<details><summary>Show all {len(rows):,} points</summary>{_grid(headings, rows, text=2)}</details>"
        '<p class="quiet">The same with PSNR of every band and tile: comparison.json; as a table: comparison.csv.</p>'
    )


def _target(m: Measurement) -> str:
    return "lossless" if m.target_ratio is None else ratio_text(m.target_ratio)


def _psnr(psnr_db: float) -> str:
    return "exact" if math.isinf(psnr_db) else f"{psnr_db:.2f}"


def _named(label: str, style: CodecStyle) -> str:
    return f"{swatch(style)}{html.escape(label)}"


def _when(condition: str, body: str) -> str:
    return f'<div data-when="{condition}">{body}</div>'


def _views(views: Sequence[View]) -> str:
    return _select("view", "Show", {str(number): view.label for number, view in enumerate(views)})


def _ratios(key: str, ratios: Sequence[float]) -> str:
    middle = ratios[len(ratios) // 2]
    return _select(key, "Compressed", {f"{r:g}": f"{ratio_text(r)} times" for r in ratios}, f"{middle:g}")


def _select(key: str, label: str, options: Mapping[str, str], start: str | None = None) -> str:
    items = "".join(
        f'<option value="{html.escape(value)}"{" selected" * (value == start)}>{html.escape(text)}</option>'
        for value, text in options.items()
    )
    return f'<label>{html.escape(label)} <select data-key="{key}" autocomplete="off">{items}</select></label>'


def _grid(headings: Sequence[str], rows: Sequence[Sequence[str]], *, text: int) -> str:
    """Return a table of HTML cells.

    Args:
        headings: names of the columns.
        rows: escaped cells.
        text: number of leading columns that hold words; figures are aligned to the right.
    """

    def cell(tag: str, column: int, body: str) -> str:
        return f'<{tag} class="text">{body}</{tag}>' if column < text else f"<{tag}>{body}</{tag}>"

    head = "".join(cell("th", n, html.escape(heading)) for n, heading in enumerate(headings))
    body = "".join("<tr>" + "".join(cell("td", n, c) for n, c in enumerate(row)) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
