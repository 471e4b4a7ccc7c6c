"""One tile end to end: our encoder in ONNX Runtime beside CompressAI's `compress()` with the same weights.

    python tests/benchmarks/bench_encoder.py [--runs 15] [--tile 128] [--precision fp32] [--in-a-row 1]
                                             [--checkpoint DIR] [--json]

Both start from the tile's integer cube in memory and end with octets in memory, in one process, alternating, with
one thread a core (either library's default). Ours ends with finished packets, CompressAI's with its two strings. In
turn, each also pays for what the other left behind, in caches and in threads that still spin: `--in-a-row` shows it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hyvic_compare.indian_pines import load_indian_pines
from hyvic_export.exporter import bundle_from_checkpoint
from hyvic_export.precision import Precision
from hyvic_runtime.codec.row_encoder import StageTimes
from hyvic_runtime.codec.scene_encoder import DEFAULT_QUALITY, scene_packets
from hyvic_runtime.families.latent.decoder import LatentDecoder
from hyvic_runtime.families.latent.encoder import LatentRowEncoder
from hyvic_runtime.families.registry import read_bundle
from hyvic_runtime.packets.reassembly import receive
from hyvic_runtime.packets.space_packet import Packetiser
from hyvic_runtime.scene.scene import Scene, mean_spectrum, resample_bands
from hyvic_train.families.latent.checkpoint import load_checkpoint
from hyvic_train.families.latent.hyvic import HyVIC
from torch import nn

WARM_UP = 2
CHECKPOINT = Path(__file__).parents[2] / "checkpoints" / "hyvic-s-202"


class _Analysis(nn.Module):
    """HyVIC's analysis as CompressAI calls it, on digital numbers, at the quality that our encoder takes by default."""

    def __init__(self, model: HyVIC) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        level = x.new_full((len(x),), DEFAULT_QUALITY / 100 * (self.model.config.rates - 1))
        gain, _ = self.model.gains(level)
        return self.model.analyse(x) * gain


class _ScalesAndMeans(nn.Module):
    """HyVIC's hyper-decoder as CompressAI calls it."""

    def __init__(self, model: HyVIC) -> None:
        super().__init__()
        self.model = model

    def forward(self, z_hat: torch.Tensor) -> torch.Tensor:
        return torch.cat(self.model.scales_and_means(z_hat), dim=1)


