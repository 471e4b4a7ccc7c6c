"""Makes the HTML page of a report: key figures in boxes, pictures, sections."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: #22313f; max-width: 1100px; margin: 2rem auto; padding: 0 1rem }}
h1 {{ margin-bottom: 0 }} .note {{ color: #5d6d7e; margin-top: .2rem }} img {{ max-width: 100%; margin: .6rem 0 }}
.figures {{ display: flex; flex-wrap: wrap; gap: .8rem; padding: 0; list-style: none }}
.figures li {{ background: #f2f4f6; border-radius: 8px; padding: .6rem 1rem }}
.figures b {{ display: block; font-size: 1.5rem }}
table {{ border-collapse: collapse }} td {{ padding: .15rem 1.2rem .15rem 0 }} td+td {{ text-align: right }}
pre {{ background: #f2f4f6; border-radius: 8px; padding: .8rem 1rem; overflow-x: auto }}
{style}</style>
<h1>{title}</h1><p class="note">{note}</p>
<ul class="figures">{figures}</ul>
{pictures}
{sections}
{scripts}</html>
"""


def report_page(
    *,
    title: str,
    note: str,
    figures: Mapping[str, str],
    pictures: Sequence[str],
    sections: Mapping[str, str],
    style: str = "",
    scripts: str = "",
) -> str:
    """Return the HTML text of a page.

    Args:
        title: title of the page.
        note: sentence under the title.
        figures: value of each key figure, by name.
        pictures: names of picture files in the folder of the page.
        sections: HTML of each section by heading, made with `table` or `preformatted`.
        style: additional CSS.
        scripts: script elements at the end of the page; without them the page holds no scripts.
    """
    return _PAGE.format(
        title=html.escape(title),
        note=html.escape(note),
        figures="".join(f"<li><b>{html.escape(v)}</b>{html.escape(name)}</li>" for name, v in figures.items()),
        pictures="\n".join(f'<img src="{name}" alt="{name.removesuffix(".png")}">' for name in pictures),
        sections="\n".join(f"<h2>{html.escape(heading)}</h2>{body}" for heading, body in sections.items()),
        style=style,
        scripts=scripts,
    )


def table(rows: Mapping[str, str]) -> str:
    """Return an HTML table of names and values."""
    cells = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(value)}</td></tr>" for name, value in rows.items()
    )
    return f"<table>{cells}</table>"


def preformatted(lines: Sequence[str]) -> str:
    """Return lines as preformatted HTML text."""
    return f"<pre>{html.escape(chr(10).join(lines))}</pre>"
