"""Encode a scene in memory, decode it, and say how small and how good it came back.

python examples/roundtrip.py scene.npz --bundle adaptive.bundle --target-ratio 64
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from hyvic_runtime import Quality, decode, encode, read_bundle, read_scene


def main(argv: Sequence[str] | None = None) -> int:
    """Run the example; 0 done."""
    parser = argparse.ArgumentParser(description="Encode a scene in memory and decode it.")
    parser.add_argument("scene", type=Path, help="scene file: .npz .npy .hdr .tif .h5 .he5 or .mat")
    parser.add_argument("--bundle", type=Path, required=True, help="folder that export-engine wrote")
    parser.add_argument("--target-ratio", type=float, default=64, help="compression ratio to reach (default: 64)")
    arguments = parser.parse_args(argv)

    scene = read_scene(arguments.scene)
    bundle = read_bundle(arguments.bundle)
    octets = encode(scene, bundle, target_ratio=arguments.target_ratio)
    decoded = decode(octets, bundle)

    error = decoded.scene.cube.astype(np.float64) - scene.cube
    psnr = 10 * np.log10(bundle.manifest.peak**2 / np.mean(error**2))
    exact = np.mean(decoded.quality == Quality.EXACT)
    print(f"{scene.cube.nbytes:,} bytes became {len(octets):,}: ratio {scene.cube.nbytes / len(octets):.1f}")
    print(f"PSNR {psnr:.1f} dB; {exact:.0%} of the pixels are as the encoder meant them")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
