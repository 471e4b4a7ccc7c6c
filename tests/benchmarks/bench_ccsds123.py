"""CCSDS 123.0-B-2: speed of compression and decompression, of their stages, on two threads, and of the first call.

    python tests/benchmarks/bench_ccsds123.py [--scene SCENE] [--runs 9] [--json]

The image is 128 × 128 × 202 unsigned 16-bit samples (line, sample, band), P = 3, full mode, wide neighbour-oriented
local sums; without --scene Indian Pines, resampled to 202 bands. One thread, from a cube in memory to octets in memory
and back. Speeds are in MSamples/s by wall clock, and by the process's own time, which other work on the machine
disturbs less. What can be run in turn is run in turn.
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
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from ccsds123 import BlockAdaptive, Hybrid, Parameters, SampleAdaptive, compress, decompress
from ccsds123.predictor import map_samples, unmap_samples
from hyvic_compare.indian_pines import load_indian_pines
from hyvic_runtime.scene.files import read_scene
from hyvic_runtime.scene.scene import resample_bands

SIDE, BANDS = 128, 202
CODERS = {"sample-adaptive": SampleAdaptive(), "hybrid": Hybrid(), "block-adaptive": BlockAdaptive()}
FIRST_CALL = """
import time, numpy as np
begun = time.perf_counter()
from ccsds123 import Parameters, compress, decompress
imported = time.perf_counter()
octets = compress(np.zeros((8, 8, 8), np.uint16), Parameters())
compressed = time.perf_counter()
decompress(octets)
print(imported - begun, compressed - imported, time.perf_counter() - compressed)
"""


def image(scene: Path | None) -> np.ndarray:
    if scene is None:
        pines = load_indian_pines()
        assert pines.wavelengths is not None
        wanted = np.linspace(pines.wavelengths[0], pines.wavelengths[-1], BANDS)
        cube = resample_bands(pines, wanted).cube
    else:
        cube = read_scene(scene).cube
    return np.ascontiguousarray(cube[:SIDE, :SIDE, :BANDS], np.uint16)


def in_turn(sides: dict[str, Callable[[], object]], runs: int) -> dict[str, tuple[list[float], list[float]]]:
    """Wall and process seconds of every run, the sides in turn, after one run that is not counted."""
    seconds: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in sides}
    for run in range(runs + 1):
        for name, side in sides.items():
            wall, process = time.perf_counter(), time.process_time()
            side()
            if run:
                seconds[name][0].append(time.perf_counter() - wall)
                seconds[name][1].append(time.process_time() - process)
    return seconds


def speeds(size: int, seconds: list[float]) -> dict[str, float]:
    rates = [size / value / 1e6 for value in seconds]
    return {"min": round(min(rates), 1), "median": round(statistics.median(rates), 1), "max": round(max(rates), 1)}


def first_call() -> dict[str, list[float]]:
    """Seconds to import, to compress and to decompress 8 × 8 × 8 samples in fresh interpreters."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"NUMBA_CACHE_DIR": folder}

        def seconds() -> list[float]:
            run = subprocess.run(
                [sys.executable, "-c", FIRST_CALL], stdout=subprocess.PIPE, text=True, check=True, env=environment
            )
            return [round(float(word), 2) for word in run.stdout.split()]

        return {"cold": seconds(), "cached": seconds()}


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scene", type=Path, help="an unsigned scene of at least 128 × 128 (default: Indian Pines)")
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    cube = image(arguments.scene)
    sides: dict[str, Callable[[], object]] = {}
    octets: dict[str, int] = {}
    for name, coder in CODERS.items():
        for order, depth in (("BSQ", None), ("BIP", cube.shape[2])):
            parameters = Parameters(entropy_coder=coder, interleaving_depth=depth)
            stream = compress(cube, parameters)
            assert np.array_equal(decompress(stream), cube)
            octets[f"{name} {order}"] = len(stream)
            sides[f"{name} {order} compress"] = lambda p=parameters: compress(cube, p)
            sides[f"{name} {order} decompress"] = lambda s=stream: decompress(s)
    parameters = Parameters(interleaving_depth=cube.shape[2])
    mapped = map_samples(cube, parameters)
    sides["prediction alone, compress"] = lambda: map_samples(cube, parameters)
    sides["prediction alone, decompress"] = lambda: unmap_samples(mapped, parameters)
    measured = in_turn(sides, arguments.runs)

    scenes = [cube, np.ascontiguousarray(cube[::-1])]
    streams = [compress(scene, parameters) for scene in scenes]
    with ThreadPoolExecutor(2) as pool:
        threads = in_turn(
            {
                "compress one after the other": lambda: [compress(scene, parameters) for scene in scenes],
                "compress on two threads": lambda: list(pool.map(lambda s: compress(s, parameters), scenes)),
                "decompress one after the other": lambda: [decompress(stream) for stream in streams],
                "decompress on two threads": lambda: list(pool.map(decompress, streams)),
            },
            arguments.runs,
        )
    gains = {
        way: round(
            statistics.median(threads[f"{way} one after the other"][0])
            / statistics.median(threads[f"{way} on two threads"][0]),
            2,
        )
        for way in ("compress", "decompress")
    }
    result: dict[str, Any] = {
        "machine": f"{processor()}, {os.cpu_count()} cores",
        "load": round(os.getloadavg()[0], 1),
        "shape": list(cube.shape),
        "runs": arguments.runs,
        "octets": octets,
        "wall_msamples_per_s": {name: speeds(cube.size, wall) for name, (wall, _) in measured.items()},
        "process_msamples_per_s": {name: speeds(cube.size, own) for name, (_, own) in measured.items()},
        "two_threads_gain": gains,
        "first_call_s": first_call(),
    }
    if arguments.json:
        print(json.dumps(result))
        return
    shape = " × ".join(map(str, cube.shape))
    print(f"{result['machine']}, load {result['load']}; {shape} samples; {arguments.runs} runs after 1; MSamples/s")
    for name, wall in result["wall_msamples_per_s"].items():
        own = result["process_msamples_per_s"][name]
        print(
            f"  {name:<34} wall {wall['median']:6.1f} ({wall['min']:.1f} … {wall['max']:.1f})   "
            f"own time {own['median']:6.1f} ({own['min']:.1f} … {own['max']:.1f})"
        )
    for name, count in octets.items():
        print(f"  {name:<34} {8 * count / cube.size:.3f} bits per sample")
    print("  two scenes on two threads          " + ", ".join(f"{way} {gain} ×" for way, gain in gains.items()))
    for name, (imported, compressed, decompressed) in result["first_call_s"].items():
        print(f"  first call, {name:<22} import {imported} s, compress {compressed} s, decompress {decompressed} s")


if __name__ == "__main__":
    main()
