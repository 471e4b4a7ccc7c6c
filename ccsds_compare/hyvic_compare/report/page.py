"""Page of a comparison: everything in one file that needs no network.

page.html holds the sections, page.css the style, and page.js shows what the reader selects.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from importlib.resources import files
from typing import Any

from hyvic_runtime.support.report_page import preformatted, report_page, table

from hyvic_compare.report import charts, pictures, published_figures
from hyvic_compare.report.codec_style import INK, QUIET, codec_styles
from hyvic_compare.report.summary import count_text, findings, ratio_text, words
from hyvic_compare.report.views import SEEN_MARK, UNKNOWN_MARK, View, default_reference, deltas_of, mark_of
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

_SECTIONS = {
    "In short": "in_short",
    "Size against quality": "size_against_quality",
    "What it looks like": "what_it_looks_like",
    "How it spreads over tiles and scenes": "how_it_spreads",
    "What it costs": "what_it_costs",
    "No result": "no_result",
    "Scenes": "scenes",
    "What the words mean": "what_the_words_mean",
    "Published figures": "published_figures",
    "All measurements": "all_measurements",
}
"""Headings, with the macros of page.html below them."""


def comparison_page(comparison: Comparison, views: Sequence[View]) -> str:
    """Return HTML that opens from a disk."""
    from jinja2 import Environment, StrictUndefined
    from plotly.offline import get_plotlyjs

    styles = codec_styles(comparison.codecs)
    shown = {
        "rate-distortion": charts.rate_chart(views, styles),
        **({"spectra": charts.spectra_chart(comparison, styles)} if pictures.shown_ratios(comparison) else {}),
        **charts.spread_charts(comparison, views, styles),
        **charts.cost_charts(comparison, styles),
    }
    made = sum(m.gap is None for m in comparison.measurements)
    resources = files("hyvic_compare.report")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    template = environment.from_string(resources.joinpath("page.html").read_text("utf-8"))
    page = template.make_module({**_values(comparison, views), "styles": styles, "charts": shown})
    data = {"base": _BASE, "charts": {name: asdict(chart) for name, chart in shown.items()}}
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
            **{heading: getattr(page, macro)() for heading, macro in _SECTIONS.items()},
            "How to make this page": preformatted([comparison.command]) + table(comparison.environment),
        },
        style=resources.joinpath("page.css").read_text("utf-8"),
        scripts=f"<script>{get_plotlyjs()}</script>\n"
        f'<script type="application/json" id="comparison">{text}</script>\n'
        f"<script>{resources.joinpath('page.js').read_text('utf-8')}</script>\n",
    )


def _values(comparison: Comparison, views: Sequence[View]) -> dict[str, Any]:
    """Return what page.html reads, beside styles and charts."""
    singles = {view.scenes[0]: view for view in views if len(view.scenes) == 1}
    return {
        "comparison": comparison,
        "views": views,
        "findings": findings(comparison, views),
        "gaps": _alike_gaps(comparison),
        "measured": pictures.measured(comparison),
        "processors": words(sorted({m.cost.processor for m in comparison.measurements if m.cost is not None})),
        "trained": {name: _trained(view) for name, view in singles.items()},
        "shown_ratios": pictures.shown_ratios(comparison),
        "ratio_headings": [f"CR {ratio_text(ratio)}" for ratio in comparison.ratios],
        # The selectors: texts by values, and the reference that is selected first.
        "view_labels": _numbered(view.label for view in views),
        "scene_labels": _numbered(singles[scene.name].label for scene in comparison.scenes),
        "pixel_labels": _numbered(f"pixel {n + 1}" for n in range(max(len(s.pixels) for s in comparison.scenes))),
        "codec_labels": _numbered(comparison.codecs),
        "measure_labels": {key: label.split(" (")[0] for key, label in charts.MEASURES.items()},
        "reference": str(comparison.codecs.index(default_reference(comparison, views[0]))),
        "best_psnr_db": _best_psnr_db,
        "deltas_of": deltas_of,
        "isinf": math.isinf,
        "pictures": pictures,
        "published": published_figures,
        "ratio_text": ratio_text,
        "target_text": _target,
        "targets_text": _targets,
        "PUBLISHED": charts.PUBLISHED,
        "QUIET": QUIET,
        "SEEN_MARK": SEEN_MARK,
        "UNKNOWN_MARK": UNKNOWN_MARK,
        "mark_of": mark_of,
        "TILE": TILE,
    }


def _trained(view: View) -> str:
    """Name the codecs that were trained on a scene, or may have been."""
    marked = ((SEEN_MARK, view.seen_by), (UNKNOWN_MARK, view.unknown_by))
    return "; ".join(f"{mark} {words(codecs)}" for mark, codecs in marked if codecs)


def _numbered(texts: Iterable[str]) -> dict[str, str]:
    return {str(number): text for number, text in enumerate(texts)}


def _alike_gaps(comparison: Comparison) -> list[list[Measurement]]:
    """Return gaps by codec and reason, whatever numbers the reason holds; the CSV file has every gap."""
    alike: dict[tuple[str, str], list[Measurement]] = {}
    for m in comparison.measurements:
        if m.gap is not None:
            alike.setdefault((m.codec, re.sub(r"[\d.,−-]+", "#", m.gap)), []).append(m)
    return list(alike.values())


def _target(m: Measurement) -> str:
    return "lossless" if m.target_ratio is None else ratio_text(m.target_ratio)


def _targets(gaps: Sequence[Measurement]) -> str:
    return ", ".join(dict.fromkeys(map(_target, sorted(gaps, key=lambda m: m.target_ratio or 0))))


def _best_psnr_db(view: View) -> dict[float | None, float]:
    """Return the highest PSNR of the view at each target."""
    best: dict[float | None, float] = {}
    for point in (point for series in view.series for point in series.points):
        best[point.target_ratio] = max(point.psnr_db, best.get(point.target_ratio, -math.inf))
    return best
