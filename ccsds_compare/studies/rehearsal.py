"""Rehearsal of the paper's experiments for `make rehearsal`: the commands of docs/reproduction.md, at toy size.

    python -m studies.rehearsal --out rehearsal [--scenes FOLDER]

Writes a HySpecNet-11k and an MLRetSet in the published layout, cut from a few real scenes, and runs on them what a
reproduction runs on the published sets: train the grid of Table I, interrupt and resume it, evaluate the test parts,
select a model, draw the figures. Widths, steps and numbers of patches are toys, so the figures say nothing about the
codec; that the commands run and write every file is what this shows.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shlex
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from hyvic_compare.indian_pines import load_indian_pines
from hyvic_runtime.errors import HyvicError
from hyvic_runtime.scene.files import read_scene
from hyvic_runtime.scene.scene import Scene, resample_bands
from hyvic_train.data.hyspecnet import ENMAP_BANDS, KEPT_BANDS, SIDE
from hyvic_train.data.mlretset import STORED_SHAPE
from numpy.typing import NDArray

CONFIGS = Path("train/configs")
TILE = "ENMAP01-____L2A-DT0000004950_20221103T162438Z_001_V010110_20221118T145147Z"
"""Name of a tile as the data set has it; the pixels are of other scenes."""
HYSPECNET_PARTS = {"train": 6, "val": 2, "test": 2}
HYSPECNET_ORIGINALS = 2
"""Number of patches that are written as GeoTIFFs of 224 bands, as the archives hold them."""
MLRETSET_PATCHES = 10
TOY_WIDTHS = ((8, 5), (16, 10), (21, 13), (27, 16))
"""(M, N) in place of Table I's four."""
TOY_STEPS = 4
TOY = {
    "optimisation": {
        "epochs": 0,
        "steps": TOY_STEPS,
        "batch_size": 2,
        "learning_rate": 1e-2,
        "hyperprior_learning_rate": 1e-2,
        "checkpoint_every": TOY_STEPS,
        "state_every": 1,
    },
    "data": {"crop": 64},
}
PATIENCE_S = 300
FIGURES = {
    "Fig. 4, kernel size": "selection-kernel/kernel-size.svg",
    "Fig. 5 (a), PSNR of the grid": "selection/rate-distortion.svg",
    "Fig. 5 (b), SSIM of the grid": "selection/ssim.svg",
    "Fig. 5 (c), spectral angle of the grid": "selection/spectral-angle.svg",
    "Fig. 6, BD-PSNR over S, M and N": "selection/bd-psnr-3d.svg",
    "table of the selection": "selection/selection.md",
    "Fig. 7 (a), HySpecNet-11k": "a/psnr_db-16.svg",
    "Fig. 7 (b), MLRetSet": "b/psnr_db-16.svg",
    "Fig. 8, true colour": "a/patch-*-true-colour.svg",
    "Fig. 9, spectra": "a/patch-*-spectra.svg",
    "Fig. 10, distribution at one λ": "a/distribution-*0.0001-λ-0.0001.svg",
    "table of the test set": "a/evaluation.json",
}
"""Files that the rehearsal ends with, below its folder of evaluations."""


@dataclass(frozen=True, slots=True)
class Folders:
    """Where the rehearsal writes.

    Attributes:
        out: everything.
    """

    out: Path

    @property
    def hyspecnet(self) -> Path:
        """HySpecNet-11k's root."""
        return self.out / "hyspecnet-11k"

    @property
    def mlretset(self) -> Path:
        """MLRetSet's root."""
        return self.out / "MLRetSet"

    @property
    def runs(self) -> Path:
        """Trained models."""
        return self.out / "runs"

    @property
    def evaluation(self) -> Path:
        """Evaluations and selections."""
        return self.out / "evaluation"


def main(argv: Sequence[str] | None = None) -> int:
    """Rehearse; 0 done, 1 failed with one line."""
    parser = argparse.ArgumentParser(prog="rehearsal", description="The paper's experiments, at toy size.")
    parser.add_argument(
        "--scenes", type=Path, metavar="DIR", help="folder of scenes to cut patches from (default: Indian Pines alone)"
    )
    parser.add_argument("--out", type=Path, default=Path("rehearsal"), metavar="DIR", help="(default: rehearsal)")
    arguments = parser.parse_args(argv)
    begun = time.perf_counter()
    folders = Folders(arguments.out)
    if arguments.out.exists():
        parser.error(f"{arguments.out} exists; remove it or name another --out")
    try:
        write_data_sets(folders, arguments.scenes)
        rehearse(folders)
    except (HyvicError, OSError) as error:
        print(f"rehearsal: {error}", file=sys.stderr)
        return 1
    return report(folders, time.perf_counter() - begun)


