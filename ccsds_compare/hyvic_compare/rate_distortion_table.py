"""A bundle beside the classical codecs, scene by scene, all at the compression ratio that the bundle gave.

python -m hyvic_compare.rate_distortion_table SCENE... --bundle BUNDLE --out table.md
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from hyvic_runtime.atomic_file import replacing
from hyvic_runtime.bundle import Bundle, read_bundle
from hyvic_runtime.command_line import Result, command_parser, run_command
from hyvic_runtime.decoder import SceneDecoder
from hyvic_runtime.encoder import SceneEncoder
from hyvic_runtime.errors import DecodeError, HyvicError, SceneError
from hyvic_runtime.metrics import compression_ratio, psnr
from hyvic_runtime.scene import Scene, resample_bands
from hyvic_runtime.scene_files import read_scene
from hyvic_runtime.space_packet import Packetiser

from hyvic_compare.codecs.codec import Codec, Cube
from hyvic_compare.codecs.jpeg2000 import Jpeg2000
from hyvic_compare.codecs.pca import Pca
from hyvic_compare.codecs.pca_jpeg2000 import PcaJpeg2000

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
        shape: lines, samples, bands as coded.
        compression_ratio: that the bundle gave, packet headers included; the others' target.
        entries: the bundle first.
    """

    scene: str
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
    parser.add_argument("scenes", type=Path, nargs="+", metavar="SCENE", help=".npz .npy .hdr .tif .h5 .he5 or .mat")
    parser.add_argument("--bundle", type=Path, required=True, help="what export-engine wrote")
    parser.add_argument("--resample", action="store_true", help="interpolate scenes to the bundle's band centres first")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.md", help="table to write")
    return run_command(parser, argv, _run, extra="compare")


def _run(arguments: argparse.Namespace) -> Result:
    from tqdm import tqdm

    bundle = read_bundle(arguments.bundle)
    encoder, decoder = SceneEncoder(bundle), SceneDecoder(bundle)
    # All scenes are read before any is coded: a mistake in the last one should not cost the work on the others.
    scenes = [_scene(path, encoder, resample=arguments.resample) for path in arguments.scenes]
    rows = [
        measure(path.stem, scene, encoder, decoder)
        for path, scene in zip(arguments.scenes, tqdm(scenes, unit="scene", disable=None), strict=True)
    ]
    text = markdown_table(rows, bundle)
    with replacing(arguments.out) as (partial,):
        partial.write_text(text, encoding="utf-8")
    return {"bundle": bundle.identity.hex(), "out": str(arguments.out), "rows": [asdict(row) for row in rows]}, text


def _scene(path: Path, encoder: SceneEncoder, *, resample: bool) -> Scene:
    scene = read_scene(path)
    wavelengths = encoder.bundle.manifest.wavelengths
    try:
        if resample and wavelengths is not None:
            scene = resample_bands(scene, np.array(wavelengths))
        encoder.grid(scene)
    except SceneError as error:
        raise SceneError(f"{path}: {error}") from error
    return scene


def measure(name: str, scene: Scene, encoder: SceneEncoder, decoder: SceneDecoder) -> Row:
    """Code one scene with everything.

    Args:
        name: of the scene.
        scene: on the bundle's bands.
        encoder: of the bundle.
        decoder: of the bundle.
    """
    peak = encoder.bundle.manifest.peak
    stream = b"".join(packet for packets in encoder.tile_packets(scene, Packetiser()) for packet in packets)
    ratio = compression_ratio(scene.cube.size, scene.bit_depth, len(stream))
    ours = _entry("bundle", scene, stream, decoder.decode(stream).scene.cube, peak)
    lines, samples, bands = scene.cube.shape
    return Row(
        scene=name,
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
        f"| scene | shape | CR | {' | '.join(names)} |",
        f"|:--|:--|--:|{'--:|' * len(names)}",
    ]
    for row in rows:
        best = max(entry.psnr_db for entry in row.entries if entry.psnr_db is not None)
        cells = (
            "–" if e.psnr_db is None else f"**{e.psnr_db:.2f}**" if e.psnr_db == best else f"{e.psnr_db:.2f}"
            for e in row.entries
        )
        shape = " × ".join(map(str, row.shape))
        lines.append(f"| {row.scene} | {shape} | {row.compression_ratio:.1f} | {' | '.join(cells)} |")
    gaps = [f"- {row.scene}: {entry.gap}" for row in rows for entry in row.entries if entry.gap is not None]
    lines += ["", *gaps] if gaps else []
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
