"""A swath, line by line: memory, time per sample over the swath's length, and the pipeline beside the engine alone.

    python tests/benchmarks/bench_push_broom.py [--scene SCENE...] [--lines L...] [--samples 1000] [--json]

The swath is made of real scenes: they stand side by side and are mirrored wherever they end, and the lines of one
period are pushed again and again. Every length runs in a process of its own, which has loaded neither torch nor another
swath before; its peak is the kernel's (VmHWM), counted from what was resident when those lines lay in memory and the
bundle had been loaded and checked, which runs its engine once. The engine alone runs in turn with the pipeline, as
often as the pipeline ran it, on a tile that lies ready in memory: call by call, all cores to each, and as many calls at
once as the pipeline makes, a core to each, which is faster.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from hyvic_runtime.codec.acquisition import Acquisition
from hyvic_runtime.codec.row_encoder import StageTimes
from hyvic_runtime.codec.scene_encoder import SceneEncoder
from hyvic_runtime.families.latent.bundle import ENCODER, LatentBundle, read_latent_bundle
from hyvic_runtime.families.latent.encoder import LatentRowEncoder
from hyvic_runtime.packets.space_packet import Packetiser
from hyvic_runtime.scene.files import read_scene
from hyvic_runtime.scene.scene import Cube, Scene, resample_bands

CHECKPOINT = Path(__file__).parents[2] / "checkpoints" / "hyvic-s-202"
ENMAP_MSAMPLES_PER_S = 51
"""230 lines a second of 1,000 samples and 224 bands."""
PORTION = 16
"""Lines that the sensor delivers at a time."""
RATIO_LINES = 2048
PAUSE_S = 0.2
"""For ONNX Runtime's threads to stop spinning, before another session is timed."""


def mirrored(size: int, start: int, count: int) -> np.ndarray:
    """Positions within a scene of `size` that is repeated forwards and backwards."""
    positions = np.arange(start, start + count) % (2 * size)
    return np.where(positions < size, positions, 2 * size - 1 - positions)


def period(cubes: list[Cube], samples: int) -> Cube:
    """Lines of a swath that may follow themselves, (line, sample, band)."""
    share = -(-samples // len(cubes))
    lines = 2 * len(cubes[0])
    parts = [
        cube[mirrored(len(cube), 0, lines)][:, mirrored(cube.shape[1], i * share, share)]
        for i, cube in enumerate(cubes)
    ]
    return np.ascontiguousarray(np.concatenate(parts, axis=1)[:, :samples])


def encode(encoder: LatentRowEncoder, source: Cube, lines: int) -> dict[str, float]:
    """Encode a swath of unknown length."""
    encoder.times = StageTimes()
    begun = time.perf_counter()
    push_broom = SceneEncoder(encoder, Acquisition(samples=source.shape[1], dtype=source.dtype), Packetiser())
    octets = 0
    for first in range(0, lines, PORTION):
        numbers = np.arange(first, min(first + PORTION, lines)) % len(source)
        runs = np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1)
        octets += sum(len(p) for run in runs for p in push_broom.push(source[run[0] : run[-1] + 1]))
    octets += sum(map(len, push_broom.flush()))
    return {"seconds": time.perf_counter() - begun, "octets": octets, **asdict(encoder.times)}


def one_length(bundle: LatentBundle, source: Cube, lines: int) -> dict[str, Any]:
    """Memory and time of one swath, in this process."""
    encoder = LatentRowEncoder(bundle)
    loaded = memory_mb("VmRSS")
    measured = encode(encoder, source, lines)
    peak = memory_mb("VmHWM")
    size = lines * source.shape[1] * bundle.manifest.bands
    return {
        "lines": lines,
        "loaded_mb": loaded,
        "above_mb": peak - loaded,
        "ns_per_sample": measured["seconds"] / size * 1e9,
        "msamples_per_s": size / measured["seconds"] / 1e6,
        **measured,
    }


def memory_mb(entry: str) -> float:
    """Of this process. Not getrusage's, which a process inherits from the one that started it."""
    (line,) = (row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith(f"{entry}:"))
    return int(line.split()[1]) * 1024 / 1e6