def write_data_sets(folders: Folders, scenes: Path | None) -> None:
    """Write both data sets in their published layouts."""
    import rasterio
    import scipy.io
    from rasterio import Affine

    wavelengths = np.array(json.loads((CONFIGS / "enmap-hyspecnet11k.json").read_text()))
    patches = patches_of(scenes, wavelengths, SIDE)
    splits = folders.hyspecnet / "splits" / "easy"
    splits.mkdir(parents=True)
    number = 0
    for part, count in HYSPECNET_PARTS.items():
        entries = []
        for _ in range(count):
            name = f"{TILE}-Y01460273_X{number:08d}"
            entries.append(f"{TILE}/{name}/{name}-DATA.npy")
            folder = folders.hyspecnet / "patches" / TILE / name
            folder.mkdir(parents=True)
            patch = np.moveaxis(next(patches), -1, 0)
            if number < HYSPECNET_ORIGINALS:
                original = np.full((ENMAP_BANDS, SIDE, SIDE), -32768, np.int16)
                original[np.array(KEPT_BANDS) - 1] = patch
                profile = {"driver": "GTiff", "count": ENMAP_BANDS, "height": SIDE, "width": SIDE, "dtype": "int16"}
                transform = Affine(30, 0, 300_000 + 30 * SIDE * number, 0, -30, 5_800_000)
                path = folder / f"{name}-SPECTRAL_IMAGE.TIF"
                with rasterio.open(path, "w", **profile, nodata=-32768, crs="EPSG:32633", transform=transform) as file:
                    file.write(original)
            else:
                np.save(folder / f"{name}-DATA.npy", (patch / 10_000).astype(np.float32))
            number += 1
        (splits / f"{part}.csv").write_text("".join(f"{entry}\n" for entry in entries))
    lines, samples, bands = STORED_SHAPE
    centres = np.linspace(400, 2450, bands)
    (folders.mlretset / "data").mkdir(parents=True)
    for number, patch in zip(range(MLRETSET_PATCHES), patches_of(scenes, centres, max(lines, samples)), strict=False):
        file = folders.mlretset / "data" / f"{number + 1:04d}_rehearsal.mat"
        scipy.io.savemat(file, {"cube": patch[:lines, :samples].astype(np.float64) / 10_000})


def patches_of(folder: Path | None, wavelengths: NDArray[np.float64], side: int) -> Iterator[NDArray[np.uint16]]:
    """Yield patches (side, side, band) without end, scene after scene, each time cut at another place.

    A scene that is smaller than a patch is continued by its mirror image. One without band centres is taken to sample
    400 to 2,500 nm evenly: good enough to rehearse with.
    """
    scenes = [load_indian_pines()] if folder is None else [read_scene(path) for path in sorted(folder.glob("*.npz"))]
    if not scenes:
        raise HyvicError(f"{folder} holds no .npz scene; name another --scenes, or none for Indian Pines")
    rng = np.random.default_rng(0)
    for scene in cycle(scenes):
        lines, samples, bands = scene.cube.shape
        centres = scene.wavelengths if scene.wavelengths is not None else np.linspace(400, 2500, bands)
        missing = [max(0, side - size) for size in (lines, samples)]
        cube = np.pad(scene.cube, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="symmetric")
        line, sample = (int(rng.integers(size - side + 1)) for size in cube.shape[:2])
        crop = Scene(cube=cube[line : line + side, sample : sample + side], wavelengths=np.asarray(centres))
        within = np.clip(wavelengths, centres.min(), centres.max())
        yield resample_bands(crop, within).cube.clip(1, 10_000).astype(np.uint16)


def rehearse(folders: Folders) -> None:
    """Run the commands of docs/reproduction.md on the toy data sets."""
    hyspecnet, mlretset, runs, evaluation = folders.hyspecnet, folders.mlretset, folders.runs, folders.evaluation
    grid = toy_config(folders, "grid-hyspecnet11k.yaml", TOY_WIDTHS)
    kernel = toy_config(folders, "ablation-kernel.yaml", TOY_WIDTHS[1:2])
    curve = toy_config(folders, "curve-mlretset.yaml", TOY_WIDTHS[-1:])
    train_interrupted("train-model", grid, "--data", hyspecnet, "--out", runs / "grid")
    again = ("train-model", grid, "--data", hyspecnet, "--out", runs / "grid", "--resume", "--only")
    at_once((*again, "spatial_stages=[012],*"), (*again, "spatial_stages=[34],*"))
    at_once(
        ("train-model", kernel, "--data", hyspecnet, "--out", runs / "kernel"),
        ("train-model", curve, "--data", mlretset, "--out", runs / "mlretset"),
    )

    final = name_of(spatial_stages=2, widths=TOY_WIDTHS[-1])
    chosen, bundle = runs / "grid" / f"{final},lmbda=0.0001", folders.out / "hyvic.bundle"
    command("export-engine", "--checkpoint", chosen, "--out", bundle)
    adaptive = folders.out / "adaptive.bundle"
    command("export-engine", "--checkpoint", "checkpoints/adaptive", "--out", adaptive)

    tested = ("--split", "test", "--out")
    all_runs, kernels = sorted((runs / "grid").iterdir()), sorted((runs / "kernel").iterdir())
    at_once(
        ("evaluate-model", *all_runs, "--data", hyspecnet, *tested, evaluation / "grid"),
        ("evaluate-model", *kernels, "--data", hyspecnet, *tested, evaluation / "kernel"),
    )
    command("evaluate-model", *sorted((runs / "mlretset").iterdir()), "--data", mlretset, *tested, evaluation / "b")
    shown = (bundle, adaptive, *sorted((runs / "grid").glob(f"{final},*")))
    command("evaluate-model", *shown, "--data", hyspecnet, *tested, evaluation / "a", "--show", "*")

    reference = foreign_curve(evaluation / "a", adaptive.name)
    picked = ("--evaluation", evaluation / "grid")
    command("select-model", *all_runs, *picked, "--reference", reference, "--out", evaluation / "selection")
    one = next(run for run in kernels if run.name.startswith("kernel_size=5"))
    picked = ("--evaluation", evaluation / "kernel")
    command("select-model", *kernels, *picked, "--reference", one, "--out", evaluation / "selection-kernel")


