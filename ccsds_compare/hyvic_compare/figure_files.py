"""Matplotlib figures to files that are the same whenever the figures are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save_svg(figure: Figure, path: Path) -> None:
    """Save a figure as SVG without a date and without random identifiers."""
    from matplotlib import rc_context

    with rc_context({"svg.hashsalt": "hyvic"}):
        figure.savefig(path, format="svg", metadata={"Date": None})
