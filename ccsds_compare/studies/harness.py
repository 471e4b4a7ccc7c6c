"""Parts that all studies share: options, scenes on a bundle's bands, coded points, tables and atomic outputs."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from hyvic_compare.markdown import markdown_table
from hyvic_runtime.codec.row_encoder import AnyEncoder
from hyvic_runtime.codec.scene_decoder import AnyDecoder
from hyvic_runtime.codec.scene_encoder import scene_stream
from hyvic_runtime.command_line import Result, command_parser, run_command
from hyvic_runtime.errors import SceneError
from hyvic_runtime.scene.files import read_scene
from hyvic_runtime.scene.scene import Scene, resample_bands
from hyvic_runtime.support.atomic_file import replacing
from hyvic_runtime.support.metrics import compression_ratio, psnr

T = TypeVar("T")

DEFAULT_QUALITIES = (0.0, 25.0, 50.0, 75.0, 100.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Outcome of a study.

    Attributes:
        document: what `--json` prints.
        text: Markdown for people, and for the file of `--out`.
        beside: suffixes of files beside the table, to functions that write such a file.
    """

    document: dict[str, Any]
    text: str
    beside: Mapping[str, Callable[[Path], None]] = field(default_factory=dict)


def study_parser(name: str, description: str, example: str, *, out: bool = True) -> argparse.ArgumentParser:
    """Make a parser for `python -m studies.NAME`.

    Args:
        name: module of the study.
        description: text of the help.
        example: words after the module's name.
        out: whether the study writes a table to a file instead of printing it.
    """
    parser = command_parser(f"python -m studies.{name}", description, f"python -m studies.{name} {example}")
    if out:
        parser.add_argument("--out", type=Path, required=True, metavar="FILE.md", help="table to write")
    return parser


def add_scenes(parser: argparse.ArgumentParser) -> None:
    """Add the options of `scenes_on_bands`."""
    parser.add_argument("scenes", type=Path, nargs="+", metavar="SCENE", help=".npz .npy .hdr .tif .h5 .he5 or .mat")
    parser.add_argument("--resample", action="store_true", help="interpolate scenes to the bundle's band centres first")
    parser.add_argument(
        "--spread-bands",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="assume that the bands of scenes without wavelengths are spread evenly over this range, in nm",
    )


def add_qualities(parser: argparse.ArgumentParser) -> None:
    """Add the option of several qualities."""
    parser.add_argument(
        "--qualities",
        type=float,
        nargs="+",
        metavar="Q",
        help="qualities, as in encode-scene (default: 0 25 50 75 100; a bundle of one rate has one)",
    )


def run_study(
    parser: argparse.ArgumentParser,
    argv: Sequence[str] | None,
    study: Callable[[argparse.Namespace], Findings],
    *,
    extra: str = "compare",
) -> int:
    """Run a study and write its outputs, all or none; 0 done, 1 failed with one line, 2 wrong usage."""

    def command(arguments: argparse.Namespace) -> Result:
        findings = study(arguments)
        if "out" not in arguments:
            return findings.document, findings.text.rstrip("\n")
        out: Path = arguments.out
        with replacing(out, *map(out.with_suffix, findings.beside)) as (table, *others):
            table.write_text(findings.text, encoding="utf-8")
            for path, write in zip(others, findings.beside.values(), strict=True):
                write(path)
        return {"out": str(out), **findings.document}, findings.text

    return run_command(parser, argv, command, extra=extra)


def progress(items: Sequence[T], unit: str) -> Iterable[T]:
    """Return the items, with a progress bar if stderr is a terminal."""
    from tqdm import tqdm

    bar: Iterable[T] = tqdm(items, unit=unit, disable=None)
    return bar


def scenes_on_bands(arguments: argparse.Namespace, encoder: AnyEncoder) -> list[tuple[str, Scene]]:
    """Read all scenes, with their names, before any is coded: a mistake in the last costs no work on the others.

    Raises:
        SceneError: a scene does not fit the bundle.
    """
    return [(path.stem, _scene_on_bands(path, encoder, arguments)) for path in arguments.scenes]


def _scene_on_bands(path: Path, encoder: AnyEncoder, arguments: argparse.Namespace) -> Scene:
    scene = read_scene(path)
    wavelengths = encoder.bundle.manifest.wavelengths
    if scene.wavelengths is None and arguments.spread_bands:
        low, high = arguments.spread_bands
        scene = replace(scene, wavelengths=np.linspace(low, high, scene.cube.shape[2]))
    try:
        if arguments.resample and wavelengths is not None:
            scene = resample_bands(scene, np.array(wavelengths))
        encoder.grid(scene)
    except SceneError as error:
        raise SceneError(f"{path}: {error}") from error
    return scene


@dataclass(frozen=True, slots=True, kw_only=True)
class CodedPoint:
    """A scene at one quality.

    Attributes:
        quality: quality of the stream.
        octets: octets of the packets, headers included.
        compression_ratio: ratio of these octets.
        psnr_db: PSNR of the decoded scene.
    """

    quality: float
    octets: int
    compression_ratio: float
    psnr_db: float


def coded_point(scene: Scene, encoder: AnyEncoder, decoder: AnyDecoder, quality: float, *, peak: float) -> CodedPoint:
    """Code a scene into real packets and decode them; samples without data do not count for PSNR."""
    stream = scene_stream(encoder, scene, quality=quality)
    original, decoded = scene.cube, decoder.decode(stream).scene.cube
    if scene.no_data is not None:
        valid = original != scene.no_data
        original, decoded = original[valid][None], decoded[valid][None]
    return CodedPoint(
        quality=quality,
        octets=len(stream),
        compression_ratio=compression_ratio(scene.cube.size, scene.bit_depth, len(stream)),
        psnr_db=psnr(original, decoded, peak),
    )


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, words: int = 1) -> str:
    """Return a Markdown table with a line end; the first columns hold words, the others figures."""
    return markdown_table(headings, rows, left=range(words)) + "\n"


def shape_text(shape: Sequence[int]) -> str:
    """Return a shape for people.

    >>> shape_text((145, 145, 202))
    '145 × 145 × 202'
    """
    return " × ".join(map(str, shape))


def or_dash(value: float | None, form: str) -> str:
    """Return a formatted number, or a dash if there is no number.

    >>> or_dash(1.5, "+.2f"), or_dash(None, "+.2f")
    ('+1.50', '–')
    """
    return "–" if value is None else format(value, form)
