"""`train-model`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from hyvic_runtime.command_line import Result, command_parser, run_command

if TYPE_CHECKING:
    from hyvic_train.config import RunConfig
    from hyvic_train.data.cubes import SceneSplit
    from hyvic_train.training_data import TrainingData
    from hyvic_train.training_loop import Run


def main(argv: Sequence[str] | None = None) -> int:
    """Train a codec; 0 done, 1 failed with one line, 2 wrong usage, 130 interrupted."""
    config = "train/configs/hyvic-s-202.yaml"
    parser = command_parser(
        "train-model",
        "Train a learned codec on hyperspectral scenes.",
        f"train-model {config} --data scenes/ --out runs/hyvic-s",
        f"train-model {config} --data scenes/ --out runs/hyvic-s --resume",
        f"train-model {config} --data scenes/ --out runs/one-rate --set model.rates=1 --set optimisation.lmbda=1e-4",
        "tensorboard --logdir runs/",
    )
    parser.add_argument("config", type=Path, metavar="CONFIG.yaml")
    parser.add_argument("--data", type=Path, nargs="+", required=True, metavar="PATH", help="scene files or folders")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder of checkpoint, log.jsonl and TensorBoard events"
    )
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="PATH",
        help="start from these: a checkpoint folder, which also says what it was trained on, .safetensors, or a "
        "CompressAI state_dict (of HyVIC, with --set model.hyperprior=compressai --set model.leaky_slope=0.01); with "
        "--set optimisation.steps=0 it is only measured and converted",
    )
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    parser.add_argument(
        "--devices", type=int, default=1, metavar="N", help="processes that share each batch (default: 1)"
    )
    parser.add_argument(
        "--only",
        action="append",
        metavar="NAME",
        help="train these runs of a sweep alone, such as one a job of a cluster; or a pattern: '*,lmbda=0.0001'",
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a configuration key")
    return run_command(parser, argv, _train, extra="train")


def _train(arguments: argparse.Namespace) -> Result:
    from lightning_fabric.utilities.rank_zero import rank_zero_only

    from hyvic_train.checkpoint import CONFIG, RESUME, TRAINING_DATA, WEIGHTS, CheckpointError
    from hyvic_train.config_file import read_sweep
    from hyvic_train.families.registry import FAMILIES
    from hyvic_train.run_log import LOG
    from hyvic_train.training_loop import Run

    if arguments.devices < 1:
        raise ValueError(f"--devices is {arguments.devices}; at least one is needed")
    sweep = read_sweep(arguments.config, arguments.set)
    for pattern in arguments.only or ():
        if not any(fnmatchcase(name, pattern) for name in sweep):
            raise ValueError(f"--only {pattern} names none of the {len(sweep)} runs: {'; '.join(sweep) or 'no sweep'}")
    configs = {
        arguments.out / name: config
        for name, config in sweep.items()
        if not arguments.only or any(fnmatchcase(name, pattern) for pattern in arguments.only)
    }
    runs = []
    for out, config in configs.items():
        # Runs of a sweep that were never begun are begun.
        resume = bool(arguments.resume and (out == arguments.out or (out / RESUME).exists()))
        run = Run(out=out, resume=resume, devices=arguments.devices, pretrained=arguments.weights)
        FAMILIES[config.model.family].check(config, run)
        if arguments.weights and arguments.resume and (out / RESUME).exists():
            raise ValueError(f"{out} is resumed with its own weights: leave out --weights")
        present = [name for name in (CONFIG, RESUME, TRAINING_DATA, WEIGHTS, LOG) if (out / name).exists()]
        if present and not arguments.resume:
            raise CheckpointError(f"{out} already holds {present[0]}; pass --resume or another --out")
        runs.append((config, run))
    finished = [_finished(arguments.data, config, run) for config, run in runs]
    if getattr(rank_zero_only, "rank", 0):
        raise SystemExit(0)  # the first of several processes speaks for all
    text = "\n".join(text for _, text in finished)
    if list(configs) == [arguments.out]:
        return finished[0]
    return {"runs": [result for result, _ in finished]}, text


def _finished(data: Sequence[Path], config: RunConfig, run: Run) -> Result:
    """Train one run, with a progress bar."""
    from tqdm import tqdm

    from hyvic_train.checkpoint import RESUME
    from hyvic_train.data.data_set import read_split
    from hyvic_train.families.registry import FAMILIES

    begun = time.perf_counter()
    scenes = read_split(data, config.data, config.model)
    with tqdm(desc=run.out.name, unit="step", disable=None) as bar:

        def report(step: int, steps: int, text: str) -> None:
            bar.total = steps
            bar.set_postfix_str(text, refresh=False)
            bar.update(step - bar.n)

        try:
            trained = FAMILIES[config.model.family].train(config, scenes, replace(run, report=report))
        except KeyboardInterrupt as error:
            resumable = (run.out / RESUME).exists()
            raise KeyboardInterrupt("continue with --resume" if resumable else "before a checkpoint") from error
    if trained.validation is None:
        return {}, ""  # the first process speaks
    parameters = sum(parameter.numel() for parameter in trained.model.parameters())
    result = {
        "checkpoint": str(run.out),
        "steps": trained.steps,
        "parameters": parameters,
        "seconds": round(time.perf_counter() - begun, 1),
        "validation": trained.validation.document["points"],
        "training_data": {
            "training": len(trained.data.training),
            "validation": len(trained.data.validation),
            "complete": trained.data.complete,
        },
    }
    lines = [f"{run.out}: {parameters:,} parameters, {trained.steps} steps", _read(scenes, trained.data)]
    return result, "\n  ".join([*lines, *trained.validation.summary])


def _read(scenes: SceneSplit, data: TrainingData) -> str:
    """Say how many of the scenes were read, and whether the weights may come from others."""
    from hyvic_train.checkpoint import TRAINING_DATA

    text = (
        f"read {len(data.training):,} different scenes to train on ({len(scenes.training):,} in this data set) and "
        f"{len(data.validation):,} to validate on ({len(scenes.validation):,}); {TRAINING_DATA} lists them"
    )
    if data.complete:
        return text
    return f"{text}, but the scenes that the weights or the run began with are unknown"
