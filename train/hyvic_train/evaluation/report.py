"""Results of an evaluation as files: a row a patch in CSV, means and deviations in JSON, plots of the paper's kinds."""

from __future__ import annotations

import csv
import json
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
from hyvic_runtime.codec.seen_scenes import Seen
from hyvic_runtime.support.atomic_file import replacing
from numpy.typing import NDArray

from hyvic_train.evaluation.codecs import Codec, Point
from hyvic_train.evaluation.measures import Measures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROWS, SUMMARY = "evaluation.csv", "evaluation.json"
BITS_PER_SAMPLE = (16, 32)
"""N_b of eq. 4: 16 bits that a sensor delivers, and the 32 bits of float32 that the paper's group counts elsewhere."""
CURVES = {"psnr_db": "PSNR, dB", "ssim_gaussian": "SSIM (Gaussian window)", "spectral_angle_deg": "spectral angle, °"}
"""Measures of Fig. 5 (a), (b) and (c)."""
NAMED_CODECS = 20
"""Number of codecs up to which a plot names each codec and point; more would leave no room for the plot."""
_KEY = ("codec", "kind", "sha256", "lmbda", "quality", "patch", "patch_sha256", "pixels")
_MEASURES = tuple(field.name for field in fields(Measures))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Result of one codec at one point on one patch.

    Attributes:
        codec: name of the codec.
        kind: `estimate` or `stream`.
        sha256: identity of the codec.
        point: operating point.
        patch: name of the patch.
        patch_sha256: content hash of the patch.
        pixels: number of its pixels that were measured: the largest rectangle without no-data, or the middle.
        measures: rate and distortion.
    """

    codec: str
    kind: str
    sha256: str
    point: Point
    patch: str
    patch_sha256: str
    pixels: int
    measures: Measures


class Rows:
    """The CSV file: every row is on disk before the next is measured, and a later evaluation goes on after the last.

    Attributes:
        known: rows of this and of earlier evaluations.
    """

    def __init__(self, known: list[Row], file: TextIO) -> None:
        self.known = known
        self._file = file
        self._writer = csv.writer(file)

    def lacks(self, codec: Codec, patch: str) -> tuple[Point, ...]:
        """Return the points of a codec that were not measured on a patch."""
        present = {row.point for row in self.known if row.sha256 == codec.sha256 and row.patch == patch}
        return tuple(point for point in codec.points if point not in present)

    def add(self, row: Row) -> None:
        """Append a row to the file."""
        self.known.append(row)
        lmbda = "" if row.point.lmbda is None else row.point.lmbda
        patch = (row.patch, row.patch_sha256, row.pixels)
        key = (row.codec, row.kind, row.sha256, lmbda, row.point.quality, *patch)
        self._writer.writerow((*key, *(repr(getattr(row.measures, name)) for name in _MEASURES)))
        self._file.flush()


@contextmanager
def opened_rows(path: Path) -> Iterator[Rows]:
    """Open the rows of a report, those of an earlier evaluation included.

    Raises:
        ValueError: the file holds something else.
    """
    known = []
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file)
            if tuple(next(reader, ())) != (*_KEY, *_MEASURES):
                raise ValueError(f"{path} is not a table of evaluate-model; name another --out")
            known = [_row(cells) for cells in reader if len(cells) == len(_KEY) + len(_MEASURES)]
    # Written anew without a row that a kill cut short.
    with replacing(path) as (partial,), partial.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerow((*_KEY, *_MEASURES))
        rows = Rows([], file)
        for row in known:
            rows.add(row)
    with path.open("a", encoding="utf-8", newline="") as file:
        yield Rows(known, file)


def _row(cells: Sequence[str]) -> Row:
    codec, kind, sha256, lmbda, quality, patch, patch_sha256, pixels = cells[: len(_KEY)]
    return Row(
        codec=codec,
        kind=kind,
        sha256=sha256,
        point=Point(lmbda=float(lmbda) if lmbda else None, quality=float(quality)),
        patch=patch,
        patch_sha256=patch_sha256,
        pixels=int(pixels),
        measures=Measures(**dict(zip(_MEASURES, map(float, cells[len(_KEY) :]), strict=True))),
    )


def summary(rows: Sequence[Row], codec: Codec) -> list[dict[str, Any]]:
    """Return mean and standard deviation over patches of every measure, point by point."""
    return [
        {
            **asdict(point),
            "patches": len(measures),
            "rate_bpppc": _moments([m.rate_bpppc for m in measures]),
            "compression_ratio": {
                str(bits): _moments([m.compression_ratio(bits) for m in measures])
                | {"of_mean_rate": bits / statistics.fmean(m.rate_bpppc for m in measures)}
                for bits in BITS_PER_SAMPLE
            },
            **{name: _moments([getattr(m, name) for m in measures]) for name in _MEASURES if name != "rate_bpppc"},
        }
        for point in codec.points
        if (measures := measures_at(rows, codec, point))
    ]


def patches_by_answer(rows: Sequence[Row], codec: Codec) -> dict[Seen, list[str]]:
    """Return the names of the patches of a codec by the part that each had in its training, looked up by its pixels."""
    patches = {row.patch: row.patch_sha256 for row in rows if row.sha256 == codec.sha256}
    answers = {patch: codec.seen_scenes.answer(sha256) for patch, sha256 in patches.items()}
    return {answer: [patch for patch, given in answers.items() if given is answer] for answer in Seen}


def measures_at(rows: Sequence[Row], codec: Codec, point: Point) -> list[Measures]:
    """Return what a codec reached at a point, patch by patch."""
    return [row.measures for row in rows if row.sha256 == codec.sha256 and row.point == point]


def _moments(values: Sequence[float]) -> dict[str, float | int | None]:
    """Return moments of the finite values, and how many are infinite: a patch that is exact has no PSNR."""
    finite = [value for value in values if math.isfinite(value)]
    return {
        "mean": statistics.fmean(finite) if finite else None,
        "deviation": statistics.pstdev(finite) if finite else None,
        "least": min(finite, default=None),
        "largest": max(finite, default=None),
        "exact": len(values) - len(finite),
    }


def write_summary(out: Path, head: Mapping[str, Any], codecs: Sequence[Codec], rows: Sequence[Row]) -> dict[str, Any]:
    """Write the JSON document, and return it."""
    document = {
        **head,
        "bits_per_sample": list(BITS_PER_SAMPLE),
        "codecs": [
            {
                "codec": codec.name,
                "kind": codec.kind,
                "sha256": codec.sha256,
                "training": patches_by_answer(rows, codec),
                "points": summary(rows, codec),
            }
            for codec in codecs
        ],
    }
    with replacing(out / SUMMARY) as (partial,):
        partial.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return document


def curve_figure(document: Mapping[str, Any], measure: str, bits_per_sample: int) -> Figure:
    """Plot the mean of a measure over the compression ratio of the mean rate, with λ beside each point (Fig. 5, 7)."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    figure = Figure(figsize=(6.4, 4.4), dpi=110, layout="constrained")
    axes = figure.subplots()
    named = len(document["codecs"]) <= NAMED_CODECS
    for codec in document["codecs"]:
        points = sorted(codec["points"], key=lambda point: float(point["rate_bpppc"]["mean"]))
        ratios = [point["compression_ratio"][str(bits_per_sample)]["of_mean_rate"] for point in points]
        values = [point[measure]["mean"] for point in points]
        axes.plot(ratios, values, "o-", label=f"{codec['codec']} ({codec['kind']})")
        for point, ratio, value in zip(points, ratios, values, strict=True) if named else ():
            label = Point(lmbda=point["lmbda"], quality=point["quality"]).label
            axes.annotate(label, (ratio, value), xytext=(4, 4), textcoords="offset points", fontsize=7)
    axes.set(xscale="log", xlabel=f"compression ratio, N_b = {bits_per_sample}", ylabel=CURVES[measure])
    axes.margins(x=0.12)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.xaxis.set_minor_formatter("")
    axes.grid(alpha=0.3)
    if named:
        axes.legend()
    else:
        axes.set_title(
            f"{len(document['codecs'])} codecs; select-model joins the runs of a model to a curve", fontsize=8
        )
    return figure


