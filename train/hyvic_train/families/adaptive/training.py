"""Training of the context model: the loss is bits of wavelet details, and every rate counts the same.

All random draws of a step are a function of the seed and the step, so a resumed run repeats an uninterrupted one.
"""

from __future__ import annotations

import numpy as np
import torch
from hyvic_runtime.families.adaptive.planes import Planes
from numpy.typing import NDArray

from hyvic_train.checkpoint import weights
from hyvic_train.data.cubes import SceneSplit
from hyvic_train.data.measured import SINGLE_SCENES
from hyvic_train.entropy_path_layer import Arithmetic, reached_peaks
from hyvic_train.families.adaptive.coefficients import Bits, Rows
from hyvic_train.families.adaptive.config import AdaptiveTrainingConfig
from hyvic_train.families.adaptive.context_model import ContextModel
from hyvic_train.families.adaptive.samples import Sample, Samples
from hyvic_train.families.adaptive.validation import json_from_measured, mean_octaves, measure, rows_bits
from hyvic_train.run_log import StepReport, Validation
from hyvic_train.training_loop import Run, Trained, cosine, descend, loop

_CALIBRATION_SAMPLES = 32
_LEAST_BITS = 2000
"""The loss falls with the bits of a crop that costs no more: a crop of almost all zeros teaches little."""


def check(config: AdaptiveTrainingConfig, run: Run) -> None:
    """Refuse options without use: a context model trains in minutes on one core."""
    for option, used in (("--weights", run.pretrained), ("--devices", run.devices > 1)):
        if used:
            raise ValueError(f"{option} has no use with model.family adaptive; leave it out")


def train(config: AdaptiveTrainingConfig, scenes: SceneSplit, run: Run) -> Trained:
    """Train a context model on scenes of any bands; see `loop`."""
    optimisation = config.optimisation
    torch.manual_seed(optimisation.seed)
    model = ContextModel(config.model)
    optimiser = torch.optim.Adam(model.parameters(), lr=optimisation.learning_rate)
    samples = Samples(scenes.training, config)

    def needs_model(done: int) -> bool:
        return done >= optimisation.steps - optimisation.encoder_steps

    def step(done: int, sample: Sample | None) -> StepReport:
        model.train()
        rounded = done >= optimisation.steps - optimisation.integer_path_steps
        model.arithmetic = Arithmetic.ROUNDED if rounded else Arithmetic.REAL
        if sample is None:
            sample = samples.of_step(done, encoder_bits(model))
        bits = rows_bits(model, sample.rows).sum()
        of_crop = bits * sample.weight
        loss = of_crop / (of_crop.detach() + _LEAST_BITS)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        advice = "start anew with a lower learning rate"
        rate = optimisation.learning_rate * cosine(done, optimisation.steps)
        descend(optimiser, (rate,), loss, done, optimisation, advice)
        bits_each = bits.item() / len(sample.rows.values)
        return StepReport(
            values={"bits_per_coefficient": bits_each},
            curves={"training/bits per coefficient": bits_each},
            text=f"{bits_each:.3f} bit a coefficient",
        )

    return loop(
        step,
        lambda: _validation(model, config, scenes, samples),
        prepare=lambda done: None if needs_model(done) else samples.of_step(done),
        run=run,
        config=config,
        model=model,
        scenes=scenes,
        optimisers=[optimiser],
    )


def encoder_bits(model: ContextModel) -> Bits:
    """Return bits as an encoder counts them with the model as it is."""

    @torch.no_grad()
    def bits(rows: Rows, values: Planes) -> NDArray[np.float32]:
        return np.asarray(rows_bits(model, rows, values).numpy())

    return bits


@torch.no_grad()
def _validation(
    model: ContextModel, config: AdaptiveTrainingConfig, scenes: SceneSplit, samples: Samples
) -> Validation:
    """Measure the model in floating point."""

    def observe() -> None:
        model.arithmetic = Arithmetic.OBSERVED
        for number in range(_CALIBRATION_SAMPLES):
            rows_bits(model, samples.for_calibration(number).rows)

    tensors = weights(model) | reached_peaks(model.peaks, observe)
    model.eval()
    model.arithmetic = Arithmetic.REAL
    measured = measure(model, scenes.validation, config.samples.components)
    found = [(name, point.quantiser_step, bits) for point in measured for name, bits in point.scenes.items()]
    singles = found if len(found) <= SINGLE_SCENES * len(measured) else []
    means = [("validation, mean", point.quantiser_step, point.bits.mean) for point in measured if point.scenes]
    shown = means + singles
    return Validation(
        tensors=tensors,
        document=json_from_measured(measured),
        loss=mean_octaves(measured) if scenes.validation else None,
        entries=[{"scene": name, "quantiser_step": step, "detail_bits_per_sample": bits} for name, step, bits in found],
        curves={f"{name}/bits per sample, step {step:g}": bits for name, step, bits in shown},
        summary=[
            *(
                f"mean of {len(point.scenes)} scenes, step {point.quantiser_step:g}: {point.bits.mean:.4f} ± "
                f"{point.bits.deviation:.4f} bit of details a sample"
                for point in measured
                if len(point.scenes) > 1
            ),
            *(f"{name}, step {step:g}: {bits:.4f} bit of details a sample" for name, step, bits in singles),
        ],
    )
