from __future__ import annotations

from importlib.util import find_spec
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hyvic_runtime.families.adaptive.context_network import OnnxContextNetwork
from hyvic_runtime.families.adaptive.context_weights import HIGH, LOW, MAX_SHIFT, ContextWeights
from hyvic_runtime.families.adaptive.contexts import CONTEXT_MAX, CONTEXTS, ORIENTATIONS, both_squares
from hyvic_runtime.families.adaptive.table_choice import RANGES, ROWS, SCALES
from noise_levels import HUGE, LEVEL, level_of_noise
from numpy.typing import NDArray

IN_C = find_spec("hyvic_runtime.families.adaptive._contexts") is not None
needs_c = pytest.mark.skipif(not IN_C, reason="the package was installed without a C compiler")
if TYPE_CHECKING or IN_C:
    from hyvic_runtime.families.adaptive import _contexts
    from hyvic_runtime.families.adaptive.native_contexts import NativeGroupContexts, NativeLevelContexts
    from hyvic_runtime.families.adaptive.native_network import INSTRUCTION_SETS, NativeNetwork


def _weights(rng: np.random.Generator, hidden: tuple[int, ...], leaky_slope_bits: int = 5) -> ContextWeights:
    """Of a network whose sums are as large as they may be, and its outputs all over their ranges."""
    widths = (CONTEXTS, *hidden, len(RANGES))
    weights, rows = [], []
    peak = np.full(CONTEXTS, CONTEXT_MAX)
    for inputs, outputs in pairwise(widths):
        weight = rng.integers(-2048, 2049, (outputs, inputs)) // 2 ** rng.integers(0, 9, (outputs, 1))
        bias = rng.integers(-(2**18), 2**18, outputs)
        sums = np.abs(weight) @ peak + np.abs(bias)
        weight >>= np.maximum(np.ceil(np.log2(sums / 2**24)), 0).astype(int)[:, None] + (sums >= 2**24)[:, None]
        last = len(weights) == len(widths) - 2
        ranges = np.array([(least, most) for _, least, most in RANGES]) if last else np.tile([-255, 255], (outputs, 1))
        room = np.sqrt((weight.astype(float) ** 2).sum(axis=1)) * peak[0] / 2 + np.abs(bias)
        shift = np.clip(np.ceil(np.log2(room / ranges[:, 1])), 0, MAX_SHIFT - 8).astype(int)
        negative_shift = shift if last else shift + leaky_slope_bits
        rows.append(np.column_stack((bias, shift, negative_shift, ranges)))
        weights.append(weight.ravel())
        peak = np.abs(ranges).max(axis=1)
    return ContextWeights(
        widths=widths,
        weights=np.concatenate(weights).astype(np.int16),
        rows=np.concatenate(rows).astype(np.int32),
    )


def _defined(weights: ContextWeights, contexts: NDArray[np.int64]) -> NDArray[np.int64]:
    """What the network gives, (output, coefficient), of contexts (CONTEXTS, coefficient)."""
    x = contexts
    for layer in weights.layers:
        bias, shift, negative_shift, low, high = layer.rows.astype(np.int64).T[:, :, None]
        sums = layer.weight.astype(np.int64) @ x + bias
        x = np.clip(np.rint(sums * np.exp2(-np.where(sums < 0, negative_shift, shift))), low, high).astype(np.int64)
    return x


