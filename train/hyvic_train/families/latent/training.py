"""The training loop: eq. 2 minimised by a main and an auxiliary Adam (seed paper, section IV-B).

On Lightning Fabric: one processor or many, float32 or mixed precision. Whatever a step draws at random (crops,
augmentation, quantisation noise) is a function of the seed and the step, so a resumed run repeats what an
uninterrupted one would have done, and several processes share the very batch that one would have seen.
"""

from __future__ import annotations

import ctypes
import logging
import math
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from hyvic_train import checkpoint
from hyvic_train.checkpoint import RunState
from hyvic_train.config import OptimisationConfig, TrainingConfig
from hyvic_train.data.data_set import ALONE, SceneSplit, Shard, crops
from hyvic_train.families.latent.codec_model import CodecModel, uniform_noise
from hyvic_train.families.latent.figures import rate_distortion_figure, reconstruction_figures
from hyvic_train.families.latent.klt import initialise, initialise_gains
from hyvic_train.families.latent.objective import Objective, RateDistortion, levels_of_step
from hyvic_train.families.latent.pretrained import load_pretrained
from hyvic_train.families.latent.validation import json_from_points, spread, validate, validation_loss, whole_cells
from hyvic_train.families.registry import model_from_config
from hyvic_train.run_log import CodecLog

_KLT_CROPS = 160
_CALIBRATION_SCENES = 64

logger = logging.getLogger(__name__)

Report = Callable[[int, RateDistortion], None]


class DivergedError(ValueError):
    """The loss or its gradient is no longer finite."""


def train(
    config: TrainingConfig,
    scenes: SceneSplit,
    out: Path,
    *,
    resume: bool,
    report: Report,
    devices: int = 1,
    pretrained: Path | None = None,
) -> CodecModel:
    """Train to `config.optimisation.steps`; every checkpoint replaces the last one in `out`.

    Ctrl-C ends the step and leaves a state to resume from; any other stop, even SIGKILL, loses at most the steps since
    the last state. `resume` continues with the losses that an uninterrupted run would have had.

    Args:
        config: the run.
        scenes: on the model's band grid.
        out: folder of checkpoint and log.
        resume: continue from `out`.
        report: called with the steps done and the last batch's mean rate and distortion, by the first process only.
        pretrained: weights to start from, in place of the KLT.
        devices: processes, one a processor or accelerator; they share each batch.

    Raises:
        CheckpointError: nothing to resume from, or a run of another configuration.
        DivergedError: the loss is no longer finite; the last checkpoint stands.
        ValueError: the batch cannot be shared evenly.
    """
    optimisation = config.optimisation
    Shard(processes=devices).slots(optimisation.batch_size)
    keep_freed_memory()
    strategy = "ddp" if devices > 1 else "auto"
    fabric = Fabric(devices=devices, strategy=strategy, precision=optimisation.precision)
    fabric.launch()

    torch.manual_seed(optimisation.seed)
    model = model_from_config(config.model)
    if pretrained is not None:
        initialise_gains(model, optimisation.lmbdas)
        load_pretrained(model, pretrained)
    elif not resume:
        tiles = batch(scenes, config, step=0, count=_KLT_CROPS)
        initialise(model, tiles, optimisation.klt_step, optimisation.lmbdas)
    model.use_channels_last()
    optimisers = make_optimisers(model, optimisation)
    objective, main, aux = fabric.setup(Objective(model, optimisation.lmbdas), *optimisers)
    first = fabric.is_global_zero
    state = RunState()
    if resume:  # now that the model is where it will be trained: the optimisers' moments follow it
        state = checkpoint.resume(out, config, model, optimisers)
        logger.info("resuming after step %d", state.step)
    elif first:
        checkpoint.save_state(out, model, config, optimisers, state)  # a run that dies at once can be resumed

    begun, begun_at = time.monotonic(), state.step
    with CodecLog(out, state.step, config.model.peak) if first else nullcontext() as log, interrupts() as interrupted:
        for step in range(state.step, optimisation.steps):
            model.integer_path = step >= optimisation.steps - optimisation.integer_path_steps
            loss, measured = gradients(fabric, objective, model, scenes, config, step)
            _update(main, aux, loss, step, optimisation)
            state = replace(state, step=step + 1)
            stop = _mean(fabric, torch.tensor(float(interrupted()))).item() > 0
            validating = state.step % optimisation.checkpoint_every == 0 or state.step == optimisation.steps
            if log is not None:
                images_per_s = (state.step - begun_at) * optimisation.batch_size / (time.monotonic() - begun)
                log.step(state.step, measured, images_per_s)
                report(state.step, measured)
                if validating:
                    state = _checkpoint(model, config, scenes, out, state, log)
                if validating or stop or state.step % optimisation.state_every == 0:
                    checkpoint.save_state(out, model, config, optimisers, state)
            if stop:
                raise KeyboardInterrupt
        if log is not None and optimisation.steps == 0:
            _checkpoint(model, config, scenes, out, state, log)
    fabric.barrier()
    return model


