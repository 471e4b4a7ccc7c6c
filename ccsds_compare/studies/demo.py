"""Demonstration for `make demo`: a real scene through the whole chain, with the commands that a user would type.

python -m studies.demo --checkpoint checkpoints/adaptive --out demo-report
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hyvic_compare.indian_pines import ATTRIBUTION, load_indian_pines
from hyvic_runtime.codec.seen_scenes import seen_scenes_of
from hyvic_runtime.errors import HyvicError
from hyvic_runtime.families.registry import read_bundle
from hyvic_runtime.packets.space_packet import PRIMARY_HEADER_OCTETS
from hyvic_runtime.scene.content_hash import content_sha256
from hyvic_runtime.scene.files import read_scene, write_scene
from hyvic_runtime.scene.scene import Scene, resample_bands

from studies.reconstruction_report import Measures, write_report

TARGET_RATIO = 100.0


def main(argv: Sequence[str] | None = None) -> int:
    """Export, encode, decode, report; 0 done, 1 failed with one line."""
    parser = argparse.ArgumentParser(prog="demo", description="Indian Pines through the whole chain.")
    parser.add_argument(
        "--checkpoint",
        type=Path,
        default=Path("checkpoints/adaptive"),
        metavar="DIR",
        help="checkpoint of any model family",
    )
    parser.add_argument(
        "--target-ratio",
        type=float,
        default=TARGET_RATIO,
        metavar="R",
        help=f"compression ratio, as in encode-scene (default: {TARGET_RATIO:g})",
    )
    parser.add_argument("--out", type=Path, default=Path("demo-report"), metavar="DIR", help="folder of the report")
    arguments = parser.parse_args(argv)
    begun = time.perf_counter()
    try:
        with tempfile.TemporaryDirectory(prefix="hyvic-demo-") as scratch:
            measures = _run_chain(arguments.checkpoint, arguments.target_ratio, Path(scratch), arguments.out)
    except (HyvicError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        return int(error.returncode)
    print(
        f"\nIndian Pines at CR {measures.compression_ratio:.1f} ({measures.rate_bpppc:.4f} bit per pixel per channel): "
        f"PSNR {measures.psnr_db:.2f} dB, SSIM {measures.ssim:.4f}, spectral angle {measures.spectral_angle_deg:.2f}°"
        f"\n{time.perf_counter() - begun:.1f} s in all. Pictures and figures: {arguments.out.resolve()}/index.html"
    )
    return 0


def _run_chain(checkpoint: Path, target_ratio: float, scratch: Path, out: Path) -> Measures:
    bundle = scratch / f"{checkpoint.resolve().name}.bundle"
    scene, stream, decoded = (scratch / name for name in ("indian-pines.npz", "indian-pines.packets", "decoded.npz"))
    pines = load_indian_pines()
    write_scene(pines, scene)
    commands: list[str] = []

    def command(*words: str | Path) -> dict[str, Any]:
        # People see short names; the files live in a scratch folder.
        commands.append(shlex.join(str(w).removeprefix(f"{scratch}/") for w in words))
        print(f"$ {commands[-1]}", flush=True)
        name, *rest = map(str, words)
        executable = Path(sysconfig.get_path("scripts")) / name
        done = subprocess.run([executable, *rest, "--json"], check=True, stdout=subprocess.PIPE)
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    begun = time.perf_counter()
    command("export-engine", "--checkpoint", checkpoint, "--out", bundle)
    export_s = time.perf_counter() - begun
    loaded = read_bundle(bundle)
    manifest, part = loaded.manifest, seen_scenes_of(loaded).answer(content_sha256(pines.cube))
    options = ["--target-ratio", f"{target_ratio:g}"]
    if manifest.wavelengths is None:
        original, bands = pines, "on its own 200 bands"
    else:
        original = resample_bands(pines, np.array(manifest.wavelengths))
        bands = f"resampled by wavelength to the model's {len(manifest.wavelengths)} bands"
        options.append("--resample")
    encoded = command("encode-scene", scene, "--bundle", bundle, "--out", stream, *options)
    decoding = command("decode-packets", stream, "--bundle", bundle, "--out", decoded)
    reconstruction = read_scene(decoded)
    return write_report(
        out,
        title="Indian Pines through hyvic-onboard",
        note=f"{ATTRIBUTION}; {bands}. By the hash of the scene's pixels: {part.sentence}.",
        original=original,
        decoded=Scene(cube=reconstruction.cube, wavelengths=original.wavelengths),
        packet_octets=_packet_octets(stream.read_bytes()),
        peak=manifest.peak,
        stage_seconds={
            "export-engine, whole command": export_s,
            **_stages("encode", encoded),
            f"encode: all {encoded['attempts']} times that the ratio took to find": encoded["seconds"],
            **_stages("decode", decoding),
            "decode: whole scene": decoding["seconds"],
        },
        commands=commands,
    )


def _stages(what: str, result: Mapping[str, Any]) -> dict[str, float]:
    """Return seconds by stage; if the entropy coder takes turns with the engine, seconds of both together."""
    seconds = dict(result["stages"])
    if not seconds["entropy_coder_s"]:
        del seconds["entropy_coder_s"]
        seconds["engine_and_entropy_coder_s"] = seconds.pop("engine_s")
    return {f"{what}: {name.removesuffix('_s').replace('_', ' ')}": spent for name, spent in seconds.items()}


def _packet_octets(stream: bytes) -> list[int]:
    """Return the lengths of the packets of an intact stream, read from their primary headers."""
    sizes = []
    position = 0
    while position < len(stream):
        size = PRIMARY_HEADER_OCTETS + 1 + int.from_bytes(stream[position + 4 : position + 6], "big")
        sizes.append(size)
        position += size
    return sizes


if __name__ == "__main__":
    sys.exit(main())