def beside_the_engine(bundle: LatentBundle, source: Cube, runs: int) -> dict[str, Any]:
    """The pipeline's rate as a share of the engine's own, run by run; the first of either is not counted."""
    encoder = LatentRowEncoder(bundle)
    scene = Scene(cube=source)
    grid = encoder.grid(scene)
    inputs = encoder.engine_inputs(scene, grid, grid.tile(1, 1), encoder.mean_spectrum(scene), 5000)
    calls = -(-RATIO_LINES // grid.geometry.tile) * grid.columns
    one_call = bundle.load_engine(ENCODER)
    pipeline, engine, calls_in_turn = [], [], []
    with ThreadPoolExecutor(encoder.workers) as pool:
        for run in range(runs + 1):
            seconds = encode(encoder, source, RATIO_LINES)["seconds"]
            begun = time.perf_counter()
            list(pool.map(encoder._engine.run, [inputs] * calls))
            between = time.perf_counter()
            for _ in range(calls):
                one_call.run(inputs)
            done = time.perf_counter()
            time.sleep(PAUSE_S)
            if run:
                pipeline.append(seconds)
                engine.append(between - begun)
                calls_in_turn.append(done - between)
    size = RATIO_LINES * source.shape[1] * bundle.manifest.bands / 1e6
    return {
        "runs": runs,
        "workers": encoder.workers,
        "pipeline_msamples_per_s": spread([size / s for s in pipeline]),
        "engine_call_by_call_msamples_per_s": spread([size / s for s in calls_in_turn]),
        "share_of_call_by_call": spread([a / p for a, p in zip(calls_in_turn, pipeline, strict=True)]),
        "engine_calls_at_once_msamples_per_s": spread([size / s for s in engine]),
        "share_of_calls_at_once": spread([a / p for a, p in zip(engine, pipeline, strict=True)]),
    }


def spread(values: list[float]) -> dict[str, float]:
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def _scenes(paths: list[Path], bundle: LatentBundle) -> list[Cube]:
    wavelengths = np.array(bundle.manifest.wavelengths)
    return [resample_bands(read_scene(path), wavelengths).cube for path in paths]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--scene", type=Path, nargs="+", metavar="SCENE", help="of one type, with wavelengths (default: Indian Pines)"
    )
    parser.add_argument("--lines", type=int, nargs="+", default=[512, 1024, 2048, 4096], metavar="L")
    parser.add_argument("--samples", type=int, default=1000, metavar="S")
    parser.add_argument("--runs", type=int, default=5, help="of pipeline and engine in turn (default: 5)")
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT, metavar="DIR", help="(default: the shipped one)")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", nargs=2, metavar=("BUNDLE", "CUBES"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        bundle_folder, cubes_file = map(Path, arguments.worker)
        bundle = read_latent_bundle(bundle_folder)
        with np.load(cubes_file) as stored:
            source = period([stored[name] for name in stored.files], arguments.samples)
        if arguments.runs:
            print(json.dumps(beside_the_engine(bundle, source, arguments.runs)))
        else:
            print(json.dumps(one_length(bundle, source, arguments.lines[0])))
        return

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "bundle"
        export(arguments.checkpoint, folder)
        bundle = read_latent_bundle(folder)
        cubes_file = Path(scratch) / "cubes.npz"
        if arguments.scene:
            cubes = _scenes(arguments.scene, bundle)
        else:
            from hyvic_compare.indian_pines import load_indian_pines

            cubes = [resample_bands(load_indian_pines(), np.array(bundle.manifest.wavelengths)).cube]
        np.savez(cubes_file, *cubes)

        def worker(*options: str) -> dict[str, Any]:
            command = [sys.executable, __file__, "--worker", str(folder), str(cubes_file)]
            command += ["--samples", str(arguments.samples), *options]
            result: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
            return result

        lengths = [worker("--runs", "0", "--lines", str(lines)) for lines in arguments.lines]
        ratio = worker("--runs", str(arguments.runs))
    result = {
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "samples": arguments.samples,
        "bands": bundle.manifest.bands,
        "lengths": lengths,
        "beside_the_engine": ratio,
    }
    if arguments.json:
        print(json.dumps(result))
        return
    print(f"{result['machine']}; swaths of {arguments.samples} samples and {bundle.manifest.bands} bands")
    for row in lengths:
        print(
            f"  {row['lines']:6} lines  {row['msamples_per_s']:6.1f} MSamples/s  "
            f"{row['ns_per_sample']:6.2f} ns a sample  "
            f"peak {row['above_mb']:5.0f} MB above the {row['loaded_mb']:.0f} MB of bundle and lines"
        )
    spreads = {name: values for name, values in ratio.items() if isinstance(values, dict)}
    for name, values in spreads.items():
        print(f"  {name.replace('_', ' '):<36} {values['median']:6.2f}   ({values['min']:.2f} … {values['max']:.2f})")
    print(f"  EnMAP's line rate                    {ENMAP_MSAMPLES_PER_S:6.2f} MSamples/s")


def export(checkpoint: Path, folder: Path) -> None:
    from hyvic_export.exporter import (
        bundle_from_checkpoint,  # loads torch, which the workers do without
    )

    bundle_from_checkpoint(checkpoint, folder)


if __name__ == "__main__":
    main()
