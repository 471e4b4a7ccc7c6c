"""Settings of a context model's training run, field by field; stored beside the weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from hyvic_runtime.families.adaptive.planes import MAX_COMPONENTS

from hyvic_train.config import DataConfig, Section, not_positive, outside, refuse, validated

MIN_CROP = 2
_NO_USE = {
    "wavelengths": "scenes keep their bands",
    "source_wavelengths": "scenes keep their bands",
    "remove_mean_spectrum": "the spectral transform always does",
    "gain": "steps are drawn from smallest_step to largest_step",
    "spectral_gain": "the spectral transform adapts to the scene's spectra",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveConfig(Section):
    """Architecture of the scene-adaptive codec's context model, for scenes of any bands.

    Attributes:
        width: channels of a hidden layer.
        layers: number of hidden layers.
        peak: largest digital number of the sensor; the network does not see it, PSNR is taken over it.
        leaky_slope_bits: LeakyReLU's negative slope is 2**-leaky_slope_bits.
    """

    family: Literal["adaptive"] = "adaptive"
    width: int = 32
    layers: int = 2
    peak: float = 10_000.0
    leaky_slope_bits: int = 5

    def __post_init__(self) -> None:
        problems = outside(self, 1, 256, "width") + outside(self, 1, 8, "layers")
        refuse(problems + outside(self, 1, 10, "leaky_slope_bits") + not_positive(self, "peak"))

    @property
    def bands(self) -> None:
        """Number of bands of every scene: any."""

    @property
    def cell(self) -> int:
        """Pixels that lines and samples must be multiples of."""
        return 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleConfig(Section):
    """Making of training coefficients from a scene.

    Attributes:
        components: largest number of spectral components.
        smallest_step: smallest quantiser step in digital numbers; the logarithm of steps is drawn uniformly.
        largest_step: largest quantiser step in digital numbers.
        least_rounding: smallest number, in quantiser steps, that is added to a magnitude before it is rounded down. It
            is drawn uniformly up to ½, plain rounding.
        bit_weight: squared quantiser steps that a bit is worth, where coefficients are rounded as an encoder rounds
            them, by the model as it is.
        rows: approximate largest number of coefficients of a gradient step.
    """

    components: int = 64
    smallest_step: float = 2.0
    largest_step: float = 600.0
    least_rounding: float = 0.33
    bit_weight: float = 0.12
    rows: int = 40_000

    def __post_init__(self) -> None:
        problems = outside(self, 1, MAX_COMPONENTS, "components") + outside(self, 0, 1, "bit_weight")
        if not 0 < self.smallest_step <= self.largest_step:
            problems.append(
                f"smallest_step is {self.smallest_step} and largest_step {self.largest_step}; they must be positive "
                "and rise"
            )
        if not 0 < self.least_rounding <= 0.5:
            problems.append(f"least_rounding is {self.least_rounding}; it must lie above 0 and not above 0.5")
        refuse(problems + not_positive(self, "rows"))


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveOptimisationConfig(Section):
    """Search of the weights.

    Attributes:
        steps: number of gradient steps; each sees one crop of one scene.
        learning_rate: rate of Adam at the first step; a cosine takes it to zero.
        gradient_clip: bound of the gradient's norm.
        encoder_steps: number of last steps with coefficients rounded as an encoder rounds them. They take about three
            times as long.
        integer_path_steps: number of last steps that feel the rounding of the exported network.
        seed: seed of initialisation and samples.
        checkpoint_every: steps between checkpoints and validations.
        state_every: steps between states to resume from, the most that a kill can lose.
    """

    steps: int
    learning_rate: float = 1e-2
    gradient_clip: float = 1.0
    encoder_steps: int = 0
    integer_path_steps: int = 0
    seed: int = 0
    checkpoint_every: int = 500
    state_every: int = 20

    def __post_init__(self) -> None:
        problems = not_positive(self, "steps", "learning_rate", "gradient_clip", "checkpoint_every", "state_every")
        problems += outside(self, 0, self.steps, "encoder_steps", "integer_path_steps")
        refuse(problems + outside(self, 0, 2**63 - 1, "seed"))


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveTrainingConfig(Section):
    """Configuration of one run.

    Attributes:
        model: architecture of the network.
        optimisation: search of its weights.
        samples: making of samples from crops.
        data: choice of the scenes. `crop` is the smallest side; crops are up to twice as large where the scene is.
    """

    model: AdaptiveConfig
    optimisation: AdaptiveOptimisationConfig
    samples: SampleConfig = field(default_factory=SampleConfig)
    data: DataConfig = field(default_factory=lambda: DataConfig(crop=64))

    def __post_init__(self) -> None:
        problems = [
            f"data.{name} has no use with model.family adaptive: {why}"
            for name, why in _NO_USE.items()
            if getattr(self.data, name)
        ]
        if self.data.crop < MIN_CROP:
            problems.append(f"data.crop is {self.data.crop}; a crop of fewer than {MIN_CROP} pixels has no detail")
        refuse(problems)


def adaptive_config_from_json(document: object) -> AdaptiveTrainingConfig:
    """Validate a parsed document; one ConfigError names every problem."""
    return validated(document, AdaptiveTrainingConfig)
