"""`train-model`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from hyvic_runtime.command_line import Result, command_parser, run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Train a codec; 0 done, 1 failed with one line, 2 wrong usage, 130 interrupted."""
    config = "train/configs/hyvic-s-202.yaml"
    parser = command_parser(
        "train-model",
        "Train a HyVIC codec on hyperspectral scenes.",
        f"train-model {config} --data scenes/ --out runs/hyvic-s",
        f"train-model {config} --data scenes/ --out runs/hyvic-s --resume",
        f"train-model {config} --data scenes/ --out runs/low-rate --set optimisation.lmbda=1e-6",
    )
    parser.add_argument("config", type=Path, metavar="CONFIG.yaml")
    parser.add_argument("--data", type=Path, nargs="+", required=True, metavar="PATH", help="scene files or folders")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of checkpoint and log.jsonl")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a configuration key")
    return run_command(parser, argv, _train, extra="train")


def _train(arguments: argparse.Namespace) -> Result:
    from tqdm import tqdm

    from hyvic_train.checkpoint import CONFIG, RESUME, WEIGHTS, CheckpointError
    from hyvic_train.config import read_config
    from hyvic_train.data import read_split
    from hyvic_train.training import LOG, RateDistortion, evaluate, train

    config = read_config(arguments.config, arguments.set)
    present = [name for name in (CONFIG, RESUME, WEIGHTS, LOG) if (arguments.out / name).exists()]
    if present and not arguments.resume:
        raise CheckpointError(f"{arguments.out} already holds {present[0]}; pass --resume or another --out")
    scenes = read_split(arguments.data, config.data, config.model)
    begun = time.perf_counter()
    peak = config.model.peak
    with tqdm(total=config.optimisation.steps, unit="step", disable=None) as bar:

        def report(step: int, measured: RateDistortion) -> None:
            bar.update(step - bar.n)
            bar.set_postfix_str(f"{measured.rate_bpppb:.4f} bit/sample, {measured.psnr(peak):.2f} dB", refresh=False)

        try:
            model = train(config, scenes, arguments.out, resume=arguments.resume, report=report)
        except KeyboardInterrupt as error:
            resumable = (arguments.out / RESUME).exists()
            raise KeyboardInterrupt("continue with --resume" if resumable else "before a checkpoint") from error
    validation = {
        name: {"rate_bpppb": r.rate_bpppb, "psnr_db": r.psnr(peak)}
        for name, r in evaluate(model, scenes.validation).items()
    }
    result = {
        "checkpoint": str(arguments.out),
        "steps": config.optimisation.steps,
        "parameters": model.parameter_count(),
        "seconds": round(time.perf_counter() - begun, 1),
        "validation": validation,
    }
    lines = [f"{result['checkpoint']}: {result['parameters']:,} parameters, {result['steps']} steps"]
    lines += [f"  {n}: {f['rate_bpppb']:.4f} bit/sample, {f['psnr_db']:.2f} dB (unseen)" for n, f in validation.items()]
    return result, "\n".join(lines)
