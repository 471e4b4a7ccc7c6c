"""The entropy path as an integer network: from ẑ to scale indices, means and latents, the same bits everywhere.

    ẑ ─▶ layers ─▶ context ─▶ prediction of part 0 ─▶ scale indices, means ─▶ symbols
                      │                                               symbols + means ─▶ completion ─▶ ŷ of part 0
                      └───────────── and ŷ of part 0 ─▶ prediction of part 1 ─▶ …

A model whose ẑ predicts the whole latent has one part, and nothing completes it. What the layers compute, and why it is
exact, stands in `integer_layer`. This module knows no model family.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from hyvic_train.integer_path import (
    CORRECTION_MAX,
    LOG2_MIN_SCALE,
    LOG2_SCALE_STEP,
    MAX_SCALE_STEPS,
    MEAN_STEP_BITS,
    SCALE_BOUND,
    SCALE_COUNT,
    SCALE_STEP_BITS,
)
from numpy.typing import NDArray

from hyvic_export.integer_layer import IntegerLayer, Integers, Requantisation, Seen, requantised, run_layers

REST_STEPS: Integers = np.rint(
    0.5 * np.tanh(np.arange(-CORRECTION_MAX, CORRECTION_MAX + 1) * 2.0**-MEAN_STEP_BITS) * 2**MEAN_STEP_BITS
).astype(np.int64)
"""½ tanh of every argument in −CORRECTION_MAX … CORRECTION_MAX steps, in steps of 2**-MEAN_STEP_BITS both."""

Code = Callable[[int, Integers, Integers], Integers]
"""Gives the symbols of a part from its number, scale indices and means in steps, all (channel, line, sample)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What makes a part of the latent of its symbols, and an operand of later parts' networks.

    Attributes:
        operand: latents in steps of 2**-MEAN_STEP_BITS to what networks see of them.
        correction: from the context and the part's symbols and means as operands to arguments of ½ tanh: REST_STEPS.
    """

    operand: Requantisation
    correction: tuple[IntegerLayer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartNetwork:
    """A part of the latent, of consecutive channels.

    Attributes:
        prediction: from the context to scales and means; the first half of the last layer's rows are scales.
        completion: None: a latent is its symbol and its mean.
    """

    prediction: tuple[IntegerLayer, ...]
    completion: Completion | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegerNetwork:
    """The entropy path.

    Attributes:
        layers: from ẑ to the context of part 0; what completes a part adds to the context.
        parts: in the order of coding.
        scale_index: (MAX_SCALE_STEPS + 1,) scale index of σ in steps of 2**-SCALE_STEP_BITS; None: predictions give
            indices.
    """

    layers: tuple[IntegerLayer, ...]
    parts: tuple[PartNetwork, ...]
    scale_index: Integers | None

    @property
    def slices(self) -> int:
        """Parts that are completed: as many as the bundle has slice graphs."""
        return sum(part.completion is not None for part in self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceLatent:
    """A walk through the network; each (M, line, sample).

    Attributes:
        scale_index: which frequency table codes each symbol.
        mean_steps: means in steps of 2**-MEAN_STEP_BITS.
        symbols: what `Code` gave.
        latent_steps: ŷ in the same steps.
    """

    scale_index: Integers
    mean_steps: Integers
    symbols: Integers
    latent_steps: Integers


def scale_table() -> NDArray[np.float64]:
    """Standard deviations, in quantiser steps, that the scale indices 0..63 stand for."""
    return np.asarray(np.exp2(LOG2_MIN_SCALE + LOG2_SCALE_STEP * np.arange(SCALE_COUNT)))


def scale_lookup() -> Integers:
    """Scale index of every σ that a linear output can name: the row nearest in log σ."""
    scale = np.arange(MAX_SCALE_STEPS + 1) * 2.0**-SCALE_STEP_BITS
    rows = (np.log2(np.maximum(scale, SCALE_BOUND)) - LOG2_MIN_SCALE) / LOG2_SCALE_STEP
    return np.asarray(np.rint(rows), np.int64)


def run_reference(
    network: IntegerNetwork, hyperlatent: Integers, code: Code, seen: Seen = lambda name, by, values: None
) -> ReferenceLatent:
    """The definition in int64, against which every engine is held.

    Args:
        network: of a model.
        hyperlatent: ẑ, (N, line, sample).
        code: asked for the symbols of each part in turn.
        seen: told of every requantisation.
    """
    context = run_layers(network.layers, hyperlatent, seen=seen)
    walked = []
    for number, part in enumerate(network.parts):
        scales, mean_steps = np.split(run_layers(part.prediction, context, f"prediction {number} ", seen), 2)
        scale_index = scales if network.scale_index is None else network.scale_index[scales]
        symbols = code(number, scale_index, mean_steps)
        latent_steps = (symbols << MEAN_STEP_BITS) + mean_steps
        if part.completion is not None:
            operand, correction = part.completion.operand, part.completion.correction
            seen(f"operand {number}", operand, latent_steps)
            corrected = np.concatenate((context, requantised(operand, latent_steps)))
            rows = run_layers(correction, corrected, f"correction {number} ", seen)
            latent_steps = latent_steps + REST_STEPS[rows + CORRECTION_MAX]
            context = np.concatenate((context, requantised(operand, latent_steps)))
        walked.append((scale_index, mean_steps, symbols, latent_steps))
    scale_index, mean_steps, symbols, latent_steps = (np.concatenate(parts) for parts in zip(*walked, strict=True))
    return ReferenceLatent(scale_index=scale_index, mean_steps=mean_steps, symbols=symbols, latent_steps=latent_steps)
