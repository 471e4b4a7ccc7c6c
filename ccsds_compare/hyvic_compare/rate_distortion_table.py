"""A bundle beside the classical codecs, scene by scene, all at the compression ratios that the bundle gave.

python -m hyvic_compare.rate_distortion_table SCENE... --bundle BUNDLE --out table.md
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from hyvic_runtime.codec.bundle import Bundle
from hyvic_runtime.codec.row_encoder import AnyEncoder
from hyvic_runtime.codec.scene_decoder import AnyDecoder
from hyvic_runtime.codec.scene_encoder import scene_stream
from hyvic_runtime.command_line import Result, command_parser, run_command
from hyvic_runtime.errors import DecodeError, HyvicError, SceneError
from hyvic_runtime.families.registry import decoder_of, encoder_of, read_bundle
from hyvic_runtime.scene.files import read_scene
from hyvic_runtime.scene.scene import Scene, resample_bands
from hyvic_runtime.support.atomic_file import replacing
from hyvic_runtime.support.metrics import compression_ratio, psnr

from hyvic_compare.codecs.codec import Codec, Cube
from hyvic_compare.codecs.jpeg2000 import Jpeg2000
from hyvic_compare.codecs.pca import Pca
from hyvic_compare.codecs.pca_jpeg2000 import PcaJpeg2000

DEFAULT_QUALITIES = (0.0, 25.0, 50.0, 75.0, 100.0)
BASELINES: tuple[Codec, ...] = (Jpeg2000(), Pca(), PcaJpeg2000())


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One codec at one ratio.

    Attributes:
        codec: its name.
        octets: of its stream, or None where it has none.
        psnr_db: over the bundle's peak, or None.
        gap: why there is none.
    """

    codec: str
    octets: int | None
    psnr_db: float | None
    gap: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One scene at one ratio.

    Attributes:
        scene: name of its file.
        quality: that the bundle coded it at, or None where it has one rate.
        shape: lines, samples, bands as coded.
        compression_ratio: that the bundle gave, packet headers included; the others' target.
        entries: the bundle first.
    """

    scene: str
    quality: float | None
    shape: tuple[int, int, int]
    compression_ratio: float
    entries: tuple[Entry, ...]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write the table; 0 done, 1 failed with one line, 2 wrong usage."""
    parser = command_parser(
        "rate_distortion_table",
        "Code scenes with a bundle, and with classical codecs at the compression ratio that it gave.",
        "python -m hyvic_compare.rate_distortion_table scene.npz --bundle hyvic.bundle --out table.md",
    )
    add_scene_options(parser)
    parser.add_argument("--bundle", type=Path, required=True, help="what export-engine wrote")
    return run_command(parser, argv, _run, extra="compare")


def add_scene_options(parser: argparse.ArgumentParser) -> None:
    """What to code, at which qualities, and where the table goes."""
    add_scenes(parser)
    parser.add_argument(
        "--qualities",
        type=float,
        nargs="+",
        metavar="Q",
        help="as of encode-scene; by default 0 25 50 75 100, of one rate that one",
    )


