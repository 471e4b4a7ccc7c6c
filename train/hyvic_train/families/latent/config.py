"""Settings of a latent codec's training run, field by field; stored beside the weights."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal

from hyvic_train.config import DataConfig, Section, not_positive, outside, refuse, validated
from hyvic_train.families.latent.model_config import AnyModelConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimisationConfig(Section):
    """Search of the weights (seed paper section IV-B).

    Attributes:
        lmbda: λ of eq. 2, bits per sample against squared digital numbers. A rising list trains one model of
            as many rate levels (model.rates).
        steps: number of gradient steps; 0 measures and converts the weights of `train-model --weights`.
        epochs: number of passes over the training data, in place of steps; the stored configuration names steps.
        batch_size: crops a step, over all processes.
        precision: "32-true", or "bf16-mixed": transforms in bfloat16, entropy model and weights in float32.
        learning_rate: rate of encoder and decoder at the first step.
        hyperprior_learning_rate: rate of the hyper-transforms, the factorised prior and the gains.
        aux_learning_rate: rate of the prior's quantiles (the auxiliary optimiser).
        schedule: "cosine" takes both rates of the main optimiser to zero; "constant" leaves them.
        gradient_clip: bound of the gradient's norm, of transforms and entropy model each; null: none. One bound for
            both would let λ decide what moves: at λ = 1 the distortion's gradient drowns the entropy model's.
        initialisation: "klt" starts from a linear transform codec, "random" as torch and CompressAI do.
        klt_step: quantiser step, in digital numbers, of the linear codec that training starts from; with several λ
            the step at their geometric mean. null: the best of a transform codec at that λ, 2.94 / √λ.
        integer_path_steps: number of last steps that feel the rounding of the exported entropy path.
        seed: seed of initialisation, crops and quantisation noise.
        checkpoint_every: steps between checkpoints and validations.
        state_every: steps between states to resume from, the most that a kill can lose. A state is three times the
            weights' size; a large model needs hundreds of steps.
    """

    lmbda: float | tuple[float, ...]
    steps: int = 0
    epochs: int = 0
    batch_size: int = 16
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    learning_rate: float = 1e-4
    hyperprior_learning_rate: float = 1e-4
    aux_learning_rate: float = 1e-3
    schedule: Literal["cosine", "constant"] = "cosine"
    gradient_clip: float | None = 1.0
    initialisation: Literal["klt", "random"] = "klt"
    klt_step: float | None = None
    integer_path_steps: int = 0
    seed: int = 0
    checkpoint_every: int = 500
    state_every: int = 1

    @property
    def lmbdas(self) -> tuple[float, ...]:
        """λ of every rate level."""
        return self.lmbda if isinstance(self.lmbda, tuple) else (self.lmbda,)

    def __post_init__(self) -> None:
        rates = ["learning_rate", "hyperprior_learning_rate", "aux_learning_rate"]
        rates += [name for name in ("gradient_clip", "klt_step") if getattr(self, name) is not None]
        problems = not_positive(self, "batch_size", *rates, "checkpoint_every", "state_every")
        if self.initialisation == "random" and self.klt_step is not None:
            problems.append(f"klt_step is {self.klt_step:g} and initialisation random; only the KLT has a step")
        if not self.lmbdas or min(self.lmbdas) <= 0 or list(self.lmbdas) != sorted(set(self.lmbdas)):
            problems.append(f"lmbda is {self.lmbda}; it must be positive, and a list must rise")
        if min(self.steps, self.epochs) < 0 or (self.steps and self.epochs):
            problems.append(f"steps is {self.steps} and epochs {self.epochs}; one of them may be positive")
        problems += outside(self, 0, math.inf if self.epochs else self.steps, "integer_path_steps")
        refuse(problems + outside(self, 0, 2**63 - 1, "seed"))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig(Section):
    """Configuration of one run: model, data, optimisation."""

    model: AnyModelConfig
    optimisation: OptimisationConfig
    data: DataConfig = field(default_factory=DataConfig)

    def __post_init__(self) -> None:
        problems = []
        wavelengths = self.data.wavelengths
        if wavelengths is not None and len(wavelengths) != self.model.bands:
            problems.append(f"data.wavelengths names {len(wavelengths)} bands, model.bands is {self.model.bands}")
        if len(self.optimisation.lmbdas) != self.model.rates:
            problems.append(
                f"optimisation.lmbda names {len(self.optimisation.lmbdas)} values, model.rates is {self.model.rates}; "
                "each rate level has its own λ"
            )
        if self.data.crop % self.model.cell:
            problems.append(
                f"data.crop is {self.data.crop}; with {self.model.spatial_stages} spatial stages it must be "
                f"a multiple of {self.model.cell}"
            )
        refuse(problems)


def config_from_json(document: object) -> TrainingConfig:
    """Validate a parsed document; one ConfigError names every problem."""
    return validated(document, TrainingConfig)


def in_steps(config: TrainingConfig, crops_per_epoch: int) -> TrainingConfig:
    """Return the run with its epochs in steps; a batch may end an epoch and begin the next."""
    optimisation = config.optimisation
    if not optimisation.epochs:
        return config
    steps = -(-optimisation.epochs * crops_per_epoch // optimisation.batch_size)
    return replace(config, optimisation=replace(optimisation, steps=steps, epochs=0))
