"""The entropy path as an integer network: from ẑ to scale indices, means and latents, with equal bits everywhere.

    ẑ ─▶ layers ─▶ context ─▶ prediction of part 0 ─▶ scale indices, means ─▶ symbols
                      │                                               symbols + means ─▶ completion ─▶ ŷ of part 0
                      └───────────── and ŷ of part 0 ─▶ prediction of part 1 ─▶ …

A model whose ẑ predicts the whole latent has one part, and nothing completes it. `integer_layer` defines the layers and
says why they are exact. This module knows no model family.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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

from hyvic_export.integer_layer import IntegerLayer, Integers, Requantisation, Seen, last_layer, requantised, run_layers

MAX_MEAN_STEPS = 2**19 - 1
"""Largest mean: 32,768 quantiser steps, the range of a symbol."""
REST_STEPS: Integers = np.rint(
    0.5 * np.tanh(np.arange(-CORRECTION_MAX, CORRECTION_MAX + 1) * 2.0**-MEAN_STEP_BITS) * 2**MEAN_STEP_BITS
).astype(np.int64)
"""½ tanh of every argument in −CORRECTION_MAX … CORRECTION_MAX steps. Both are in steps of 2**-MEAN_STEP_BITS."""

Code = Callable[[int, Integers, Integers], Integers]
"""Gives the symbols of a part from its number, scale indices and means in steps, all (channel, line, sample)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """Steps from the symbols of a part to its latent, and to an operand of later parts' networks.

    Attributes:
        operand: requantisation of latents, in steps of 2**-MEAN_STEP_BITS, to the operands of networks.
        correction: layers from the context and the operands of symbols and means to arguments of ½ tanh, REST_STEPS.
    """

    operand: Requantisation
    correction: tuple[IntegerLayer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartNetwork:
    """A part of the latent, of consecutive channels.

    Attributes:
        prediction: layers from the context to scales and means; the first half of the last layer's rows are scales.
        completion: steps after the symbols; None: a latent is the sum of symbol and mean.
    """

    prediction: tuple[IntegerLayer, ...]
    completion: Completion | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegerNetwork:
    """The entropy path.

    Attributes:
        layers: layers from ẑ to the context of part 0; each completion adds to the context.
        parts: parts in the order of coding.
        scale_index: scale index of every σ in steps of 2**-SCALE_STEP_BITS, (MAX_SCALE_STEPS + 1,); None: predictions
            give indices.
    """

    layers: tuple[IntegerLayer, ...]
    parts: tuple[PartNetwork, ...]
    scale_index: Integers | None

    @property
    def slices(self) -> int:
        """Return the number of completed parts, which is the number of slice graphs of the bundle."""
        return sum(part.completion is not None for part in self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceLatent:
    """Outputs of the network; each (M, line, sample).

    Attributes:
        scale_index: number of the frequency table that codes each symbol.
        mean_steps: means in steps of 2**-MEAN_STEP_BITS.
        symbols: symbols that `Code` gave.
        latent_steps: ŷ in steps of 2**-MEAN_STEP_BITS.
    """

    scale_index: Integers
    mean_steps: Integers
    symbols: Integers
    latent_steps: Integers


def scale_table() -> NDArray[np.float64]:
    """Return the standard deviations of the scale indices 0..63, in quantiser steps."""
    return np.asarray(np.exp2(LOG2_MIN_SCALE + LOG2_SCALE_STEP * np.arange(SCALE_COUNT)))


def scale_lookup() -> Integers:
    """Return the scale index of every σ that a linear output can give: the row nearest in log σ."""
    scale = np.arange(MAX_SCALE_STEPS + 1) * 2.0**-SCALE_STEP_BITS
    rows = (np.log2(np.maximum(scale, SCALE_BOUND)) - LOG2_MIN_SCALE) / LOG2_SCALE_STEP
    return np.asarray(np.rint(rows), np.int64)


def scale_and_mean_layer(layer: Any, *, input_step: NDArray[np.float64], logarithmic: bool = True) -> IntegerLayer:
    """Quantise the last layer of a prediction.

    Args:
        layer: pixelwise layer of torch; the first half of its outputs are scales, the others means.
        input_step: value of one integer step, (input channel,).
        logarithmic: True if the layer gives log2 σ, so that its integers are scale indices. False if it gives σ, in
            steps of 2**-SCALE_STEP_BITS.
    """
    half = layer.out_channels // 2
    scale_step = LOG2_SCALE_STEP if logarithmic else 2.0**-SCALE_STEP_BITS
    scale_high = SCALE_COUNT - 1 if logarithmic else MAX_SCALE_STEPS
    return last_layer(
        layer,
        input_step=input_step,
        output_step=np.concatenate((np.full(half, scale_step), np.full(half, 2.0**-MEAN_STEP_BITS))),
        low=np.concatenate((np.zeros(half, np.int64), np.full(half, -MAX_MEAN_STEPS))),
        high=np.concatenate((np.full(half, scale_high), np.full(half, MAX_MEAN_STEPS))),
        output_offset=np.concatenate((np.full(half, LOG2_MIN_SCALE if logarithmic else 0.0), np.zeros(half))),
    )


def run_reference(
    network: IntegerNetwork, hyperlatent: Integers, code: Code, seen: Seen = lambda name, by, values: None
) -> ReferenceLatent:
    """Compute the entropy path by its definition in int64, which every engine must match.

    Args:
        network: integer network of a model.
        hyperlatent: ẑ, (N, line, sample).
        code: gives the symbols of each part in turn.
        seen: receives every requantisation.
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
