"""Report on a comparison: a folder with a page, pictures for documents, and every figure for machines."""

from __future__ import annotations

import json
from pathlib import Path

from hyvic_runtime.support.atomic_file import replacing_folder

from hyvic_compare.figure_files import save_svg
from hyvic_compare.report.documents import document_from_comparison, write_table
from hyvic_compare.report.page import comparison_page
from hyvic_compare.report.plots import PLOTS, comparison_plots
from hyvic_compare.report.views import views_from
from hyvic_compare.results import Comparison

PAGE, DOCUMENT, TABLE = "index.html", "comparison.json", "comparison.csv"
CONTENTS = (PAGE, DOCUMENT, TABLE, *(f"{name}.{suffix}" for name in PLOTS for suffix in ("png", "svg")))


def write_comparison_report(folder: Path, comparison: Comparison) -> None:
    """Write page, pictures (PNG, SVG), JSON and CSV, all or none; an earlier report there is replaced.

    Raises:
        FileExistsError: the folder holds something else.
    """
    import matplotlib as mpl

    views = views_from(comparison)
    with replacing_folder(folder, contents=CONTENTS) as partial:
        (partial / PAGE).write_text(comparison_page(comparison, views), encoding="utf-8")
        document = json.dumps(document_from_comparison(comparison, views), indent=1, allow_nan=False)
        (partial / DOCUMENT).write_text(document + "\n", encoding="utf-8")
        with (partial / TABLE).open("w", newline="", encoding="utf-8") as file:
            write_table(comparison, file)
        # Names are not formulas, whatever dollar signs are in them.
        with mpl.rc_context({"text.parse_math": False}):
            for name, figure in comparison_plots(comparison, views).items():
                figure.savefig(partial / f"{name}.png", dpi=110)
                figure.set_layout_engine("none")  # laying out again would take as long as drawing
                save_svg(figure, partial / f"{name}.svg")
