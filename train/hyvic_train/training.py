"""The training loop: eq. 2 minimised by a main and an auxiliary Adam (seed paper, section IV-B)."""

from __future__ import annotations

import json
import logging
import math
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from hyvic_train import checkpoint
from hyvic_train.config import OptimisationConfig, TrainingConfig
from hyvic_train.data import NamedCube, SceneSplit, crops
from hyvic_train.hyvic import HyVIC, HyVICOutput
from hyvic_train.klt import initialise

LOG = "log.jsonl"
_KLT_CROPS = 160

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RateDistortion:
    """What eq. 2 weighs.

    Attributes:
        rate_bpppb: estimated bits per pixel per band.
        mse: mean squared error in squared digital numbers.
    """

    rate_bpppb: float
    mse: float

    def psnr(self, peak: float) -> float:
        """Eq. 5, in dB."""
        return 10 * math.log10(peak**2 / self.mse)


def rate_distortion_loss(output: HyVICOutput, x: Tensor, lmbda: float) -> tuple[Tensor, RateDistortion]:
    """Eq. 2: bits per sample + λ · mean squared error in squared digital numbers."""
    rate = output.bits() / x.numel()
    mse = torch.mean((x - output.reconstruction) ** 2)
    return rate + lmbda * mse, RateDistortion(rate_bpppb=float(rate.detach()), mse=float(mse.detach()))


def train(
    config: TrainingConfig,
    scenes: SceneSplit,
    out: Path,
    *,
    resume: bool,
    report: Callable[[int, RateDistortion], None],
) -> HyVIC:
    """Train to `config.optimisation.steps`; every checkpoint replaces the last one in `out`.

    Ctrl-C ends the step and writes a checkpoint; any other stop, even SIGKILL, loses at most the steps since the last
    one. `resume` continues with the losses that an uninterrupted run would have had.

    Args:
        config: the run.
        scenes: on the model's band grid.
        out: folder of checkpoint and log.
        resume: continue from `out`.
        report: called with the steps done and the last batch's rate and distortion.

    Raises:
        CheckpointError: nothing to resume from, or a run of another configuration.
        DivergedError: the loss is no longer finite; the last checkpoint stands.
    """
    optimisation = config.optimisation
    torch.manual_seed(optimisation.seed)
    model = HyVIC(config.model)
    main, aux = _optimisers(model, optimisation)
    start = 0
    if resume:
        start = checkpoint.resume(out, config, model, (main, aux))
        logger.info("resuming after step %d", start)
    else:
        initialise(model, _batch(scenes, config, step=0, count=_KLT_CROPS), optimisation.klt_step)
    out.mkdir(parents=True, exist_ok=True)
    log_path = out / LOG
    _keep_log_until(log_path, start)
    with log_path.open("a", encoding="utf-8") as log, _interrupts_deferred() as interrupted:
        for step in range(start, optimisation.steps):
            measured = _step(model, main, aux, _batch(scenes, config, step=step), optimisation, step)
            done = step + 1
            log.write(json.dumps({"step": done, **asdict(measured)}) + "\n")
            report(done, measured)
            if interrupted() or done % optimisation.checkpoint_every == 0 or done == optimisation.steps:
                _checkpoint(model, config, scenes, out, (main, aux), done)
                for name, result in evaluate(model, scenes.validation).items():
                    log.write(json.dumps({"step": done, "scene": name, **asdict(result)}) + "\n")
                log.flush()
            if interrupted():
                raise KeyboardInterrupt
    return model


class DivergedError(ValueError):
    """The loss or its gradient is no longer finite."""


@contextmanager
def _interrupts_deferred() -> Iterator[Callable[[], bool]]:
    """Ctrl-C waits for the end of the step, so that a checkpoint never holds half of one; a second one does not."""
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


def _keep_log_until(path: Path, step: int) -> None:
    """Drop entries beyond the step that is resumed from, so that no step is logged twice."""
    if path.exists():
        lines = path.read_text(encoding="utf-8").splitlines()
        # A killed run may have left half a line.
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
        path.write_text("".join(line + "\n" for line in kept), encoding="utf-8")


def _batch(scenes: SceneSplit, config: TrainingConfig, *, step: int, count: int | None = None) -> Tensor:
    optimisation = config.optimisation
    return torch.from_numpy(
        crops(
            scenes.training,
            count=optimisation.batch_size if count is None else count,
            config=config.data,
            seed=optimisation.seed,
            step=step,
        )
    )


def _optimisers(model: HyVIC, config: OptimisationConfig) -> tuple[torch.optim.Adam, torch.optim.Adam]:
    prior = model.entropy_bottleneck
    quantiles = prior.quantiles
    hyperprior = [*model.h_a.parameters(), *model.h_s.parameters()]
    hyperprior += [p for p in prior.parameters() if p is not quantiles]
    main = torch.optim.Adam(
        [
            {"params": [*model.g_a.parameters(), *model.g_s.parameters()], "lr": config.learning_rate},
            {"params": hyperprior, "lr": config.hyperprior_learning_rate},
        ]
    )
    return main, torch.optim.Adam([quantiles], lr=config.aux_learning_rate)


def _step(
    model: HyVIC,
    main: torch.optim.Adam,
    aux: torch.optim.Adam,
    x: Tensor,
    config: OptimisationConfig,
    step: int,
) -> RateDistortion:
    # The quantisation noise is a function of (seed, step), like the batch: a resumed run repeats it.
    torch.manual_seed(hash((config.seed, step)) & 0x7FFF_FFFF)
    decay = 0.5 * (1 + math.cos(math.pi * step / config.steps))
    rates = (config.learning_rate, config.hyperprior_learning_rate)
    for group, rate in zip(main.param_groups, rates, strict=True):
        group["lr"] = rate * decay
    model.train()
    main.zero_grad()
    aux.zero_grad()
    loss, measured = rate_distortion_loss(model(x), x, config.lmbda)
    torch.autograd.backward(loss)
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.gradient_clip)
    if not (torch.isfinite(loss) and torch.isfinite(norm)):
        raise DivergedError(
            f"step {step + 1} diverged (loss {loss.item():g}, gradient {norm.item():g}); the last checkpoint is whole: "
            "start anew with a lower learning rate or a coarser klt_step"
        )
    main.step()
    torch.autograd.backward(model.aux_loss())
    aux.step()
    return measured


def _checkpoint(
    model: HyVIC,
    config: TrainingConfig,
    scenes: SceneSplit,
    out: Path,
    optimisers: tuple[torch.optim.Adam, ...],
    step: int,
) -> None:
    model.eval()
    model.hidden_peak_0.zero_()
    model.hidden_peak_1.zero_()
    for scene in scenes.training:
        model.calibrate(_whole_cells(scene.cube, config.model.hyper_stride))
    checkpoint.save_checkpoint(out, model, config, optimisers, step)


@torch.no_grad()
def evaluate(model: HyVIC, scenes: tuple[NamedCube, ...]) -> dict[str, RateDistortion]:
    """Rate and distortion with real rounding, over the part of each scene that whole cells cover."""
    model.eval()
    results = {}
    for scene in scenes:
        x = _whole_cells(scene.cube, model.config.hyper_stride)
        _, results[scene.name] = rate_distortion_loss(model(x), x, 1.0)
    return results


def _whole_cells(cube: object, stride: int) -> Tensor:
    x = torch.as_tensor(cube)[None]
    return x[..., : x.shape[-2] // stride * stride, : x.shape[-1] // stride * stride]
