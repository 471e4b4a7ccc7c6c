"""Images a second of our training step beside the same model in a plain CompressAI training loop.

    python tests/benchmarks/bench_training.py [--runs 6] [--batch 16] [--json]
    python tests/benchmarks/bench_training.py --waiting [--data PATH ...] [--config CONFIG.yaml] [--set KEY=VALUE]

Both sides train the shipped configuration, with the paper's batches of 16, on the same crops, in processes of their
own and in turn, since memory settings are a process's. The plain loop is CompressAI's examples/train.py in essence:
float32, contiguous tensors, forward, loss, backward, clip, step, then the auxiliary loss's backward and step.

With --waiting: the share of a step's wall time that passes until its batch is there, without workers and with the
default number of workers, on the scenes of --data or on a synthetic HySpecNet-11k. The synthetic patches stay in the
system's file cache, as far as memory suffices.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

warnings.simplefilter("ignore", FutureWarning)

WARM_UP = 3
CONFIG = Path(__file__).parents[2] / "train" / "configs" / "hyvic-s-202.yaml"
SIDES = ("plain", "float32", "bf16")
PATCHES = 24
HYSPECNET = (
    "data.dataset=hyspecnet-11k",
    "data.validation=[]",
    "data.source_wavelengths={}",
    "data.crop=128",
    "optimisation.batch_size=16",
)
sys.path.insert(0, str(Path(__file__).parents[1] / "support"))


def step_of(side: str, count: int) -> Callable[[], object]:
    """A training step on `count` crops."""
    import torch
    from hyvic_compare.indian_pines import load_indian_pines
    from hyvic_runtime.scene.scene import resample_bands
    from hyvic_train.config_file import read_sweep
    from hyvic_train.data.cubes import SceneSplit, TrainingCube
    from hyvic_train.data.scene_folder import ScenePixels
    from hyvic_train.families.latent.hyvic import HyVIC
    from hyvic_train.families.latent.klt import initialise
    from hyvic_train.families.latent.objective import Objective
    from hyvic_train.families.latent.training import batch, gradients, make_optimisers, update
    from hyvic_train.training_loop import keep_freed_memory
    from lightning_fabric import Fabric

    precision = "bf16-mixed" if side == "bf16" else "32-true"
    overrides = [f"optimisation.precision={precision}", f"optimisation.batch_size={count}", "data.wavelengths=null"]
    config: Any = read_sweep(CONFIG, overrides)[""]
    wavelengths = read_sweep(CONFIG)[""].data.wavelengths
    pines = resample_bands(load_indian_pines(), np.array(wavelengths))
    pixels = ScenePixels(held=pines.cube, mean=None, missing=None)
    cube = TrainingCube(name="pines", size=pines.cube.shape[:2], pixels=pines.cube[..., 0].size, source=pixels)
    scenes = SceneSplit(training=(cube,), validation=())
    optimisation = config.optimisation

    torch.manual_seed(0)
    model = HyVIC(config.model)
    initialise(model, lambda: [batch(scenes, config, step=0, count=32)], 700, optimisation.lmbdas)
    optimisers = make_optimisers(model, optimisation)
    if side == "plain":
        main, aux = optimisers
        lmbda = torch.tensor(optimisation.lmbdas)
        level = torch.arange(count) % config.model.rates

        def plain() -> None:
            x = batch(scenes, config, step=0, count=count)
            main.zero_grad()
            aux.zero_grad()
            output = model(x, level.float())
            rate = output.bits() / x[0].numel()
            mse = ((x - output.reconstruction) ** 2).mean(dim=(1, 2, 3))
            torch.autograd.backward((rate + lmbda[level] * mse).mean())
            torch.nn.utils.clip_grad_norm_(model.parameters(), optimisation.gradient_clip)
            main.step()
            torch.autograd.backward(model.aux_loss())
            aux.step()

        model.train()
        return plain

    keep_freed_memory()
    model.to(memory_format=torch.channels_last)
    fabric = Fabric(devices=1, precision=optimisation.precision)
    objective, main_, aux_ = fabric.setup(Objective(model, optimisation.lmbdas), *optimisers)

    def ours() -> None:
        loss, _ = gradients(fabric, objective, model, batch(scenes, config, step=0, count=count), config, 0)
        update(main_, aux_, loss, 0, optimisation)

    return ours


def measure(side: str, runs: int, count: int) -> list[float]:
    """Images a second, run by run."""
    step = step_of(side, count)
    speeds = []
    for run in range(runs + WARM_UP):
        begun = time.perf_counter()
        step()
        if run >= WARM_UP:
            speeds.append(count / (time.perf_counter() - begun))
    return speeds


def waiting(config_path: Path, data: list[Path], overrides: list[str], runs: int) -> dict[str, Any]:
    """Seconds of every step, those spent waiting for its batch, and the process's peak memory."""
    import torch
    from hyvic_train.config_file import read_sweep
    from hyvic_train.data.data_set import read_split
    from hyvic_train.families.latent.checkpoint import model_from_config
    from hyvic_train.families.latent.klt import initialise_gains
    from hyvic_train.families.latent.objective import Objective
    from hyvic_train.families.latent.training import batch, gradients, make_optimisers, update
    from hyvic_train.training_loop import keep_freed_memory, prepared
    from lightning_fabric import Fabric

    config: Any = read_sweep(config_path, overrides)[""]
    optimisation = config.optimisation
    scenes = read_split(data, config.data, config.model)
    keep_freed_memory()
    torch.manual_seed(0)
    model = model_from_config(config.model)
    initialise_gains(model, optimisation.lmbdas)
    model.use_channels_last()
    fabric = Fabric(devices=1, precision=optimisation.precision)
    optimisers = make_optimisers(model, optimisation)
    objective, main_, aux = fabric.setup(Objective(model, optimisation.lmbdas), *optimisers)
    steps = range(runs + WARM_UP)
    batches = prepared(
        lambda step: batch(scenes, config, step=step, count=optimisation.batch_size), steps, config.data.workers
    )
    waits, walls = [], []
    for step in steps:
        begun = time.perf_counter()
        x = next(batches)
        waits.append(time.perf_counter() - begun)
        loss, _ = gradients(fabric, objective, model, x, config, step)
        update(main_, aux, loss, step, optimisation)
        walls.append(time.perf_counter() - begun)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"wait_s": waits[WARM_UP:], "step_s": walls[WARM_UP:], "peak_gib": peak}


