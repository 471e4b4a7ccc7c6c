"""The training loop of every family: steps, checkpoints, states to resume from, log and progress.

    prepare(n) ─▶ batch                           ahead of the step, in threads
    step(n, batch) ─▶ StepReport ─▶ log, progress every step
    validate() ─▶ Validation ─▶ checkpoint, best  every `checkpoint_every` steps and after the last
    model, optimisers ─▶ state to resume from     every `state_every` steps, at checkpoints, on Ctrl-C and SIGTERM

A family makes everything that a step draws at random a function of the seed and the step. So a resumed run repeats an
uninterrupted one.
"""

from __future__ import annotations

import ctypes
import math
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from hyvic_runtime.support.ordered_map import ordered_map
from torch import Tensor, nn

from hyvic_train import checkpoint
from hyvic_train.checkpoint import RunState
from hyvic_train.config import Optimisation, RunConfig
from hyvic_train.data.cubes import SceneSplit
from hyvic_train.run_log import RunLog, StepReport, Validation
from hyvic_train.training_data import TrainingData

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Batch = TypeVar("Batch")


class DivergedError(ValueError):
    """The loss or its gradient is no longer finite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Options of one run, beside its configuration.

    Attributes:
        out: folder of checkpoint and log.
        resume: whether to continue from `out`.
        report: called after every step with the steps done, all steps and a short text, by the first process only.
        devices: number of processes, one a processor or accelerator; they share each batch.
        pretrained: weights to start from; None: the family's own start.
    """

    out: Path
    resume: bool = False
    report: Callable[[int, int, str], None] = lambda step, steps, text: None
    devices: int = 1
    pretrained: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """Result of a run.

    Attributes:
        model: the trained model.
        steps: number of gradient steps of the whole run.
        validation: its last validation; None in every process but the first, which measures for all.
        data: scenes that the weights come from.
    """

    model: nn.Module
    steps: int
    validation: Validation | None
    data: TrainingData


def loop(
    step: Callable[[int, Batch], StepReport],
    validate: Callable[[], Validation],
    *,
    prepare: Callable[[int], Batch],
    run: Run,
    config: RunConfig,
    model: nn.Module,
    scenes: SceneSplit,
    optimisers: Sequence[torch.optim.Optimizer],
    unit: str = "steps",
    units: int = 1,
    fabric: Fabric | None = None,
) -> Trained:
    """Train to `config.optimisation.steps`; every checkpoint replaces the last one in `run.out`.

    Ctrl-C and SIGTERM end the step and leave a state to resume from. Any other stop, even SIGKILL, loses at most the
    steps since the last state.

    Args:
        step: does one gradient step, given the number of steps done before and what `prepare` made of this number.
        validate: measures the model.
        prepare: makes the data of a step; see `prepared`.
        run: options of the run.
        config: configuration of the run, stored with every checkpoint and state.
        model: where it will be trained: the optimisers' moments follow its parameters.
        scenes: scenes that `prepare` and `validate` read. Every checkpoint lists those read, some of them ahead of
            their step.
        optimisers: optimisers of `model`; their states are kept.
        unit: name of what the speed counts.
        units: number of units of a step.
        fabric: Fabric of several processes; None: there is one process.

    Raises:
        CheckpointError: nothing to resume from, or a run of another configuration.
        DivergedError: the loss is no longer finite; the last checkpoint stands.
    """
    keep_freed_memory()
    steps, out = config.optimisation.steps, run.out
    first = fabric is None or fabric.is_global_zero
    validation = None
    state = RunState() if run.pretrained is None else RunState(data=checkpoint.training_data_of(run.pretrained))
    if run.resume:
        state = checkpoint.resume(out, config, model, optimisers)
    elif first:
        checkpoint.save_state(out, model, config, optimisers, state)  # a run that dies at once can be resumed
    begun, begun_at = time.monotonic(), state.step
    with ExitStack() as stack:
        log = stack.enter_context(closing(RunLog(out, state.step))) if first else None
        interrupted = stack.enter_context(_interrupts())
        numbers = range(state.step, steps)
        batches = stack.enter_context(closing(prepared(prepare, numbers, config.data.workers)))
        for done, batch in zip(numbers, batches, strict=True):
            report = step(done, batch)
            state = replace(state, step=done + 1)
            last = state.step % config.optimisation.checkpoint_every == 0 or state.step == steps
            if log is not None:
                speed = (state.step - begun_at) * units / (time.monotonic() - begun)
                log.step(state.step, report, {f"training/{unit} per second": speed})
                run.report(state.step, steps, f"{report.text}, {speed:.1f} {unit}/s")
                if last:
                    validation = validate()
            stop = _in_any_process(fabric, interrupted())
            if last or stop or state.step % config.optimisation.state_every == 0:
                state = replace(state, data=state.data.joined(_read_so_far(scenes, fabric)))
                if log is not None:
                    state = _checkpoint(validation, config, out, state, log) if last and validation else state
                    checkpoint.save_state(out, model, config, optimisers, state)
            if stop:
                raise KeyboardInterrupt
        if steps == 0:
            validation = validate() if first else None
            state = replace(state, data=state.data.joined(_read_so_far(scenes, fabric)))
            if log is not None and validation is not None:
                _checkpoint(validation, config, out, state, log)
    if first and validation is None:  # a run resumed after its last step
        validation = validate()
    if fabric is not None:
        fabric.barrier()
    return Trained(model=model, steps=steps, validation=validation, data=state.data)