def make_optimisers(model: CodecModel, config: OptimisationConfig) -> tuple[torch.optim.Adam, torch.optim.Adam]:
    """Main and auxiliary Adam."""
    quantiles = model.entropy_bottleneck.quantiles
    transforms = list(model.transform_parameters())
    known = {id(p) for p in (*transforms, quantiles)}
    others = [p for p in model.parameters() if id(p) not in known]
    main = torch.optim.Adam(
        [
            {"params": transforms, "lr": config.learning_rate},
            {"params": others, "lr": config.hyperprior_learning_rate},
        ]
    )
    return main, torch.optim.Adam([quantiles], lr=config.aux_learning_rate)


def batch(scenes: SceneSplit, config: TrainingConfig, *, step: int, count: int, shard: Shard = ALONE) -> Tensor:
    """A process's crops of a step's `count`, (crop, band, line, sample)."""
    seed = config.optimisation.seed
    drawn = crops(scenes.training, count=count, config=config.data, seed=seed, step=step, shard=shard)
    return torch.from_numpy(drawn)


def gradients(
    fabric: Fabric, objective: Any, model: CodecModel, scenes: SceneSplit, config: TrainingConfig, step: int
) -> tuple[Tensor, RateDistortion]:
    """Gradients of a step, from this process's slice of its batch; with several processes they are averaged.

    Returns:
        The loss of the slice, and mean rate and distortion of the whole batch.
    """
    count, shard = config.optimisation.batch_size, Shard(rank=fabric.global_rank, processes=fabric.world_size)
    mine = shard.slots(count)
    x = batch(scenes, config, step=step, count=count, shard=shard).contiguous(memory_format=torch.channels_last)
    level = levels_of_step(step, count, config.model.rates)[mine]
    torch.manual_seed(hash((config.optimisation.seed, step)) & 0x7FFF_FFFF)
    model.noise = lambda like: uniform_noise((count, *like.shape[1:]), like.device)[mine]
    model.train()
    objective.zero_grad()
    loss, rate, mse = objective(fabric.to_device(x), fabric.to_device(level))
    fabric.backward(loss)
    mean_rate, mean_mse = _mean(fabric, torch.stack((rate.mean(), mse.mean()))).tolist()
    return loss.detach(), RateDistortion(rate_bpppb=mean_rate, mse=mean_mse)


def _mean(fabric: Fabric, values: Tensor) -> Tensor:
    """Over all processes."""
    mean = fabric.all_reduce(values)
    assert isinstance(mean, Tensor)
    return mean