def write_hyspecnet(root: Path, patches: int) -> None:
    """A HySpecNet-11k of synthetic patches."""
    from hyspecnet_folder import patch_entry, write_splits
    from scenes import smooth_cube

    for number in range(patches):
        path = root / "patches" / patch_entry(number)
        path.parent.mkdir(parents=True)
        cube = np.moveaxis(smooth_cube(128, 128, 202, number), -1, 0)
        np.save(path, cube.astype(np.float32) / np.float32(10_000))
    write_splits(root, train=[patch_entry(number) for number in range(patches - 1)], val=[patch_entry(patches - 1)])


def report_waiting(arguments: argparse.Namespace) -> None:
    """Measure both numbers of workers in processes of their own, in turn, and print."""
    from hyvic_train.config import DataConfig

    overrides, data = arguments.set, arguments.data
    with tempfile.TemporaryDirectory() as folder:
        if not data:
            write_hyspecnet(Path(folder), PATCHES)
            data = [Path(folder)]
            overrides = [*HYSPECNET, *overrides]
        found: dict[int, list[dict[str, Any]]] = {0: [], DataConfig().workers: []}
        for _ in range(arguments.rounds):
            for workers, results in found.items():
                command = [sys.executable, __file__, "--one"]
                command += ["--runs", str(arguments.runs), "--config", str(arguments.config), "--data", *map(str, data)]
                for override in [*overrides, f"data.workers={workers}"]:
                    command += ["--set", override]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                results.append(json.loads(done.stdout.splitlines()[-1]))
    if arguments.json:
        print(json.dumps(found))
        return
    print("workers: share of wall time that waits for data; a step, median (min … max); peak memory")
    for workers, results in found.items():
        waits = [wait for result in results for wait in result["wait_s"]]
        walls = [wall for result in results for wall in result["step_s"]]
        peak = max(result["peak_gib"] for result in results)
        print(
            f"  {workers:2d}: {sum(waits) / sum(walls):6.2%}   {statistics.median(walls):.2f} s "
            f"({min(walls):.2f} … {max(walls):.2f})   {peak:.2f} GiB"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=6, help="steps of a round (default: 6)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each side, in turn (default: 3)")
    parser.add_argument("--batch", type=int, default=16, help="crops a step (default: 16)")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--waiting", action="store_true", help="measure how long steps wait for their data")
    parser.add_argument("--data", type=Path, nargs="+", default=[], help="with --waiting (default: synthetic patches)")
    parser.add_argument("--config", type=Path, default=CONFIG, help="with --waiting")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="with --waiting")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(waiting(arguments.config, arguments.data, arguments.set, arguments.runs)))
        return
    if arguments.waiting:
        report_waiting(arguments)
        return
    if arguments.side:
        print(json.dumps(measure(arguments.side, arguments.runs, arguments.batch)))
        return
    speeds: dict[str, list[float]] = {side: [] for side in SIDES}
    for _ in range(arguments.rounds):
        for side in SIDES:
            command = [sys.executable, __file__, "--side", side, "--runs", str(arguments.runs)]
            command += ["--batch", str(arguments.batch)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            speeds[side] += json.loads(done.stdout.splitlines()[-1])
    medians = {side: statistics.median(values) for side, values in speeds.items()}
    if arguments.json:
        print(json.dumps({"images_per_s": speeds, "over_plain": {s: m / medians["plain"] for s, m in medians.items()}}))
        return
    print(
        f"batches of {arguments.batch} crops of 64 × 64 × 202; images a second, median (min … max); over the plain loop"
    )
    for side, values in speeds.items():
        ratio = medians[side] / medians["plain"]
        print(f"  {side:<8} {medians[side]:6.1f}   ({min(values):.1f} … {max(values):.1f})   {ratio:.2f} ×")


if __name__ == "__main__":
    main()
