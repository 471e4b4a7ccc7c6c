"""The scene-adaptive codec on a swath: speed of encoder and decoder by rate, memory and time over the swath's length.

    python tests/benchmarks/bench_adaptive.py [--scene SCENE...] [--quality Q...] [--lines L...] [--samples S]
        [--kernels native|reference] [--json]

The swath is made as bench_push_broom.py makes it, on the scenes' own bands. Everything counts: statistics, basis,
projection, wavelet, quantiser, contexts, network, entropy coder, packets. Every figure is of a process of its own;
encoder and decoder take all cores, and are run once before they are timed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from bench_push_broom import ENMAP_MSAMPLES_PER_S, PORTION, memory_mb, period, spread
from hyvic_runtime.codec.acquisition import Acquisition
from hyvic_runtime.codec.row_encoder import AnyEncoder
from hyvic_runtime.codec.scene_encoder import SceneEncoder
from hyvic_runtime.families.registry import decoder_of, encoder_of, read_bundle
from hyvic_runtime.kernels import KernelKind
from hyvic_runtime.packets.space_packet import Packetiser
from hyvic_runtime.scene.files import read_scene
from hyvic_runtime.scene.scene import Cube

CHECKPOINT = Path(__file__).parents[2] / "checkpoints" / "adaptive"


def encode(encoder: AnyEncoder, source: Cube, lines: int, quality: float, *, keep: bool) -> tuple[float, int, bytes]:
    """Seconds, octets, and the stream where it is to be kept, of a swath of unknown length."""
    begun = time.perf_counter()
    acquisition = Acquisition(samples=source.shape[1], bands=source.shape[2], dtype=source.dtype)
    push_broom = SceneEncoder(encoder, acquisition, Packetiser(), quality=quality)
    octets, kept = 0, []
    for first in range(0, lines, PORTION):
        numbers = np.arange(first, min(first + PORTION, lines)) % len(source)
        for run in np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1):
            packets = push_broom.push(source[run[0] : run[-1] + 1])
            octets += sum(map(len, packets))
            kept += packets if keep else []
    packets = push_broom.flush()
    octets += sum(map(len, packets))
    kept += packets if keep else []
    return time.perf_counter() - begun, octets, b"".join(kept)


def measure(bundle_folder: Path, source: Cube, arguments: argparse.Namespace) -> dict[str, Any]:
    """One quality and length, in this process."""
    (quality,), (lines,) = arguments.quality, arguments.lines
    bundle = read_bundle(bundle_folder)
    encoder = encoder_of(bundle, kernels=arguments.kernels)
    samples = lines * source.shape[1] * source.shape[2]
    loaded = memory_mb("VmRSS")
    encode(encoder, source, min(lines, len(source), 256), quality, keep=False)
    runs = [encode(encoder, source, lines, quality, keep=False) for _ in range(arguments.runs)]
    result: dict[str, Any] = {
        "quality": quality,
        "lines": lines,
        "compression_ratio": samples * source.itemsize / runs[0][1],
        "encode_msamples_per_s": spread([samples / seconds / 1e6 for seconds, _, _ in runs]),
        "encode_above_mb": memory_mb("VmHWM") - loaded,
    }
    if arguments.decode:
        _, _, stream = encode(encoder, source, lines, quality, keep=True)
        decoder, seconds = decoder_of(bundle, kernels=arguments.kernels), []
        for _ in range(arguments.runs + 1):
            begun = time.perf_counter()
            decoded = decoder.decode(stream).scene.cube
            seconds.append(time.perf_counter() - begun)
        expected = source[np.arange(lines) % len(source)].astype(np.float64)
        result["psnr_db"] = float(10 * np.log10(bundle.manifest.peak**2 / ((decoded - expected) ** 2).mean()))
        result["decode_msamples_per_s"] = spread([samples / s / 1e6 for s in seconds[1:]])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scene", type=Path, nargs="+", metavar="SCENE", help="of one type (default: Indian Pines)")
    parser.add_argument("--quality", type=float, nargs="+", default=[10, 20, 30, 40, 50], metavar="Q")
    parser.add_argument("--lines", type=int, nargs="+", default=[512], metavar="L", help="decoded too: the first alone")
    parser.add_argument("--samples", type=int, default=1000, metavar="S")
    parser.add_argument("--runs", type=int, default=3, help="(default: 3)")
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT, metavar="DIR", help="(default: the shipped one)")
    parser.add_argument("--kernels", type=KernelKind, choices=list(KernelKind), help="(default: native, if built)")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--decode", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--worker", nargs=2, metavar=("BUNDLE", "CUBES"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        bundle_folder, cubes_file = map(Path, arguments.worker)
        with np.load(cubes_file) as stored:
            source = period([stored[name] for name in stored.files], arguments.samples)
        print(json.dumps(measure(bundle_folder, source, arguments)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder, cubes_file = Path(scratch) / "bundle", Path(scratch) / "cubes.npz"
        _export(arguments.checkpoint, folder)
        if arguments.scene:
            cubes = [read_scene(path).cube for path in arguments.scene]
        else:
            from hyvic_compare.indian_pines import load_indian_pines

            cubes = [load_indian_pines().cube]
        np.savez(cubes_file, *cubes)

        def worker(quality: float, lines: int, *options: str) -> dict[str, Any]:
            command = [sys.executable, __file__, "--worker", str(folder), str(cubes_file), "--quality", str(quality)]
            command += ["--lines", str(lines), "--samples", str(arguments.samples), "--runs", str(arguments.runs)]
            if arguments.kernels is not None:
                command += ["--kernels", arguments.kernels]
            done = subprocess.run([*command, *options], check=True, stdout=subprocess.PIPE)
            result: dict[str, Any] = json.loads(done.stdout)
            return result

        first, *others = arguments.lines
        rates = [worker(quality, first, "--decode") for quality in arguments.quality]
        lengths = [worker(arguments.quality[0], lines) for lines in others]
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    if arguments.json:
        print(json.dumps({"machine": machine, "bands": cubes[0].shape[2], "rates": rates, "lengths": lengths}))
        return
    print(
        f"{machine}; {arguments.samples} samples × {cubes[0].shape[2]} bands; EnMAP: {ENMAP_MSAMPLES_PER_S} MSamples/s"
    )
    for row in rates:
        print(
            f"quality {row['quality']:g}, {row['lines']} lines: CR {row['compression_ratio']:.1f}, "
            f"{row['psnr_db']:.2f} dB, encoded at {_told(row['encode_msamples_per_s'])} MSamples/s, "
            f"decoded at {_told(row['decode_msamples_per_s'])}"
        )
    for row in lengths:
        print(
            f"quality {row['quality']:g}, {row['lines']} lines: {_told(row['encode_msamples_per_s'])} MSamples/s, "
            f"{row['encode_above_mb']:.0f} MB above what is loaded"
        )


def _told(rates: dict[str, float]) -> str:
    return f"{rates['median']:.1f} ({rates['min']:.1f} … {rates['max']:.1f})"


def _export(checkpoint: Path, folder: Path) -> None:
    """In a process of its own, so that torch is not in those that are measured."""
    command = (
        f"from hyvic_export.cli import main; main(['--checkpoint', {str(checkpoint)!r}, '--out', {str(folder)!r}])"
    )
    subprocess.run([sys.executable, "-c", command], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
