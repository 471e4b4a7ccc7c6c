"""The ANS coders on a real scene's symbols: constriction's beside the runtime's own in C.

    python tests/benchmarks/bench_ans.py [--runs 15] [--msymbols 4] [--checkpoint DIR] [--json]

The symbols are Indian Pines' at the default quality under the bundle's tables. "coder" is the ANS coder alone, from
grouped positions to words and back, over the scene's symbols repeated up to some millions; "unit" adds what both share,
sorting, escapes and octets, over the latents of one tile. One thread, in one process, the sides in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from bench_encoder import CHECKPOINT, WARM_UP, alternating, processor
from hyvic_compare.indian_pines import load_indian_pines
from hyvic_export.exporter import bundle_from_checkpoint
from hyvic_runtime.codec.scene_encoder import DEFAULT_QUALITY
from hyvic_runtime.entropy.ans import ans_coder
from hyvic_runtime.entropy.frequency_table import FrequencyTables
from hyvic_runtime.entropy.unit_coder import EntropyCoder
from hyvic_runtime.families.latent.bundle import LatentBundle
from hyvic_runtime.families.latent.encoder import LatentRowEncoder
from hyvic_runtime.families.latent.hyperlatent import hyperlatent_rows
from hyvic_runtime.families.registry import read_bundle
from hyvic_runtime.kernels import KernelKind
from hyvic_runtime.packets.quality import quality_code
from hyvic_runtime.scene.scene import Scene, resample_bands

SIDES = {"constriction": KernelKind.REFERENCE, "native": KernelKind.NATIVE}


def real_units(bundle: LatentBundle) -> list[tuple[np.ndarray, np.ndarray]]:
    """Symbols and their rows of every unit of Indian Pines."""
    encoder = LatentRowEncoder(bundle)
    scene = Scene(cube=resample_bands(load_indian_pines(), np.array(bundle.manifest.wavelengths)).cube)
    grid, mean = encoder.grid(scene), encoder.mean_spectrum(scene)
    units = []
    for tile in grid:
        coded = encoder.symbols(scene, grid, tile, mean, quality_code(DEFAULT_QUALITY))
        rows = hyperlatent_rows(coded.hyperlatent.shape, bundle.manifest.scales)
        units += [(coded.hyperlatent.ravel(), rows), (coded.symbols.ravel(), coded.scale_index.ravel())]
    return units


def grouped(tables: FrequencyTables, symbols: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions by row, and how many each row has."""
    order = np.argsort(rows, kind="stable")
    first, length = tables.first[rows[order]], tables.length[rows[order]]
    positions = symbols[order] - first
    positions[(positions < 0) | (positions > length)] = -1
    return np.where(positions < 0, length, positions).astype(np.int32), np.bincount(rows, minlength=len(tables.first))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--msymbols", type=float, default=4, help="millions of symbols at least (default: 4)")
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT, metavar="DIR", help="(default: the shipped one)")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        bundle_from_checkpoint(arguments.checkpoint, Path(folder) / "bundle")
        bundle = read_bundle(Path(folder) / "bundle")
        units = real_units(bundle)
    unit_symbols, unit_rows = max(units, key=lambda unit: unit[0].size)
    scene_symbols, scene_rows = (np.concatenate(arrays) for arrays in zip(*units, strict=True))
    copies = -(-int(arguments.msymbols * 1e6) // scene_symbols.size)
    positions, counts = grouped(bundle.tables, np.tile(scene_symbols, copies), np.tile(scene_rows, copies))
    sizes = {"coder": positions.size, "unit": unit_symbols.size}

    calls: dict[str, Callable[[], object]] = {}
    written = []
    for name, side in SIDES.items():
        coder, entropy_coder = ans_coder(bundle.tables, side), EntropyCoder(bundle.tables, side)
        words, unit = coder.encode(positions, counts), entropy_coder.encode(unit_symbols, unit_rows)
        decoded, exhausted = coder.decode(words, counts)
        assert exhausted
        assert np.array_equal(decoded, positions)
        assert np.array_equal(entropy_coder.decode(unit, unit_rows), unit_symbols)
        written.append((words.tobytes(), unit))
        calls |= {
            f"coder encode {name}": lambda coder=coder: coder.encode(positions, counts),
            f"coder decode {name}": lambda coder=coder, words=words: coder.decode(words, counts),
            f"unit encode {name}": lambda coder=entropy_coder: coder.encode(unit_symbols, unit_rows),
            f"unit decode {name}": lambda coder=entropy_coder, unit=unit: coder.decode(unit, unit_rows),
        }
    assert written[0] == written[1]
    # The two sides of one figure next to each other.
    turns = {key: calls[key] for key in sorted(calls, key=lambda key: key.split()[:2])}
    seconds = alternating(turns, arguments.runs)
    ratios = {
        what: [
            theirs / ours
            for theirs, ours in zip(seconds[f"{what} constriction"], seconds[f"{what} native"], strict=True)
        ]
        for what in ("coder encode", "coder decode", "unit encode", "unit decode")
    }
    result: dict[str, Any] = {
        "machine": f"{processor()}, {os.cpu_count()} cores",
        "load": round(os.getloadavg()[0], 1),
        "symbols": sizes,
        "bits_per_symbol": round(8 * len(written[0][0]) / positions.size, 3),
        "runs": arguments.runs,
        "msymbols_per_s": {
            key: _spread([sizes[key.split()[0]] / value / 1e6 for value in values]) for key, values in seconds.items()
        },
        "constriction_over_native": {what: _spread(values) for what, values in ratios.items()},
    }
    if arguments.json:
        print(json.dumps(result))
        return
    print(
        f"{result['machine']}, load {result['load']}; {positions.size:,} symbols of {result['bits_per_symbol']} bits, "
        f"{unit_symbols.size:,} in the unit; "
        f"{arguments.runs} runs after {WARM_UP}; Msymbols/s"
    )
    for what, ratio in result["constriction_over_native"].items():
        for name in SIDES:
            low, median, high = result["msymbols_per_s"][f"{what} {name}"].values()
            print(f"  {what}, {name:<13} {median:7.1f}   ({low:.1f} … {high:.1f})")
        print(f"  {what}, native is  {ratio['median']:7.2f} × ({ratio['min']:.2f} … {ratio['max']:.2f}) as fast")


def _spread(values: list[float]) -> dict[str, float]:
    return {"min": round(min(values), 2), "median": round(statistics.median(values), 2), "max": round(max(values), 2)}


if __name__ == "__main__":
    main()
