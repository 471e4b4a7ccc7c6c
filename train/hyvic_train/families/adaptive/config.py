"""What a training of the context model is told, field by field; stored beside the weights it made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from hyvic_runtime.families.adaptive.planes import MAX_COMPONENTS
from pydantic import ConfigDict

from hyvic_train.config import DataConfig
from hyvic_train.model_config import STRICT, AdaptiveConfig, refuse

MIN_CROP = 2
_NO_USE = {
    "wavelengths": "scenes keep their bands",
    "source_wavelengths": "scenes keep their bands",
    "remove_mean_spectrum": "the spectral transform always does",
    "gain": "steps are drawn from smallest_step to largest_step",
    "spectral_gain": "the spectral transform adapts to the scene's spectra",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleConfig:
    """How coefficients to learn from are made of a scene.

    Attributes:
        components: spectral components at most.
        smallest_step: quantiser step in digital numbers; steps are drawn with their logarithm uniform.
        largest_step: likewise.
        least_rounding: what is added to a magnitude in quantiser steps before it is rounded down, drawn uniformly up
            to ½, plain rounding.
        bit_weight: squared quantiser steps that a bit is worth where coefficients are rounded as an encoder rounds
            them, by the model as it is.
        rows: coefficients of a gradient step, at most, about.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    components: int = 64
    smallest_step: float = 2.0
    largest_step: float = 600.0
    least_rounding: float = 0.33
    bit_weight: float = 0.12
    rows: int = 40_000

    def __post_init__(self) -> None:
        problems = []
        if not 1 <= self.components <= MAX_COMPONENTS:
            problems.append(f"components is {self.components}; it must lie in 1..{MAX_COMPONENTS}")
        if not 0 < self.smallest_step <= self.largest_step:
            problems.append(
                f"smallest_step is {self.smallest_step} and largest_step {self.largest_step}; they must be positive "
                "and rise"
            )
        if not 0 < self.least_rounding <= 0.5:
            problems.append(f"least_rounding is {self.least_rounding}; it must lie above 0 and not above 0.5")
        if not 0 <= self.bit_weight <= 1:
            problems.append(f"bit_weight is {self.bit_weight}; it must lie in 0..1")
        if self.rows < 1:
            problems.append(f"rows is {self.rows}; it must be positive")
        refuse(problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveOptimisationConfig:
    """How the weights are found.

    Attributes:
        steps: gradient steps; each sees one crop of one scene.
        learning_rate: of Adam at the first step; a cosine takes it to zero.
        gradient_clip: bound of the gradient's norm.
        encoder_steps: how many of the last steps see coefficients rounded as an encoder rounds them; they take about
            three times as long.
        integer_path_steps: how many of the last steps feel the rounding of the exported network.
        seed: of initialisation and samples.
        checkpoint_every: steps between checkpoints and validations.
        state_every: steps between states to resume from: what a kill can lose.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    steps: int
    learning_rate: float = 1e-2
    gradient_clip: float = 1.0
    encoder_steps: int = 0
    integer_path_steps: int = 0
    seed: int = 0
    checkpoint_every: int = 500
    state_every: int = 20

    def __post_init__(self) -> None:
        problems = [
            f"{name} is {getattr(self, name)}; it must be positive"
            for name in ("steps", "learning_rate", "gradient_clip", "checkpoint_every", "state_every")
            if getattr(self, name) <= 0
        ]
        problems += [
            f"{name} is {getattr(self, name)}; it must lie in 0..steps"
            for name in ("encoder_steps", "integer_path_steps")
            if not 0 <= getattr(self, name) <= self.steps
        ]
        if not 0 <= self.seed < 2**63:
            problems.append(f"seed is {self.seed}; it must lie in 0..2^63 - 1")
        refuse(problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveTrainingConfig:
    """One training run.

    Attributes:
        model: the network.
        optimisation: of its weights.
        samples: made of crops.
        data: which scenes. `crop` is the smallest side; crops are up to twice as large where the scene is.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

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
            problems.append(
                f"data.crop is {self.data.crop}; it must be at least {MIN_CROP} pixels, or it has no detail"
            )
        refuse(problems)