def prepared(prepare: Callable[[int], Batch], steps: range, workers: int) -> Generator[Batch]:
    """Yield the data of every step, in order; an error of a step is raised in its turn.

    Args:
        prepare: makes the data of a step from its number; it needs no result of the steps before.
        steps: numbers of the steps.
        workers: number of threads that prepare steps ahead, each the whole data of a step; 0: nothing is ahead.
    """
    yield from ordered_map(prepare, steps, workers) if workers else map(prepare, steps)


def cosine(step: int, steps: int) -> float:
    """Return the share of the learning rate that is left: 1 at the first step, a cosine to 0 after the last."""
    return 0.5 * (1 + math.cos(math.pi * step / steps))


def descend(
    optimiser: Any, rates: Sequence[float], loss: Tensor, step: int, optimisation: Optimisation, advice: str
) -> None:
    """Do one step of an optimiser whose gradients are there.

    Args:
        optimiser: main optimiser.
        rates: learning rates of its groups.
        loss: loss of the step.
        step: number of steps done before.
        optimisation: gives the bound of the gradient's norm in each group.
        advice: what to do after a divergence.

    Raises:
        DivergedError: the loss or its gradient's norm is not finite.
    """
    bound = math.inf if optimisation.gradient_clip is None else optimisation.gradient_clip
    norms = []
    for group, rate in zip(optimiser.param_groups, rates, strict=True):
        group["lr"] = rate
        norms.append(torch.nn.utils.clip_grad_norm_(group["params"], bound))
    norm = torch.linalg.vector_norm(torch.stack(norms))
    if not (torch.isfinite(loss) and torch.isfinite(norm)):
        raise DivergedError(
            f"step {step + 1} diverged (loss {loss.item():g}, gradient {norm.item():g}); the last checkpoint is whole: "
            f"{advice}"
        )
    optimiser.step()


def _checkpoint(validation: Validation, config: RunConfig, out: Path, state: RunState, log: RunLog) -> RunState:
    """Write the checkpoint, also as the best one if it is, and log its validation."""
    loss = validation.loss
    folders = [out]
    if loss is not None and (state.best_loss is None or loss < state.best_loss):
        state = replace(state, best_loss=loss)
        folders = [out / checkpoint.BEST, out]
    for folder in folders:
        checkpoint.save_checkpoint(folder, validation.tensors, config, state.step, validation.document, state.data)
    log.validation(state.step, validation)
    return state


def _read_so_far(scenes: SceneSplit, fabric: Fabric | None) -> TrainingData:
    """Return the scenes that any process has read; every process reads its share of each batch."""
    mine = scenes.read_so_far()
    if fabric is None or fabric.world_size == 1:
        return mine
    shares: list[TrainingData] = [mine] * fabric.world_size
    torch.distributed.all_gather_object(shares, mine)
    return reduce(TrainingData.joined, shares)


def _in_any_process(fabric: Fabric | None, yes: bool) -> bool:
    """Whether one of all processes says yes."""
    if fabric is None:
        return yes
    mean = fabric.all_reduce(torch.tensor(float(yes)))
    assert isinstance(mean, Tensor)
    return mean.item() > 0


@contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Let Ctrl-C and SIGTERM wait for the end of the step, so that a state never holds half of one.

    A second one does not wait.
    """
    received: list[int] = []
    previous: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def receive(signal_number: int, frame: object) -> None:
        received.append(signal_number)
        signal.signal(signal_number, previous[signal_number])

    try:
        for number in previous:
            signal.signal(number, receive)
    except ValueError:  # not in the main thread, where no signal arrives
        yield lambda: False
        return
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


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