def compressai_model(model: HyVIC) -> nn.Module:
    """CompressAI's own mean & scale hyperprior codec around the same transforms and entropy models."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from compressai.models import MeanScaleHyperprior
    codec = MeanScaleHyperprior(1, 1)
    codec.g_a, codec.h_a, codec.h_s = _Analysis(model), model.h_a, _ScalesAndMeans(model)
    codec.entropy_bottleneck, codec.gaussian_conditional = model.entropy_bottleneck, model.gaussian_conditional
    codec.update(force=True, update_quantiles=True)
    return codec.eval()


def alternating(sides: dict[str, Callable[[], object]], runs: int, in_a_row: int = 1) -> dict[str, list[float]]:
    """Seconds of every run, the sides in turn; the first WARM_UP rounds are not counted.

    Of several runs of a side in a row the last one is timed.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for run in range(runs + WARM_UP):
        for name, side in sides.items():
            for _ in range(in_a_row):
                begun = time.perf_counter()
                side()
                taken = time.perf_counter() - begun
            if run >= WARM_UP:
                seconds[name].append(taken)
    return seconds


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--tile", type=int, default=128, help="side of the tile (default: 128)")
    parser.add_argument("--precision", default="fp32", help="of our analysis; int8 is calibrated on the scene itself")
    parser.add_argument(
        "--in-a-row",
        type=int,
        default=1,
        metavar="N",
        help="each runs so often in its turn, the last is timed (default: 1)",
    )
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT, metavar="DIR", help="(default: the shipped one)")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()

    model, indian_pines = load_checkpoint(arguments.checkpoint).model, load_indian_pines()
    with tempfile.TemporaryDirectory() as folder:
        scene = Path(folder) / "indian-pines.npz"
        np.savez(scene, cube=indian_pines.cube, wavelengths=indian_pines.wavelengths)
        bundle_from_checkpoint(
            arguments.checkpoint,
            Path(folder) / "bundle",
            tile=arguments.tile,
            precision=Precision(arguments.precision),
            scenes=[scene],
        )
        bundle = read_bundle(Path(folder) / "bundle")
        encoder, decoder = LatentRowEncoder(bundle, workers=1), LatentDecoder(bundle, workers=1)
    resampled = resample_bands(indian_pines, np.array(bundle.manifest.wavelengths))
    tile = Scene(cube=np.ascontiguousarray(resampled.cube[: arguments.tile, : arguments.tile]))
    codec = compressai_model(model)

    def ours() -> bytes:
        return b"".join(p for packets in scene_packets(encoder, tile, Packetiser()) for p in packets)

    @torch.no_grad()
    def compressai() -> dict[str, Any]:
        x = torch.from_numpy(tile.cube - mean_spectrum(tile).astype(np.float32))
        result: dict[str, Any] = codec.compress(x.permute(2, 0, 1)[None].contiguous())
        return result

    stream = ours()
    encoder.times = StageTimes()
    seconds = alternating({"ours": ours, "compressai": compressai}, arguments.runs, max(arguments.in_a_row, 1))
    ratios = [theirs / mine for mine, theirs in zip(seconds["ours"], seconds["compressai"], strict=True)]
    units = receive(stream).scene().units

    def decode_latents() -> object:
        return decoder.tile_latents(units, encoder.grid(tile).tile(0, 0))

    decoding = alternating({"latents": decode_latents, "scene": lambda: decoder.decode(stream)}, arguments.runs)
    octets = {"ours": len(stream), "compressai": sum(len(strings[0]) for strings in compressai()["strings"])}
    stages = {
        name.removesuffix("_s"): round(1000 * value / ((arguments.runs + WARM_UP) * max(arguments.in_a_row, 1)), 2)
        for name, value in asdict(encoder.times).items()
    }
    speed = tile.cube.size / statistics.median(seconds["ours"]) / 1e6
    result = {
        "machine": f"{processor()}, {os.cpu_count()} cores",
        "threads": torch.get_num_threads(),
        "tile": list(tile.cube.shape),
        "precision": arguments.precision,
        "runs": arguments.runs,
        "in_a_row": max(arguments.in_a_row, 1),
        "octets": octets,
        "encode_ms": {name: _spread(times) for name, times in seconds.items()},
        "compressai_over_ours": _spread(ratios, 1),
        "our_stages_ms": stages,
        "encode_msamples_per_s": round(speed, 1),
        "decode_ms": {name: _spread(times) for name, times in decoding.items()},
    }
    if arguments.json:
        print(json.dumps(result))
        return
    shape = " × ".join(map(str, tile.cube.shape))
    what = f"tile {shape}, {arguments.precision}; {arguments.runs} runs after {WARM_UP}"
    print(f"{result['machine']}; {result['threads']} threads; {what}")
    for name, times in seconds.items():
        low, median, high = _spread(times).values()
        print(f"  encode, {name:<11} {median:8.1f} ms   ({low:.1f} … {high:.1f}), {octets[name]:,} octets")
    low, median, high = _spread(ratios, 1).values()
    print(f"  CompressAI / ours   {median:8.1f} ×    ({low:.1f} … {high:.1f}), pair by pair")
    print("  our stages          " + ", ".join(f"{k.replace('_', ' ')} {v:.1f} ms" for k, v in stages.items()))
    print(f"  encoding {speed:.1f} MSamples/s; decoding {_spread(decoding['scene'])['median']:.1f} ms a tile")


def _spread(values: list[float], scale: float = 1000) -> dict[str, float]:
    return {
        "min": round(scale * min(values), 2),
        "median": round(scale * statistics.median(values), 2),
        "max": round(scale * max(values), 2),
    }


if __name__ == "__main__":
    main()
