"""PSNR of a partly received stream, against the number of parts of the latents that arrived.

python -m studies.progressive_table SCENE... --bundle BUNDLE --out table.md

The packets of late parts are dropped from the stream that `encode-scene --progressive` writes, as a downlink that ends
early drops them. The remaining packets are decoded.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hyvic_compare.figure_files import save_svg
from hyvic_runtime.codec.scene_encoder import scene_packets
from hyvic_runtime.families.latent.bundle import LatentBundle, read_latent_bundle
from hyvic_runtime.families.latent.decoder import LatentDecoder
from hyvic_runtime.families.latent.encoder import LatentRowEncoder
from hyvic_runtime.packets.space_packet import Packetiser, Segment, UnitKind, parse_stream
from hyvic_runtime.scene.scene import Scene
from hyvic_runtime.support.metrics import compression_ratio, psnr

from studies import harness

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One scene with some of its parts.

    Attributes:
        scene: name of its file.
        parts: number of parts that arrived; with 0, all latents are their predicted means.
        of: number of all parts.
        octets: octets of the packets that arrived.
        compression_ratio: ratio of these octets.
        psnr_db: PSNR over the bundle's peak.
    """

    scene: str
    parts: int
    of: int
    octets: int
    compression_ratio: float
    psnr_db: float


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write table and plot; 0 done, 1 failed with one line, 2 wrong usage."""
    parser = harness.study_parser(
        "progressive_table",
        "PSNR of scenes of which only the first parts of the latents arrived; a plot (.svg) stands beside the table.",
        "scene.npz --bundle joint.bundle --out table.md",
    )
    harness.add_scenes(parser)
    parser.add_argument("--bundle", type=Path, required=True, help="bundle that export-engine wrote")
    parser.add_argument("--quality", type=float, metavar="Q", help="quality, as in encode-scene (default: the middle)")
    return harness.run_study(parser, argv, _study)


def _study(arguments: argparse.Namespace) -> harness.Findings:
    from tqdm import tqdm

    bundle = read_latent_bundle(arguments.bundle)
    encoder, decoder = LatentRowEncoder(bundle), LatentDecoder(bundle)
    scenes = harness.scenes_on_bands(arguments, encoder)
    rows = []
    with tqdm(total=len(scenes) * (bundle.manifest.parts + 1), unit="point", disable=None) as bar:
        for name, scene in scenes:
            for row in measure(name, scene, encoder, decoder, arguments.quality):
                rows.append(row)
                bar.update()
    return harness.Findings(
        document={"bundle": bundle.identity.hex(), "rows": [asdict(row) for row in rows]},
        text=markdown(rows, bundle),
        beside={".svg": lambda path: save_svg(figure_of(rows), path)},
    )


def measure(
    name: str, scene: Scene, encoder: LatentRowEncoder, decoder: LatentDecoder, quality: float | None
) -> Iterator[Row]:
    """Measure one scene, from no part to all parts."""
    manifest = encoder.bundle.manifest
    tiles = scene_packets(encoder, scene, Packetiser(), quality=quality, progressive=True)
    packets = [(packet, _parts_needed(packet)) for packets in tiles for packet in packets]
    for parts in range(manifest.parts + 1):
        stream = b"".join(packet for packet, needed in packets if needed <= parts)
        yield Row(
            scene=name,
            parts=parts,
            of=manifest.parts,
            octets=len(stream),
            compression_ratio=compression_ratio(scene.cube.size, scene.bit_depth, len(stream)),
            psnr_db=psnr(scene.cube, decoder.decode(stream, conceal=True).scene.cube, manifest.peak),
        )


def _parts_needed(packet: bytes) -> int:
    """Return the smallest number of parts of a stream that holds the packet."""
    (segment,) = parse_stream(packet)
    assert isinstance(segment, Segment)
    return segment.part + 1 if segment.kind == UnitKind.TILE_REFINEMENT else 0


def markdown(rows: Sequence[Row], bundle: LatentBundle) -> str:
    """Return a table with a row for each scene and number of parts."""
    whole = {row.scene: row.psnr_db for row in rows if row.parts == row.of}
    cells = (
        (
            row.scene,
            f"{row.parts} of {row.of}",
            f"{row.parts / row.of:.2f}",
            f"{row.octets:,}",
            f"{row.compression_ratio:.1f}",
            f"{row.psnr_db:.2f}",
            f"{whole[row.scene] - row.psnr_db:.2f}",
        )
        for row in rows
    )
    return (
        f"PSNR in dB over {bundle.manifest.peak:g} of scenes of which only the first parts of the latents arrived; "
        "without any, all latents are their predicted means. CR and octets are of the packets that arrived, headers "
        "included.\n\n"
    ) + harness.table(("scene", "parts", "fraction", "octets", "CR", "PSNR, dB", "below all parts, dB"), cells)


def figure_of(rows: Sequence[Row]) -> Figure:
    """Draw PSNR against the fraction of parts, and against the compression ratio; one line for each scene."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter, ScalarFormatter

    figure = Figure(figsize=(11, 4.6), layout="constrained")
    by_parts, by_ratio = figure.subplots(1, 2, sharey=True)
    by_ratio.set_xscale("log", base=2)
    names = dict.fromkeys(row.scene for row in sorted(rows, key=lambda row: -row.psnr_db))
    for index, scene in enumerate(names):
        own = [row for row in rows if row.scene == scene]
        levels, colour = [row.psnr_db for row in own], colormaps["tab20"](index % 20)
        by_parts.plot([row.parts / row.of for row in own], levels, "o-", color=colour, markersize=4, label=scene)
        by_ratio.plot([row.compression_ratio for row in own], levels, "o-", color=colour, markersize=4)
    by_parts.set(xlabel="fraction of the parts that arrived", ylabel="PSNR in dB")
    by_ratio.set(xlabel="compression ratio of what arrived")
    by_ratio.xaxis.set_major_formatter(ScalarFormatter())
    by_ratio.xaxis.set_minor_formatter(NullFormatter())
    for axes in (by_parts, by_ratio):
        axes.grid(alpha=0.3)
    figure.legend(loc="outside right center", frameon=False, fontsize="small")
    return figure


if __name__ == "__main__":
    sys.exit(main())
