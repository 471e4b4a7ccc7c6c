"""Conformance vectors of the entropy path: an engine must compute them exactly before it may code.

They reach every case of the arithmetic: each scale index, clamps at both ends of every layer and operand, ties above
an even and above an odd number, each predicted rest. A model may be unable to reach a case, such as a σ of 256 steps.
The export names such cases.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from hyvic_runtime.entropy.frequency_table import FrequencyTables
from hyvic_runtime.entropy.unit_coder import SYMBOL_MAX, SYMBOL_MIN
from hyvic_train.integer_path import MEAN_STEP_BITS, SCALE_COUNT
from numpy.typing import NDArray

from hyvic_export.conformance_cases import chosen_vectors, possible_cases, reached_cases
from hyvic_export.families.latent.integer_network import (
    REST_STEPS,
    Code,
    IntegerNetwork,
    ReferenceLatent,
    run_reference,
    scale_table,
)
from hyvic_export.integer_layer import Integers, Requantisation

MAX_SEARCH = 12
"""Number of random candidates for cases that the designed vectors do not reach."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConformanceVector:
    """Inputs of the entropy path, and their outputs.

    Attributes:
        hyperlatent: ẑ, (N, line, sample).
        expected: outputs by the definition; its `symbols` are an input too.
    """

    hyperlatent: Integers
    expected: ReferenceLatent


def conformance_vectors(
    prior: FrequencyTables, network: IntegerNetwork, cells: int
) -> tuple[tuple[ConformanceVector, ...], frozenset[str]]:
    """Choose inputs that stress the entropy path.

    Args:
        prior: tables of ẑ, which bound ẑ.
        network: integer network of the entropy path.
        cells: side of a tile's ẑ.

    Returns:
        The vectors, and the cases that none of them reached.
    """

    def run(candidate: tuple[Integers, Code]) -> tuple[ConformanceVector, frozenset[str]]:
        hyperlatent, code = candidate
        expected, found = cases(network, hyperlatent, code)
        return ConformanceVector(hyperlatent=hyperlatent, expected=expected), found

    return chosen_vectors(_candidates(prior, network, cells), run, every_case(network), DESIGNED)


def every_case(network: IntegerNetwork) -> frozenset[str]:
    """Name all cases that `cases` could find, reachable or not."""
    found = {f"scale index {index}" for index in range(SCALE_COUNT)}
    if network.slices:
        found |= {f"rest of {steps} steps" for steps in REST_STEPS}

    def seen(name: str, by: Requantisation, values: Integers) -> None:
        found.update(possible_cases(name, by))

    hyperlatent = np.zeros((network.layers[0].weight.shape[1], 1, 1), np.int64)
    run_reference(network, hyperlatent, lambda part, scale_index, mean_steps: np.zeros_like(mean_steps), seen)
    return frozenset(found)


def cases(network: IntegerNetwork, hyperlatent: Integers, code: Code) -> tuple[ReferenceLatent, frozenset[str]]:
    """Run one ẑ, (N, line, sample), and its symbols through the network, and name the cases that they bring about."""
    found = set[str]()

    def seen(name: str, by: Requantisation, values: Integers) -> None:
        found.update(reached_cases(name, by, values))

    expected = run_reference(network, hyperlatent, code, seen)
    found |= {f"scale index {index}" for index in np.unique(expected.scale_index)}
    if network.slices:
        rest = expected.latent_steps - (expected.symbols << MEAN_STEP_BITS) - expected.mean_steps
        found |= {f"rest of {steps} steps" for steps in np.unique(rest)}
    return expected, frozenset(found)


DESIGNED = 8


def _candidates(prior: FrequencyTables, network: IntegerNetwork, cells: int) -> Iterator[tuple[Integers, Code]]:
    """Yield DESIGNED candidates that every bundle carries, then MAX_SEARCH seeded ones, each with symbols.

    Designed: zero; every channel at its lowest and at its highest value; the signs of the first layer's heaviest row,
    so that its sum reaches its bound; draws over a narrow and over the whole range. The others push a few channels,
    harder from line to line, so that they pass through all values between the extremes.

    Symbols follow the model's distributions. The extremes of ẑ come with symbols that no model expects.
    """
    low = prior.first.astype(np.int64)[:, None, None]
    high = low + prior.length.astype(np.int64)[:, None, None] - 1
    shape = (len(low), cells, cells)
    rng = np.random.default_rng(123)
    first = network.layers[0]
    sign = first.weight[np.abs(first.weight).sum(axis=(1, 2, 3)).argmax()].sum(axis=(1, 2))[:, None, None]
    heaviest = np.where(sign > 0, high, low), np.where(sign > 0, low, high)
    for extreme in (np.int64(0), low, high, *heaviest):
        yield np.broadcast_to(extreme, shape).copy(), _pushed_symbols if extreme.any() else _expected_symbols
    for spread in (1, 8):
        yield np.clip(np.rint(rng.normal(0, spread, shape)).astype(np.int64), low, high), _expected_symbols
    yield rng.integers(low, high + 1, shape), _expected_symbols
    for _ in range(MAX_SEARCH):
        pushed = rng.random(low.shape) < rng.uniform(0.05, 1)
        end = np.where(rng.random(low.shape) < 0.5, low, high)
        ramp = np.linspace(0, 1, cells)[:, None]
        yield np.rint(pushed * end * ramp * np.ones(shape)).astype(np.int64), _pushed_symbols


def _expected_symbols(part: int, scale_index: Integers, mean_steps: Integers) -> Integers:
    """Draw symbols from Gaussians around the means."""
    return _symbols(np.random.default_rng(part).normal(0, scale_table()[scale_index]))


def _pushed_symbols(part: int, scale_index: Integers, mean_steps: Integers) -> Integers:
    """Draw symbols of every magnitude, with one sign a channel, so that sums over many latents reach far."""
    rng = np.random.default_rng(part)
    sign = rng.choice([-1.0, 1.0], (len(mean_steps), 1, 1))
    return _symbols(sign * np.exp2(rng.uniform(-1, np.log2(SYMBOL_MAX), mean_steps.shape)))


def _symbols(values: NDArray[np.float64]) -> Integers:
    return np.asarray(np.clip(np.rint(values), SYMBOL_MIN, SYMBOL_MAX), np.int64)