def _update(main: Any, aux: Any, loss: Tensor, step: int, config: OptimisationConfig) -> None:
    decay = cosine(step, config.steps)
    rates = (config.learning_rate, config.hyperprior_learning_rate)
    for group, rate in zip(main.param_groups, rates, strict=True):
        group["lr"] = rate * decay
    parameters = [p for group in main.param_groups for p in group["params"]]
    norm = torch.nn.utils.clip_grad_norm_(parameters, config.gradient_clip)
    refuse_divergence(step, loss, norm, "start anew with a lower learning rate or a coarser klt_step")
    main.step()
    aux.step()


def cosine(step: int, steps: int) -> float:
    """Factor of the learning rate, from 1 to 0."""
    return 0.5 * (1 + math.cos(math.pi * step / steps))


def refuse_divergence(step: int, loss: Tensor, norm: Tensor, advice: str) -> None:
    """Raise DivergedError where the loss or its gradient's norm is not finite."""
    if not (torch.isfinite(loss) and torch.isfinite(norm)):
        raise DivergedError(
            f"step {step + 1} diverged (loss {loss.item():g}, gradient {norm.item():g}); the last checkpoint is whole: "
            f"{advice}"
        )


def _checkpoint(
    model: CodecModel, config: TrainingConfig, scenes: SceneSplit, out: Path, state: RunState, log: CodecLog
) -> RunState:
    """Validate, and write the checkpoint and perhaps the best one."""
    model.integer_path = False  # what is measured is what the checkpoint gives
    peak, lmbdas = config.model.peak, config.optimisation.lmbdas
    tensors = checkpoint.weights(model) | _calibrated(model, scenes)
    points = validate(model, scenes.validation, lmbdas)
    document = json_from_points(points, peak)
    figures = {}
    if scenes.validation:
        loss = validation_loss(points)
        level = len(lmbdas) // 2
        picture, spectra = reconstruction_figures(model, scenes.validation[0], level, config.data.wavelengths)
        figures = {
            "rate and distortion": rate_distortion_figure(points, peak),
            f"reconstruction, λ {lmbdas[level]:g}": picture,
            f"spectra, λ {lmbdas[level]:g}": spectra,
        }
        if state.best_loss is None or loss < state.best_loss:
            state = replace(state, best_loss=loss)
            checkpoint.save_checkpoint(out / checkpoint.BEST, tensors, config, state.step, document)
    checkpoint.save_checkpoint(out, tensors, config, state.step, document)
    log.validation(state.step, points, figures)
    return state


def _calibrated(model: CodecModel, scenes: SceneSplit) -> dict[str, Tensor]:
    """What the entropy path reaches on training scenes, for the exporter; the model stays as it is."""
    peaks = model.peaks
    before = {name: peak.clone() for name, peak in peaks.items()}
    for peak in peaks.values():
        peak.zero_()
    for scene in spread(scenes.training, _CALIBRATION_SCENES):
        model.calibrate(whole_cells(scene.cube, model.config.cell).to(model.device))
    reached = {name: peak.clone() for name, peak in peaks.items()}
    for name, peak in peaks.items():
        peak.copy_(before[name])
    return reached


@contextmanager
def interrupts() -> Iterator[Callable[[], bool]]:
    """Ctrl-C waits for the end of the step, so that a state never holds half of one; a second one does not."""
    received: list[int] = []

    def receive(signal_number: int, frame: object) -> None:
        received.append(signal_number)
        signal.signal(signal.SIGINT, previous)

    try:
        previous = signal.signal(signal.SIGINT, receive)
    except ValueError:  # not in the main thread, where no Ctrl-C arrives
        yield lambda: False
        return
    try:
        yield lambda: bool(received)
    finally:
        signal.signal(signal.SIGINT, previous)


def keep_freed_memory() -> None:
    """Let glibc keep the memory of freed tensors for the next ones.

    By default it maps every large tensor anew, and the page faults of a step take longer than its convolutions
    (tests/benchmarks/bench_training.py).
    """
    M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
        if mallopt is not None:
            mallopt(M_MMAP_MAX, 0)
            mallopt(M_TRIM_THRESHOLD, -1)