def add_scenes(parser: argparse.ArgumentParser) -> None:
    """What to code, and where the table goes."""
    parser.add_argument("scenes", type=Path, nargs="+", metavar="SCENE", help=".npz .npy .hdr .tif .h5 .he5 or .mat")
    parser.add_argument("--resample", action="store_true", help="interpolate scenes to the bundle's band centres first")
    parser.add_argument(
        "--spread-bands",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="take the bands of scenes without wavelengths as spread evenly over this range, in nm",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.md", help="table to write")


def _run(arguments: argparse.Namespace) -> Result:
    from tqdm import tqdm

    bundle = read_bundle(arguments.bundle)
    encoder, decoder = encoder_of(bundle), decoder_of(bundle)
    # All scenes are read before any is coded: a mistake in the last one should not cost the work on the others.
    scenes = [scene_on_bands(path, encoder, arguments) for path in arguments.scenes]
    qualities = arguments.qualities or (DEFAULT_QUALITIES if bundle.manifest.rates > 1 else (None,))
    tasks = [(path.stem, scene, q) for path, scene in zip(arguments.scenes, scenes, strict=True) for q in qualities]
    rows = [
        measure(name, scene, encoder, decoder, quality)
        for name, scene, quality in tqdm(tasks, unit="point", disable=None)
    ]
    text = markdown_table(rows, bundle)
    with replacing(arguments.out) as (partial,):
        partial.write_text(text, encoding="utf-8")
    return {"bundle": bundle.identity.hex(), "out": str(arguments.out), "rows": [asdict(row) for row in rows]}, text


def scene_on_bands(path: Path, encoder: AnyEncoder, arguments: argparse.Namespace) -> Scene:
    """Read a scene as the options say, on the bundle's bands.

    Raises:
        SceneError: it is not what the bundle codes.
    """
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


def measure(name: str, scene: Scene, encoder: AnyEncoder, decoder: AnyDecoder, quality: float | None) -> Row:
    """Code one scene with everything.

    Args:
        name: of the scene.
        scene: on the bundle's bands.
        encoder: of the bundle.
        decoder: of the bundle.
        quality: of the bundle's stream; None where it has one rate.
    """
    peak = encoder.bundle.manifest.peak
    stream = scene_stream(encoder, scene, quality=quality)
    ratio = compression_ratio(scene.cube.size, scene.bit_depth, len(stream))
    ours = _entry("bundle", scene, stream, decoder.decode(stream).scene.cube, peak)
    lines, samples, bands = scene.cube.shape
    return Row(
        scene=name,
        quality=quality,
        shape=(lines, samples, bands),
        compression_ratio=ratio,
        entries=(ours, *_baselines(scene, ratio, peak)),
    )


def _baselines(scene: Scene, ratio: float, peak: float) -> Iterator[Entry]:
    for codec in BASELINES:
        try:
            stream = codec.encode(scene, ratio)
            yield _entry(codec.name, scene, stream, codec.decode(stream), peak)
        except HyvicError as error:  # a codec that fails on one scene is a gap in the table
            yield Entry(codec=codec.name, octets=None, psnr_db=None, gap=str(error))


def _entry(name: str, scene: Scene, stream: bytes, decoded: Cube, peak: float) -> Entry:
    if decoded.shape != scene.cube.shape or decoded.dtype != scene.cube.dtype:
        raise DecodeError(
            f"{name} gave {decoded.shape} {decoded.dtype} for a scene of {scene.cube.shape} {scene.cube.dtype}"
        )
    return Entry(codec=name, octets=len(stream), psnr_db=psnr(scene.cube, decoded, peak), gap=None)


def markdown_table(rows: Sequence[Row], bundle: Bundle) -> str:
    """PSNR by scene and codec, the best of each row in bold, and the reasons for gaps."""
    names = [entry.codec for entry in rows[0].entries]
    lines = [
        f"PSNR in dB over {bundle.manifest.peak:g} at equal compression ratio: the bundle's, from the octets of its "
        "packets, headers included. The others' streams are no longer and hold all of their side information.",
        "",
        f"| scene | shape | quality | CR | {' | '.join(names)} |",
        f"|:--|:--|--:|--:|{'--:|' * len(names)}",
    ]
    for row in rows:
        best = max(entry.psnr_db for entry in row.entries if entry.psnr_db is not None)
        cells = (
            "–" if e.psnr_db is None else f"**{e.psnr_db:.2f}**" if e.psnr_db == best else f"{e.psnr_db:.2f}"
            for e in row.entries
        )
        shape = " × ".join(map(str, row.shape))
        quality = "–" if row.quality is None else f"{row.quality:g}"
        lines.append(f"| {row.scene} | {shape} | {quality} | {row.compression_ratio:.1f} | {' | '.join(cells)} |")
    gaps = [f"- {row.scene}: {entry.gap}" for row in rows for entry in row.entries if entry.gap is not None]
    lines += ["", *gaps] if gaps else []
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
