"""The training loop of the context model: bits of details, every rate counting alike.

Whatever a step draws at random is a function of the seed and the step, so a resumed run repeats what an uninterrupted
one would have done.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hyvic_runtime.families.adaptive.planes import Planes
from numpy.typing import NDArray
from torch import Tensor

from hyvic_train import checkpoint
from hyvic_train.checkpoint import RunState
from hyvic_train.data.data_set import SceneSplit
from hyvic_train.entropy_path_layer import Arithmetic
from hyvic_train.families.adaptive.coefficients import Bits, Rows
from hyvic_train.families.adaptive.config import AdaptiveTrainingConfig
from hyvic_train.families.adaptive.context_model import ContextModel
from hyvic_train.families.adaptive.samples import Samples
from hyvic_train.families.adaptive.validation import MeasuredStep, json_from_measured, mean_octaves, measure, rows_bits
from hyvic_train.run_log import SCALARS_EVERY, RunLog
from hyvic_train.training import cosine, interrupts, keep_freed_memory, refuse_divergence

_CALIBRATION_SAMPLES = 32
_LEAST_BITS = 2000
"""Of a crop that costs no more, the loss falls with its bits: what is all zeros teaches little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRate:
    """A gradient step's sample.

    Attributes:
        bits_per_coefficient: of the rows that it saw.
    """

    bits_per_coefficient: float


Report = Callable[[int, StepRate], None]


def train(
    config: AdaptiveTrainingConfig, scenes: SceneSplit, out: Path, *, resume: bool, report: Report
) -> tuple[ContextModel, tuple[MeasuredStep, ...]]:
    """Train to `config.optimisation.steps`; every checkpoint replaces the last one in `out`.

    Ctrl-C and kills as in `hyvic_train.training.train`.

    Args:
        config: the run.
        scenes: of any bands.
        out: folder of checkpoint and log.
        resume: continue from `out`.
        report: called with the steps done and the last one's rate.

    Returns:
        The model and its last validation.

    Raises:
        CheckpointError: nothing to resume from, or a run of another configuration.
        DivergedError: the loss is no longer finite; the last checkpoint stands.
    """
    optimisation = config.optimisation
    keep_freed_memory()
    torch.manual_seed(optimisation.seed)
    model = ContextModel(config.model)
    optimiser = torch.optim.Adam(model.parameters(), lr=optimisation.learning_rate)
    samples = Samples(scenes.training, config)
    state = RunState()
    measured: tuple[MeasuredStep, ...] = ()
    if resume:
        state = checkpoint.resume(out, config, model, [optimiser])
    else:
        checkpoint.save_state(out, model, config, [optimiser], state)  # a run that dies at once can be resumed
    begun, begun_at = time.monotonic(), state.step
    with RunLog(out, state.step) as log, interrupts() as interrupted:
        for step in range(state.step, optimisation.steps):
            model.train()
            rounded = step >= optimisation.steps - optimisation.integer_path_steps
            model.arithmetic = Arithmetic.ROUNDED if rounded else Arithmetic.REAL
            rate = _step(model, optimiser, samples, config, step)
            state = replace(state, step=step + 1)
            log.write({"step": state.step, **asdict(rate)})
            if state.step % SCALARS_EVERY == 0:
                steps_per_s = (state.step - begun_at) / (time.monotonic() - begun)
                curves = {
                    "training/bits per coefficient": rate.bits_per_coefficient,
                    "training/steps per second": steps_per_s,
                }
                log.show(state.step, curves)
            report(state.step, rate)
            validating = state.step % optimisation.checkpoint_every == 0 or state.step == optimisation.steps
            if validating:
                state, measured = _checkpoint(model, config, scenes, samples, out, state, log)
            stop = interrupted()
            if validating or stop or state.step % optimisation.state_every == 0:
                checkpoint.save_state(out, model, config, [optimiser], state)
            if stop:
                raise KeyboardInterrupt
    return model, measured or _measured(model, config, scenes)


def _step(
    model: ContextModel, optimiser: torch.optim.Adam, samples: Samples, config: AdaptiveTrainingConfig, step: int
) -> StepRate:
    optimisation = config.optimisation
    for group in optimiser.param_groups:
        group["lr"] = optimisation.learning_rate * cosine(step, optimisation.steps)
    as_encoder = step >= optimisation.steps - optimisation.encoder_steps
    sample = samples.of_step(step, encoder_bits(model) if as_encoder else None)
    bits = rows_bits(model, sample.rows).sum()
    of_crop = bits * sample.weight
    loss = of_crop / (of_crop.detach() + _LEAST_BITS)
    optimiser.zero_grad()
    torch.autograd.backward(loss)
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), optimisation.gradient_clip)
    refuse_divergence(step, loss, norm, "start anew with a lower learning rate")
    optimiser.step()
    return StepRate(bits_per_coefficient=bits.item() / len(sample.rows.values))


def encoder_bits(model: ContextModel) -> Bits:
    """Bits as an encoder counts them with the model as it is."""

    @torch.no_grad()
    def bits(rows: Rows, values: Planes) -> NDArray[np.float32]:
        return np.asarray(rows_bits(model, rows, values).numpy())

    return bits


def _checkpoint(
    model: ContextModel,
    config: AdaptiveTrainingConfig,
    scenes: SceneSplit,
    samples: Samples,
    out: Path,
    state: RunState,
    log: RunLog,
) -> tuple[RunState, tuple[MeasuredStep, ...]]:
    """Validate, and write the checkpoint and perhaps the best one."""
    tensors = checkpoint.weights(model) | _calibrated(model, samples)
    measured = _measured(model, config, scenes)
    document = json_from_measured(measured)
    for of in measured:
        for name, bits in of.scenes.items():
            entry: dict[str, Any] = {"scene": name, "quantiser_step": of.quantiser_step}
            log.write({"step": state.step, **entry, "detail_bits_per_sample": bits})
            log.show(state.step, {f"{name}/bits per sample, step {of.quantiser_step:g}": bits})
    log.flush()
    if scenes.validation:
        loss = mean_octaves(measured)
        if state.best_loss is None or loss < state.best_loss:
            state = replace(state, best_loss=loss)
            checkpoint.save_checkpoint(out / checkpoint.BEST, tensors, config, state.step, document)
    checkpoint.save_checkpoint(out, tensors, config, state.step, document)
    return state, measured


def _measured(model: ContextModel, config: AdaptiveTrainingConfig, scenes: SceneSplit) -> tuple[MeasuredStep, ...]:
    model.eval()
    model.arithmetic = Arithmetic.REAL
    return measure(model, scenes.validation, config.samples.components)


@torch.no_grad()
def _calibrated(model: ContextModel, samples: Samples) -> dict[str, Tensor]:
    """What the hidden layers reach on training scenes, for the exporter; the model stays as it is."""
    peaks = model.peaks
    before = {name: peak.clone() for name, peak in peaks.items()}
    for peak in peaks.values():
        peak.zero_()
    model.arithmetic = Arithmetic.OBSERVED
    for number in range(_CALIBRATION_SAMPLES):
        rows_bits(model, samples.for_calibration(number).rows)
    reached = {name: peak.clone() for name, peak in peaks.items()}
    for name, peak in peaks.items():
        peak.copy_(before[name])
    return reached