@needs_c
class TestNativeNetwork:
    @given(
        seed=st.integers(0, 2**32),
        hidden=st.lists(st.integers(1, 40), max_size=4).map(tuple),
        leaky_slope_bits=st.integers(0, 8),
        count=st.integers(0, 300),
        limit=st.sampled_from([1, 40, CONTEXT_MAX]),
    )
    @settings(deadline=None, max_examples=60)
    def test_every_instruction_set_computes_what_is_defined(
        self, seed: int, hidden: tuple[int, ...], leaky_slope_bits: int, count: int, limit: int
    ) -> None:
        rng = np.random.default_rng(seed)
        weights = _weights(rng, hidden, leaky_slope_bits)
        contexts = rng.integers(-limit, limit + 1, (CONTEXTS, count))
        expected = _defined(weights, contexts)
        for instruction_set in INSTRUCTION_SETS:
            network = NativeNetwork(weights, instruction_set)
            outputs = network.run({"contexts": contexts[None, :, None].astype(np.float32)})
            assert list(outputs) == [name for name, _, _ in RANGES]
            found = np.concatenate([output[0, 0] for output in outputs.values()])
            assert np.array_equal(found, expected), instruction_set

    @pytest.mark.parametrize("sign", [-1, 1])
    def test_the_largest_sums_are_exact(self, sign: int) -> None:
        weights = _weights(np.random.default_rng(1), (32, 32))
        first = weights.layers[0].weight
        contexts = sign * CONTEXT_MAX * np.sign(first.astype(np.int64)).T
        sums = np.abs(first.astype(np.int64) @ contexts).max()
        assert sums > 2**23
        for instruction_set in INSTRUCTION_SETS:
            outputs = NativeNetwork(weights, instruction_set).run({"contexts": contexts[None, :, None]})
            found = np.concatenate([output[0, 0] for output in outputs.values()])
            assert np.array_equal(found, _defined(weights, contexts)), instruction_set

    @given(**LEVEL)
    @settings(deadline=None, max_examples=60)
    def test_rows_are_those_of_the_contexts(
        self, seed: int, components: int, lines: int, samples: int, level: int, largest: float
    ) -> None:
        self._same_rows(seed, components, (lines, samples), level, largest)

    @pytest.mark.parametrize("shape", [(3, 700), (40, 30), (33, 127)])
    def test_rows_are_those_of_the_contexts_of_many_squares(self, shape: tuple[int, int]) -> None:
        self._same_rows(0, 5, shape, 1, 5000.0)

    @staticmethod
    def _same_rows(seed: int, components: int, shape: tuple[int, int], level: int, largest: float) -> None:
        rng = np.random.default_rng(seed)
        weights = _weights(rng, (32, 32))
        network = NativeNetwork(weights, INSTRUCTION_SETS[seed % len(INSTRUCTION_SETS)])
        apart = OnnxContextNetwork(network)
        assert apart.describe() == network.describe()
        seen = set[int]()
        for of_group, details in level_of_noise(NativeLevelContexts, rng, components, shape, level, largest):
            for orientation in range(ORIENTATIONS):
                for black, squares in enumerate(both_squares(shape)):
                    rows, shifts = network.tables_and_offsets(of_group, orientation, details, bool(black))
                    expected = apart.tables_and_offsets(of_group, orientation, details, bool(black))
                    assert rows.shape == (len(details), len(squares.places[0]))
                    assert np.array_equal(rows, expected[0])
                    assert np.array_equal(shifts, expected[1])
                    seen |= set(rows.ravel().tolist())
        assert not seen or 0 <= min(seen) <= max(seen) < ROWS

    def test_what_does_not_fit_is_refused(self) -> None:
        weights = _weights(np.random.default_rng(0), (32, 32))
        with pytest.raises(ValueError, match=r"contexts of shape \(43, 5\)"):
            NativeNetwork(weights).run({"contexts": np.zeros((CONTEXTS, 5), np.float32)})
        which, sizes, paired, rows = NativeNetwork(weights)._network
        contexts, outputs = np.zeros((CONTEXTS, 5), np.float32), np.zeros((3, 5), np.int32)
        for network in [
            (which, sizes[:2], paired, rows),
            (which, sizes[:, ::-1].copy(), paired, rows),
            (which, sizes, paired[:-1], rows),
            (which, sizes, paired, rows[:-1]),
            (which, np.zeros((0, 2), np.int32), paired[:0], rows[:0]),
            (which, sizes * [[1, -1]], paired, rows),
        ]:
            with pytest.raises(ValueError, match="are not of one network"):
                _contexts.evaluate(network, contexts, outputs)
        for number in (-1, len(INSTRUCTION_SETS)):
            with pytest.raises(ValueError, match=r"instruction set -?\d is none of"):
                _contexts.evaluate((number, sizes, paired, rows), contexts, outputs)
        with pytest.raises(ValueError, match="buffer 1 holds 60 octets, not 12 float32"):
            _contexts.evaluate((which, sizes, paired, rows), contexts[:, :4].copy(), outputs)
        with pytest.raises(TypeError, match="a network is a tuple"):
            _contexts.evaluate([which, sizes, paired, rows], contexts, outputs)  # type: ignore[arg-type]
        ((of_group, details),) = level_of_noise(NativeLevelContexts, np.random.default_rng(0), 1, (4, 4), 0, HUGE)
        assert isinstance(of_group, NativeGroupContexts)
        description = of_group.description(0, details, False, slice(0, 4))
        squares = np.zeros((1, 8), np.int32)
        for wrong, match in [
            ((*description[:1], 9, *description[2:]), "level 9, orientation 0"),
            ((*description[:2], 1, *description[3:]), "orientations before are missing"),
            ((*description[:6], 5, *description[7:]), "lines 0 to 5 are none of 4"),
            ((*description[:-1], np.zeros(2, np.float32)), "buffer 13 holds 8 octets"),
        ]:
            with pytest.raises(ValueError, match=match):
                _contexts.tables_and_offsets((which, sizes, paired, rows), wrong, squares, squares.copy())
        with pytest.raises(ValueError, match="buffer 0 holds 28 octets"):
            _contexts.tables_and_offsets((which, sizes, paired, rows), description, squares[:, :7].copy(), squares)