def distribution_figure(
    rows: Sequence[Row], codec: Codec, point: Point, picture_of: Callable[[str], NDArray[np.float32]]
) -> Figure:
    """Plot how compression ratio and PSNR are distributed over the patches at one point, and the extremes (Fig. 10).

    Args:
        rows: all results.
        codec: codec to show.
        point: its operating point.
        picture_of: gives the true colour of a patch by name, (line, sample, 3) in 0 … 1.
    """
    from matplotlib.figure import Figure

    own = sorted(
        (row for row in rows if row.sha256 == codec.sha256 and row.point == point), key=lambda row: row.measures.psnr_db
    )
    ratios = [row.measures.compression_ratio(BITS_PER_SAMPLE[0]) for row in own]
    decibels = [row.measures.psnr_db for row in own]
    figure = Figure(figsize=(9, 6), dpi=110, layout="constrained")
    figure.suptitle(f"{codec.name}, {point.label}: {len(own)} patches")
    upper, lower = figure.subplots(2, 2)
    for axes, values, title in zip(
        upper, (ratios, decibels), (f"compression ratio, N_b = {BITS_PER_SAMPLE[0]}", "PSNR, dB"), strict=True
    ):
        moments = _moments(values)
        axes.hist([value for value in values if math.isfinite(value)], bins=min(30, max(3, len(own) // 2)), color="C0")
        if moments["mean"] is not None:
            axes.axvline(moments["mean"], color="C1", label=f"mean {moments['mean']:.2f} ± {moments['deviation']:.2f}")
            axes.legend()
        axes.set(xlabel=title, ylabel="patches")
        axes.ticklabel_format(axis="x", useOffset=False)
        axes.yaxis.get_major_locator().set_params(integer=True)
    for axes, row, word in zip(lower, (own[0], own[-1]), ("lowest", "highest"), strict=True):
        axes.imshow(picture_of(row.patch))
        ratio = row.measures.compression_ratio(BITS_PER_SAMPLE[0])
        name = "\n".join(wrap(row.patch, 50))
        axes.set_title(f"{word} PSNR: CR {ratio:.1f}, {row.measures.psnr_db:.2f} dB\n{name}", fontsize=7)
        axes.axis("off")
    return figure
