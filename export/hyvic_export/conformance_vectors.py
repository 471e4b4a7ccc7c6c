"""Inputs that an engine must get right before it may code: they reach every case of the entropy path's arithmetic.

The cases are what can go wrong: each scale index, each layer's clamps at both ends, and ties above an even and above
an odd number. A model may not be able to reach them all (a σ of 256 steps, say); those are named, not skipped silently.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from hyvic_runtime.frequency_table import FrequencyTables
from hyvic_train.integer_path import SCALE_COUNT

from hyvic_export.integer_network import (
    IntegerNetwork,
    Integers,
    layer_sums,
    requantised,
    rounded_shift,
    shift_of,
)

MAX_SEARCH = 12
"""Random vectors that are tried for cases which the designed ones leave out."""


def conformance_vectors(prior: FrequencyTables, network: IntegerNetwork, cells: int) -> tuple[Integers, frozenset[str]]:
    """ẑ that stress the entropy path.

    Args:
        prior: tables of ẑ, which bound it.
        network: the entropy path.
        cells: side of a tile's ẑ.

    Returns:
        (vector, N, line, sample), and the cases that no vector reached.
    """
    vectors, reached = [], set[str]()
    wanted = every_case(network)
    for index, vector in enumerate(_candidates(prior, network, cells)):
        designed = index < DESIGNED
        if not designed and reached >= wanted:
            break
        new = cases(network, vector) - reached
        if designed or new:
            vectors.append(vector)
            reached |= new
    return np.stack(vectors), frozenset(wanted - reached)


def every_case(network: IntegerNetwork) -> frozenset[str]:
    """Names of all the cases that `cases` could find, reachable or not."""
    found = {f"scale index {index}" for index in range(SCALE_COUNT)}
    for number, layer in enumerate(network.layers):
        found |= {f"layer {number} clamps {end}" for end in ("low", "high")}
        if (layer.shift > 0).any():
            found |= {f"layer {number} ties above {parity}" for parity in ("even", "odd")}
    return frozenset(found)


def cases(network: IntegerNetwork, hyperlatent: Integers) -> frozenset[str]:
    """Names of the cases that one ẑ, (N, line, sample), brings about."""
    found = set[str]()
    x = hyperlatent
    for number, layer in enumerate(network.layers):
        sums = layer_sums(layer, x)
        shift = shift_of(layer, sums)
        unclamped = rounded_shift(sums, shift)
        right = np.maximum(shift, 1)
        tied = (shift > 0) & (sums - (sums >> right << right) == np.int64(1) << (right - 1))
        odd = (sums >> right) % 2 == 1
        ends = {
            "clamps low": unclamped < layer.low[:, None, None],
            "clamps high": unclamped > layer.high[:, None, None],
            "ties above even": tied & ~odd,
            "ties above odd": tied & odd,
        }
        found |= {f"layer {number} {name}" for name, where in ends.items() if where.any()}
        x = requantised(layer, sums)
    scales = x[: len(x) // 2]
    indices = scales if network.scale_index is None else network.scale_index[scales]
    return frozenset(found | {f"scale index {index}" for index in np.unique(indices)})


DESIGNED = 8


def _candidates(prior: FrequencyTables, network: IntegerNetwork, cells: int) -> Iterator[Integers]:
    """First DESIGNED vectors that every bundle carries, then MAX_SEARCH seeded ones.

    Designed: zero; every channel at its lowest and at its highest; the signs of the first layer's heaviest row, so
    that its sum reaches its bound; and draws over a narrow and over the whole range. The others push a few channels,
    harder from line to line, so that what lies between the extremes is passed through.
    """
    low = prior.first.astype(np.int64)[:, None, None]
    high = low + prior.length.astype(np.int64)[:, None, None] - 1
    shape = (len(low), cells, cells)
    rng = np.random.default_rng(123)
    first = network.layers[0]
    sign = first.weight[np.abs(first.weight).sum(axis=(1, 2, 3)).argmax()].sum(axis=(1, 2))[:, None, None]
    yield np.zeros(shape, np.int64)
    yield np.broadcast_to(low, shape)
    yield np.broadcast_to(high, shape)
    yield np.broadcast_to(np.where(sign > 0, high, low), shape)
    yield np.broadcast_to(np.where(sign > 0, low, high), shape)
    for spread in (1, 8):
        yield np.clip(np.rint(rng.normal(0, spread, shape)).astype(np.int64), low, high)
    yield rng.integers(low, high + 1, shape)
    for _ in range(MAX_SEARCH):
        pushed = rng.random(low.shape) < rng.uniform(0.05, 1)
        end = np.where(rng.random(low.shape) < 0.5, low, high)
        ramp = np.linspace(0, 1, cells)[:, None]
        yield np.rint(pushed * end * ramp * np.ones(shape)).astype(np.int64)
