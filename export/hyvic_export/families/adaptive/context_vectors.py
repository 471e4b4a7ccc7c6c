"""Conformance vectors of the context network: an engine must compute them exactly before it may code.

They reach every case of the arithmetic: the cases of `conformance_cases`, each scale index and each gain.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from hyvic_runtime.families.adaptive.contexts import CONTEXT_MAX, CONTEXTS
from hyvic_runtime.families.adaptive.table_choice import MAX_GAIN, SCALES

from hyvic_export.conformance_cases import chosen_vectors, possible_cases, reached_cases
from hyvic_export.families.adaptive.context_network import OUTPUTS, ContextNetwork
from hyvic_export.integer_layer import Integers, Requantisation, layer_sums, run_layers

LINES, SAMPLES = 16, 64
_COLUMNS = LINES * SAMPLES
DESIGNED = 6
MAX_SEARCH = 8
"""Number of random candidates for cases that the designed vectors do not reach."""


def context_vectors(network: ContextNetwork) -> tuple[tuple[Integers, ...], frozenset[str]]:
    """Choose inputs that stress a network.

    Returns:
        The vectors, (CONTEXTS, LINES, SAMPLES) each, and the cases that none of them reached.
    """

    def run(columns: Integers) -> tuple[Integers, frozenset[str]]:
        contexts = columns.reshape(CONTEXTS, LINES, SAMPLES)
        return contexts, cases(network, contexts)

    return chosen_vectors(_candidates(network), run, every_case(network), DESIGNED)


def every_case(network: ContextNetwork) -> frozenset[str]:
    """Name all cases that `cases` could find, reachable or not."""
    found = {f"scale index {index}" for index in range(SCALES)} | {f"gain {index}" for index in range(MAX_GAIN + 1)}
    *hidden, last = network
    parts = {f"layer {number}": layer for number, layer in enumerate(hidden)} | _outputs_of(last)
    return frozenset(found.union(*(possible_cases(name, by) for name, by in parts.items())))


def cases(network: ContextNetwork, contexts: Integers) -> frozenset[str]:
    """Name the cases that contexts bring about, (CONTEXTS, line, sample)."""
    found = set[str]()

    def seen(name: str, by: Requantisation, values: Integers) -> None:
        if by is network[-1]:
            for row, (output, own) in enumerate(_outputs_of(by).items()):
                found.update(reached_cases(output, own, values[row : row + 1]))
        else:
            found.update(reached_cases(name, by, values))

    scale_index, _, gain = run_layers(network, contexts, seen=seen)
    found |= {f"scale index {index}" for index in np.unique(scale_index)}
    return frozenset(found | {f"gain {index}" for index in np.unique(gain)})


def _outputs_of(last: Requantisation) -> dict[str, Requantisation]:
    """Split the last layer's requantisation by output."""
    rows = [slice(row, row + 1) for row in range(len(OUTPUTS))]
    return {
        output: Requantisation(
            shift=last.shift[row], low=last.low[row], high=last.high[row], leaky_slope_bits=last.leaky_slope_bits
        )
        for output, row in zip(OUTPUTS, rows, strict=True)
    }


def _candidates(network: ContextNetwork) -> Iterator[Integers]:
    """Yield DESIGNED candidates that every bundle carries, then MAX_SEARCH seeded ones, (CONTEXTS, _COLUMNS) each.

    Designed: draws over a narrow and over the whole range; the signs of the first layer's rows, which drive its sums to
    their bounds, at rising magnitudes; for each output, steps from contexts that make it small to contexts that make it
    large. The others are sparse, of any magnitude.
    """
    rng = np.random.default_rng(123)
    shape = (CONTEXTS, _COLUMNS)
    for limit in (16, CONTEXT_MAX):
        yield rng.integers(-limit, limit + 1, shape)
    first = network[0].weight[:, :, 0, 0]
    column = np.arange(_COLUMNS)
    sign = np.sign(first[column % len(first)]).T * (1 - 2 * (column // len(first) % 2))
    yield np.rint(sign * np.linspace(0, CONTEXT_MAX, _COLUMNS)).astype(np.int64)
    for output in range(len(OUTPUTS)):
        low, high = (_extreme(network, output, sign, rng)[:, None] for sign in (-1, 1))
        yield np.rint(low + (high - low) * np.linspace(0, 1, _COLUMNS)).astype(np.int64)
    for _ in range(MAX_SEARCH):
        magnitude = CONTEXT_MAX * rng.random((1, _COLUMNS))
        chosen = rng.random(shape) < rng.random((1, _COLUMNS))
        yield np.rint(chosen * magnitude * rng.uniform(-1, 1, shape)).astype(np.int64)


def _extreme(network: ContextNetwork, output: int, sign: int, rng: np.random.Generator) -> Integers:
    """Find contexts that drive an output far: at each step, the entry that helps most moves to its better end."""

    def driven(contexts: Integers) -> Integers:
        *hidden, last = network
        return np.asarray(sign * layer_sums(last, run_layers(hidden, contexts[:, None]))[output, 0])

    best = rng.integers(-CONTEXT_MAX, CONTEXT_MAX + 1, (CONTEXTS, _COLUMNS))
    reached = driven(best)
    best, most = best[:, reached.argmax()], reached.max()
    while True:
        changed = np.repeat(best[:, None], 2 * CONTEXTS, axis=1)
        entries = np.arange(CONTEXTS)
        changed[entries, entries], changed[entries, CONTEXTS + entries] = -CONTEXT_MAX, CONTEXT_MAX
        reached = driven(changed)
        if reached.max() <= most:
            return np.asarray(best)
        best, most = changed[:, reached.argmax()], reached.max()
