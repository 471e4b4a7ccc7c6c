"""Colours and symbols of codecs, the same in every chart and picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

INK, QUIET, PAPER = "#22313f", "#7f8c8d", "#f2f4f6"

# Okabe and Ito's palette without its yellow, which is invisible on white, then Paul Tol's muted one. No palette of
# sixteen is safe for every eye, so each codec has a symbol too.
_COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"),
    *("#332288", "#882255", "#999933", "#117733", "#AA4499", "#6B6B6B", "#8B5A2B", "#44AA99", "#CC6677", "#1F2D8A"),
)
_SYMBOLS = (
    ("circle", "o", "●"),
    ("square", "s", "■"),
    ("diamond", "D", "◆"),
    ("triangle-up", "^", "▲"),
    ("triangle-down", "v", "▼"),
    ("cross", "P", "✚"),
    ("x", "X", "✖"),
    ("star", "*", "★"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecStyle:
    """Colour and symbol of a codec; colours repeat after sixteen codecs, with other symbols.

    Attributes:
        colour: colour for HTML.
        symbol: symbol for Plotly.
        marker: symbol for Matplotlib.
        glyph: symbol as a character.
    """

    colour: str
    symbol: str
    marker: str
    glyph: str


def codec_styles(codecs: Sequence[str]) -> dict[str, CodecStyle]:
    """Return styles by name; the same order of codecs gives the same styles."""
    return {
        codec: CodecStyle(colour=_COLOURS[n % len(_COLOURS)], symbol=symbol, marker=marker, glyph=glyph)
        for n, codec in enumerate(codecs)
        for symbol, marker, glyph in (_SYMBOLS[(n + n // len(_COLOURS)) % len(_SYMBOLS)],)
    }