class TestContextWeights:
    def test_a_network_is_carried_layer_by_layer(self) -> None:
        layers = _weights(np.random.default_rng(0), (8, 5)).layers
        assert [layer.weight.shape for layer in layers] == [(8, CONTEXTS), (5, 8), (3, 5)]
        assert [len(layer.rows) for layer in layers] == [8, 5, 3]

    @pytest.mark.parametrize(
        ("row", "column", "value", "match"),
        [
            (0, 0, 2**24, "a sum may reach"),
            (0, 1, -1, "a shift is outside"),
            (0, 2, 0, "a shift is outside"),
            (0, 2, MAX_SHIFT + 1, "a shift is outside"),
            (0, LOW, 1, "bounds are not about zero"),
            (0, HIGH, 2**15, "beyond 16 bits"),
            (-3, HIGH, SCALES, "an output's bounds"),
            (-2, LOW, -1024, "an output's bounds"),
        ],
    )
    def test_rows_that_are_not_exact_or_not_in_range_are_refused(
        self, row: int, column: int, value: int, match: str
    ) -> None:
        sound = _weights(np.random.default_rng(0), (8,))
        rows = sound.rows.copy()
        rows[row, column] = value
        with pytest.raises(ValueError, match=match):
            ContextWeights(widths=sound.widths, weights=sound.weights, rows=rows)

    @pytest.mark.parametrize(
        "widths",
        [(CONTEXTS,), (42, 8, 3), (CONTEXTS, 8, 4), (CONTEXTS, 0, 3), (CONTEXTS, 257, 3), (CONTEXTS, *[1] * 9, 3)],
    )
    def test_other_widths_are_refused(self, widths: tuple[int, ...]) -> None:
        sound = _weights(np.random.default_rng(0), (8,))
        with pytest.raises(ValueError, match="widths are"):
            ContextWeights(widths=widths, weights=sound.weights, rows=sound.rows)

    def test_arrays_of_other_sizes_are_refused(self) -> None:
        sound = _weights(np.random.default_rng(0), (8,))
        nothing = np.array(0, np.int32)
        for weights, rows in [(sound.weights[1:], sound.rows), (sound.weights, sound.rows[1:]), (nothing, nothing)]:
            with pytest.raises(ValueError, match="of a network of widths"):
                ContextWeights(widths=sound.widths, weights=weights, rows=rows)