def toy_config(folders: Folders, name: str, widths: Sequence[tuple[int, int]]) -> Path:
    """Write a configuration over the real one, with toy widths and steps."""
    document: dict[str, Any] = {"base": str((CONFIGS / name).resolve()), **TOY}
    pairs = [{"model.latent_channels": m, "model.hyperlatent_channels": n} for m, n in widths]
    real = yaml.safe_load((CONFIGS / name).read_text())["sweep"]
    if "width" in real:
        document["sweep"] = {**real, "width": pairs}
    else:
        (pair,) = widths
        document["model"] = dict(zip(("latent_channels", "hyperlatent_channels"), pair, strict=True))
    path = folders.out / name
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def name_of(spatial_stages: int, widths: tuple[int, int]) -> str:
    """Name of the grid's runs of one model, without λ."""
    latent, hyperlatent = widths
    return f"spatial_stages={spatial_stages},latent_channels={latent},hyperlatent_channels={hyperlatent}"


def foreign_curve(evaluation: Path, codec: str) -> Path:
    """Write the curve of one codec of an evaluation as a paper would publish it: a CSV file."""
    document = json.loads((evaluation / "evaluation.json").read_text())
    (points,) = (entry["points"] for entry in document["codecs"] if entry["codec"] == codec)
    path = evaluation / f"{codec}.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("codec", "compression_ratio", "psnr_db", "bits_per_sample"))
        for point in points:
            writer.writerow((codec, point["compression_ratio"]["16"]["of_mean_rate"], point["psnr_db"]["mean"], 16))
    return path


def command(*words: str | Path) -> None:
    """Run a command as a user would, and say how long it took."""
    at_once(words)


def at_once(*commands: Sequence[str | Path]) -> None:
    """Run commands side by side, as the jobs of a cluster run, and say how long they took."""
    begun, running = time.perf_counter(), []
    for words in commands:
        typed = list(map(str, words))
        shown = typed if len(typed) < 16 else [*typed[:3], f"… {len(typed) - 10} more …", *typed[-7:]]
        print(f"$ {' '.join(shown)}", flush=True)
        # A thread each: two commands of two threads on two cores would wait for one another.
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        running.append(subprocess.Popen([executable(typed[0]), *typed[1:]], stdout=subprocess.DEVNULL, env=environment))
    statuses = [process.wait() for process in running]
    for words, status in zip(commands, statuses, strict=True):
        if status:
            raise HyvicError(f"{words[0]} failed with status {status}")
    print(f"  {time.perf_counter() - begun:.0f} s", flush=True)


def executable(name: str) -> Path:
    """Where the environment has a command."""
    return Path(sysconfig.get_path("scripts")) / name


def train_interrupted(*words: str | Path) -> None:
    """Begin a sweep, and press Ctrl-C when the first run is whole."""
    typed = list(map(str, words))
    out = Path(typed[-1])
    print(f"$ {shlex.join(typed)}    # interrupted", flush=True)
    running = subprocess.Popen(
        [executable(typed[0]), *typed[1:]], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + PATIENCE_S
    while not list(out.glob("*/model.safetensors")) and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    error = None
    while error is None:
        # More than once, because a process that a script starts in the background ignores Ctrl-C between two runs.
        running.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            _, error = running.communicate(timeout=3)
    if running.returncode != 130 or "--resume" not in error:
        raise HyvicError(f"an interrupted train-model ended with status {running.returncode}: {error.strip()[-300:]}")


def report(folders: Folders, seconds: float) -> int:
    """Print the file of every figure; 1 if one is missing."""
    missing = 0
    for figure, pattern in FIGURES.items():
        files = sorted(folders.evaluation.glob(pattern))
        missing += not files
        where = f"{files[0]}{f' and {len(files) - 1} more' if files[1:] else ''}" if files else f"MISSING: {pattern}"
        print(f"{figure:60} {where}")
    print(f"{seconds / 60:.1f} minutes in all; toy figures, which say nothing about the codec")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
