"""Images a second of our training step beside the same model in a plain CompressAI training loop.

    python tests/benchmarks/bench_training.py [--runs 6] [--batch 16] [--json]

Both sides train the shipped configuration, with the paper's batches of 16, on the same crops, in processes of their
own and in turn, since memory settings are a process's. The plain loop is CompressAI's examples/train.py in essence:
float32, contiguous tensors, forward, loss, backward, clip, step, then the auxiliary loss's backward and step.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
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
        loss, _ = gradients(fabric, objective, model, scenes, config, 0)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=6, help="steps of each of three rounds a side")
    parser.add_argument("--batch", type=int, default=16, help="crops a step (default: 16)")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps(measure(arguments.side, arguments.runs, arguments.batch)))
        return
    speeds: dict[str, list[float]] = {side: [] for side in SIDES}
    for _ in range(3):
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
