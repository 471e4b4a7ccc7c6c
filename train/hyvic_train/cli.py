"""`train-model`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hyvic_runtime.command_line import Result, command_parser, run_command

if TYPE_CHECKING:
    from rich.progress import Progress

    from hyvic_train.config import TrainingConfig
    from hyvic_train.families.adaptive.config import AdaptiveTrainingConfig


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
        help="start from these: a checkpoint folder, .safetensors, or a CompressAI state_dict; with --set "
        "optimisation.steps=0 it is only measured and converted",
    )
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    parser.add_argument(
        "--devices", type=int, default=1, metavar="N", help="processes that share each batch (default: 1)"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a configuration key")
    return run_command(parser, argv, _train, extra="train")


def _train(arguments: argparse.Namespace) -> Result:
    from lightning_fabric.utilities.rank_zero import rank_zero_only

    from hyvic_train.checkpoint import CONFIG, RESUME, WEIGHTS, CheckpointError
    from hyvic_train.config_file import read_sweep
    from hyvic_train.families.adaptive.config import AdaptiveTrainingConfig
    from hyvic_train.run_log import LOG

    if arguments.devices < 1:
        raise ValueError(f"--devices is {arguments.devices}; at least one is needed")
    runs = {arguments.out / name: config for name, config in read_sweep(arguments.config, arguments.set).items()}
    for out, config in runs.items():
        if isinstance(config, AdaptiveTrainingConfig):
            _refuse_unused(arguments)
        elif not (config.optimisation.steps or config.optimisation.epochs or arguments.weights):
            raise ValueError("optimisation names neither steps nor epochs: name one, or --weights to convert")
        if arguments.weights and arguments.resume and (out / RESUME).exists():
            raise ValueError(f"{out} is resumed with its own weights: leave out --weights")
        present = [name for name in (CONFIG, RESUME, WEIGHTS, LOG) if (out / name).exists()]
        if present and not arguments.resume:
            raise CheckpointError(f"{out} already holds {present[0]}; pass --resume or another --out")
    finished = [
        _run_adaptive(arguments, config, out)
        if isinstance(config, AdaptiveTrainingConfig)
        else _run(arguments, config, out)
        for out, config in runs.items()
    ]
    if getattr(rank_zero_only, "rank", 0):
        raise SystemExit(0)  # the first of several processes speaks for all
    text = "\n".join(text for _, text in finished)
    if list(runs) == [arguments.out]:
        return finished[0]
    return {"runs": [result for result, _ in finished]}, text


def _refuse_unused(arguments: argparse.Namespace) -> None:
    """A context model trains in minutes on one core."""
    for option, used in (("--weights", arguments.weights), ("--devices", arguments.devices > 1)):
        if used:
            raise ValueError(f"{option} has no use with model.family adaptive; leave it out")


def _progress() -> Progress:
    """A bar on stderr where that is a terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[state]}"),
        console=console,
        disable=not console.is_terminal,
    )


@contextmanager
def _resumable(out: Path) -> Iterator[None]:
    """Say on Ctrl-C how to go on."""
    from hyvic_train.checkpoint import RESUME

    try:
        yield
    except KeyboardInterrupt as error:
        resumable = (out / RESUME).exists()
        raise KeyboardInterrupt("continue with --resume" if resumable else "before a checkpoint") from error


def _resumes(arguments: argparse.Namespace, out: Path) -> bool:
    """Whether a run is continued; of a sweep, runs that were never begun are begun."""
    from hyvic_train.checkpoint import RESUME

    return bool(arguments.resume and (out == arguments.out or (out / RESUME).exists()))


def _run_adaptive(arguments: argparse.Namespace, config: AdaptiveTrainingConfig, out: Path) -> Result:
    from hyvic_train.data.data_set import read_split
    from hyvic_train.families.adaptive.training import StepRate, train
    from hyvic_train.families.adaptive.validation import json_from_measured

    begun = time.perf_counter()
    scenes = read_split(arguments.data, config.data, config.model)
    with _progress() as progress:
        task = progress.add_task(out.name, total=config.optimisation.steps, state="")

        def report(step: int, rate: StepRate) -> None:
            progress.update(task, completed=step, state=f"{rate.bits_per_coefficient:.3f} bit a coefficient")

        with _resumable(out):
            model, measured = train(config, scenes, out, resume=_resumes(arguments, out), report=report)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    result = {
        "checkpoint": str(out),
        "steps": config.optimisation.steps,
        "parameters": parameters,
        "seconds": round(time.perf_counter() - begun, 1),
        "validation": json_from_measured(measured)["points"],
    }
    lines = [f"{out}: {parameters:,} parameters, {config.optimisation.steps} steps"]
    lines += [
        f"  {name}, step {of.quantiser_step:g}: {bits:.4f} bit of details a sample"
        for of in measured
        for name, bits in of.scenes.items()
    ]
    return result, "\n".join(lines)


def _run(arguments: argparse.Namespace, config: TrainingConfig, out: Path) -> Result:
    from hyvic_train.config import in_steps
    from hyvic_train.data.data_set import crops_per_epoch, read_split
    from hyvic_train.families.latent.objective import RateDistortion
    from hyvic_train.families.latent.training import train
    from hyvic_train.families.latent.validation import json_from_points, validate

    scenes = read_split(arguments.data, config.data, config.model)
    config = in_steps(config, crops_per_epoch(scenes.training, config.data))
    begun = time.perf_counter()
    peak, steps = config.model.peak, config.optimisation.steps
    with _progress() as progress:
        task = progress.add_task(out.name, total=steps, state="")
        since: list[float] = []

        def report(step: int, measured: RateDistortion) -> None:
            since.append(time.perf_counter())
            images_per_s = (len(since) - 1) * config.optimisation.batch_size / max(since[-1] - since[0], 1e-9)
            state = f"CR {measured.compression_ratio:.0f}, {measured.psnr(peak):.2f} dB, {images_per_s:.1f} images/s"
            progress.update(task, completed=step, state=state)

        with _resumable(out):
            model = train(
                config,
                scenes,
                out,
                resume=_resumes(arguments, out),
                report=report,
                devices=arguments.devices,
                pretrained=arguments.weights,
            )
    points = validate(model, scenes.validation, config.optimisation.lmbdas)
    result = {
        "checkpoint": str(out),
        "steps": steps,
        "parameters": model.parameter_count(),
        "seconds": round(time.perf_counter() - begun, 1),
        "validation": json_from_points(points, peak)["points"],
    }
    lines = [f"{result['checkpoint']}: {result['parameters']:,} parameters, {steps} steps"]
    lines += [
        f"  {name}, λ {point.lmbda:g}: {r.rate_bpppb:.4f} bit, CR {r.compression_ratio:.0f}, {r.psnr(peak):.2f} dB"
        for point in points
        for name, r in point.scenes.items()
    ]
    return result, "\n".join(lines)
