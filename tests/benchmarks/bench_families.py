"""One tile through the shipped model families, in turn: from its integer cube to packets, and back.

    python tests/benchmarks/bench_families.py [--runs 9] [--tile 128]

Each at its middle quality, on the same pixels of Indian Pines, with one tile at a time on all cores.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from bench_encoder import WARM_UP, alternating, processor
from hyvic_compare.indian_pines import load_indian_pines
from hyvic_export.exporter import bundle_from_checkpoint
from hyvic_runtime.codec.scene_encoder import scene_stream
from hyvic_runtime.families.registry import decoder_of, encoder_of, read_bundle
from hyvic_runtime.scene.scene import Scene, resample_bands

CHECKPOINTS = Path(__file__).parents[2] / "checkpoints"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--tile", type=int, default=128, help="side of the tile (default: 128)")
    arguments = parser.parse_args()

    encoding, decoding, octets = {}, {}, {}
    for checkpoint in sorted(CHECKPOINTS.iterdir()):
        with tempfile.TemporaryDirectory() as folder:
            bundle_from_checkpoint(checkpoint, Path(folder) / "bundle", tile=arguments.tile)
            bundle = read_bundle(Path(folder) / "bundle")
            encoder, decoder = encoder_of(bundle, workers=1), decoder_of(bundle, workers=1)
        scene = load_indian_pines()
        if bundle.manifest.wavelengths is not None:  # else it takes the bands of any sensor
            scene = resample_bands(scene, np.array(bundle.manifest.wavelengths))
        tile = Scene(cube=np.ascontiguousarray(scene.cube[: arguments.tile, : arguments.tile]))
        stream = scene_stream(encoder, tile)
        octets[checkpoint.name] = len(stream)
        encoding[checkpoint.name] = partial(scene_stream, encoder, tile)
        decoding[checkpoint.name] = partial(decoder.decode, stream)

    what = f"tile of {arguments.tile} × {arguments.tile}, {arguments.runs} runs after {WARM_UP}"
    print(f"{processor()}, {os.cpu_count()} cores; {what}")
    for action, sides in (("encode", encoding), ("decode", decoding)):
        for name, seconds in alternating(sides, arguments.runs).items():
            low, median, high = (1000 * f(seconds) for f in (min, statistics.median, max))
            print(f"  {action} {name:<13} {median:8.1f} ms  ({low:.1f} … {high:.1f}), {octets[name]:,} octets")


if __name__ == "__main__":
    main()
