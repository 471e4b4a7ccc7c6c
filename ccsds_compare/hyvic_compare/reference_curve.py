"""Curves of other people's codecs as a reference: a CSV file of published points.

    codec,compression_ratio,bits_per_sample,psnr_db
    HyCoT,4,32,56.29
    HyCoT,8,32,55.38

`bits_per_sample` is N_b of eq. 4: the bits that a sample of the original counts in the ratio. Papers differ in it, so
each ratio is converted to the N_b of the runs. The column may be left out, or its cells empty, if the caller names N_b.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import FiniteFloat, PositiveInt, TypeAdapter, ValidationError

from hyvic_compare.bd_psnr import Curve
from hyvic_compare.errors import RunError, invalid_entries
from hyvic_compare.rate_point import PositiveFinite
from hyvic_compare.sample_bits import ratio_at_bits

COLUMNS = ("codec", "compression_ratio", "psnr_db")
BITS_COLUMN = "bits_per_sample"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedReference:
    """Contents of a CSV file.

    Attributes:
        codec: name of the codec.
        curve: points by ratio, which counts the N_b of the runs.
        note: sentence that says what the ratios of the file were and are.
    """

    codec: str
    curve: Curve
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    codec: str
    compression_ratio: PositiveFinite
    psnr_db: FiniteFloat
    bits_per_sample: PositiveInt


def read_reference(path: Path, *, wanted_bits: int, counted_bits: int | None) -> PublishedReference:
    """Read the curve of one codec.

    Args:
        path: CSV file with a heading.
        wanted_bits: N_b of the runs.
        counted_bits: N_b of rows that state none; None: every row must state it.

    Raises:
        RunError: the file cannot be read or is not the curve of one codec, with every reason.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            headings = tuple(reader.fieldnames or ())
            lines = [(reader.line_num, cells) for cells in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RunError([f"{path} is not readable as CSV ({error})"]) from error
    _check_headings(path, headings, counted_bits)
    problems: list[str] = []
    rows = [row for number, cells in lines if (row := _row(f"{path}, line {number}", cells, counted_bits, problems))]
    codecs = sorted({row.codec for row in rows})
    if len(codecs) > 1:
        problems.append(f"{path} holds {len(codecs)} codecs ({', '.join(codecs)}); keep the rows of one")
    ratios = [row.compression_ratio / row.bits_per_sample for row in rows]
    if len(set(ratios)) < len(ratios):
        problems.append(f"{path} has two points at one compression ratio")
    if not problems and len(rows) < 2:
        problems.append(f"{path} has {len(rows)} of the two points that Akima's interpolation needs at least")
    if problems:
        raise RunError(problems)
    points = sorted(
        (ratio_at_bits(row.compression_ratio, counted=row.bits_per_sample, wanted=wanted_bits), row.psnr_db)
        for row in rows
    )
    curve = Curve(ratios=tuple(ratio for ratio, _ in points), psnr_db=tuple(psnr for _, psnr in points))
    return PublishedReference(codec=codecs[0], curve=curve, note=_note(path, rows, curve, wanted_bits, headings))


def _check_headings(path: Path, headings: tuple[str, ...], counted_bits: int | None) -> None:
    if missing := [column for column in COLUMNS if column not in headings]:
        raise RunError([f"{path} lacks the column {' and '.join(missing)}; its columns are {', '.join(headings)}"])
    if BITS_COLUMN not in headings and counted_bits is None:
        raise RunError(
            [f"{path} lacks the column {BITS_COLUMN}; add it, or name the bits of a sample (--reference-bits)"]
        )


def _row(place: str, cells: Mapping[str | None, str], counted_bits: int | None, problems: list[str]) -> _Row | None:
    if None in cells:  # such as 56,29 for 56.29, which would be read as 56
        problems.append(f"{place} has more cells than the heading; write numbers with a point")
        return None
    values: dict[str, object] = {name: cells[name] for name in (*COLUMNS, BITS_COLUMN) if cells.get(name)}
    if counted_bits is not None:
        values.setdefault(BITS_COLUMN, counted_bits)
    try:
        return TypeAdapter(_Row).validate_python(values)
    except ValidationError as error:
        problems += (f"{place}: {problem}" for problem in invalid_entries(error))
    return None


def _note(path: Path, rows: list[_Row], curve: Curve, wanted_bits: int, headings: tuple[str, ...]) -> str:
    counted = " and ".join(str(bits) for bits in sorted({row.bits_per_sample for row in rows}))
    printed = [row.compression_ratio for row in rows]
    note = (
        f"{path} states CR {min(printed):g} to {max(printed):g} of {counted}-bit samples; "
        f"here they are CR {curve.ratios[0]:g} to {curve.ratios[-1]:g} of {wanted_bits}-bit samples"
    )
    unread = [name for name in headings if name not in (*COLUMNS, BITS_COLUMN)]
    return note + (f"; columns not read: {', '.join(unread)}." if unread else ".")
