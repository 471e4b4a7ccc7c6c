from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from both_kernels import NATIVE, needs_native
from hypothesis import given, settings
from hypothesis import strategies as st
from hyvic_runtime.families.adaptive.checkerboard import both_positions
from hyvic_runtime.families.adaptive.context_network import OnnxContextNetwork
from hyvic_runtime.families.adaptive.context_weights import HIGH, LOW, MAX_SHIFT, ContextWeights
from hyvic_runtime.families.adaptive.contexts import CONTEXT_MAX, CONTEXTS
from hyvic_runtime.families.adaptive.planes import ORIENTATIONS, Planes
from hyvic_runtime.families.adaptive.table_choice import RANGES, ROWS, SCALES
from hyvic_runtime.kernels import why_not_native
from noise_levels import HUGE, LEVEL, level_of_noise
from numpy.typing import NDArray

if TYPE_CHECKING or why_not_native() is None:
    from hyvic_runtime.families.adaptive.native_contexts import NativeGroupContexts
    from hyvic_runtime.families.adaptive.native_network import INSTRUCTION_SETS, NativeNetwork
    from hyvic_runtime.kernels import _native


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


@needs_native
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
    def test_tables_are_those_of_the_contexts(
        self, seed: int, components: int, lines: int, samples: int, level: int, largest: float
    ) -> None:
        self._same_tables(seed, components, (lines, samples), level, largest)

    @pytest.mark.parametrize("shape", [(3, 700), (40, 30), (33, 127)])
    def test_tables_are_those_of_the_contexts_of_many_positions(self, shape: tuple[int, int]) -> None:
        self._same_tables(0, 5, shape, 1, 5000.0)

    @staticmethod
    def _same_tables(seed: int, components: int, shape: tuple[int, int], level: int, largest: float) -> None:
        rng = np.random.default_rng(seed)
        weights = _weights(rng, (32, 32))
        network = NativeNetwork(weights, INSTRUCTION_SETS[seed % len(INSTRUCTION_SETS)])
        apart = OnnxContextNetwork(network, NATIVE)
        assert apart.describe() == network.describe()
        seen = set[int]()
        for of_group, details in level_of_noise(NATIVE, rng, components, shape, level, largest):
            for orientation in range(ORIENTATIONS):
                for positions in both_positions(shape):
                    block = (of_group, orientation, details, positions.non_anchor)
                    tables, offsets = network.tables_and_offsets(*block)
                    expected = apart.tables_and_offsets(*block)
                    assert tables.shape == (len(details), len(positions.places[0]))
                    assert np.array_equal(tables, expected[0])
                    assert np.array_equal(offsets, expected[1])
                    seen |= set(tables.ravel().tolist())
        assert not seen or 0 <= min(seen) <= max(seen) < ROWS

    def test_what_does_not_fit_is_refused(self) -> None:
        weights = _weights(np.random.default_rng(0), (32, 32))
        with pytest.raises(ValueError, match=r"contexts of shape \(43, 5\)"):
            NativeNetwork(weights).run({"contexts": np.zeros((CONTEXTS, 5), np.float32)})
        sizes, paired, rows = NativeNetwork(weights)._arrays
        for arrays in [
            (sizes[:2], paired, rows),
            (sizes[:, ::-1].copy(), paired, rows),
            (sizes, paired[:-1], rows),
            (sizes, paired, rows[:-1]),
            (np.zeros((0, 2), np.int32), paired[:0], rows[:0]),
            (sizes * np.array([[1, -1]], np.int32), paired, rows),
        ]:
            with pytest.raises(ValueError, match="are not of one context network"):
                _native.context_network(0, *arrays)
        for number in (-1, len(INSTRUCTION_SETS)):
            with pytest.raises(ValueError, match=r"instruction set -?\d is outside"):
                _native.context_network(number, sizes, paired, rows)
        with pytest.raises(ValueError, match="not C-contiguous"):
            _native.context_network(0, sizes[:, ::-1], paired, rows)
        network = _native.context_network(0, sizes, paired, rows)
        contexts, outputs = np.zeros((CONTEXTS, 5), np.float32), np.zeros((3, 5), np.int32)
        with pytest.raises(ValueError, match="buffer 1 holds 60 octets, not 12 items of 4"):
            _native.evaluate(network, contexts[:, :4].copy(), outputs)
        with pytest.raises(ValueError, match="PyCapsule"):
            _native.evaluate(sizes, contexts, outputs)  # type: ignore[arg-type]

    def test_a_group_that_does_not_fit_is_refused(self) -> None:
        ((of_group, _),) = level_of_noise(NATIVE, np.random.default_rng(0), 1, (4, 4), 0, HUGE)
        assert isinstance(of_group, NativeGroupContexts)
        for wrong, match in [
            ({"level": 9}, "level 9 or component 0 is invalid"),
            ({"first": -1}, "level 0 or component -1 is invalid"),
            ({"log2_spread": np.zeros(2, np.float32)}, "buffer 0 holds 48 octets, not 24 items of 4"),
            ({"mean": of_group.mean[:2]}, "buffer 4 holds 128 octets, not 48 items of 4"),
        ]:
            with pytest.raises(ValueError, match=match):
                assert replace(of_group, **wrong).group  # type: ignore[arg-type]

    def test_a_block_that_does_not_fit_is_refused(self) -> None:
        ((of_group, details),) = level_of_noise(NATIVE, np.random.default_rng(0), 1, (4, 4), 0, HUGE)
        assert isinstance(of_group, NativeGroupContexts)
        network = NativeNetwork(_weights(np.random.default_rng(0), (32, 32)))._network
        tables, sums = np.zeros((1, 8), np.int32), np.zeros((1, 4, 4), np.float32)

        def chosen(orientation: int = 0, decoded: Planes = details, out: NDArray[np.int32] = tables) -> None:
            _native.network_tables(
                network, of_group.group, orientation, False, decoded, None, None, out, np.zeros_like(out)
            )

        for call, match in [
            (lambda: chosen(3), "orientation 3 is outside 0..2"),
            (lambda: chosen(1), "sums of the orientations before are missing"),
            (lambda: chosen(0, details[:, :2].copy()), "buffer 0 holds 128 octets, not 48 items of 4"),
            (lambda: chosen(0, out=tables[:, :7].copy()), "buffer 0 holds 28 octets, not 8 items of 4"),
        ]:
            with pytest.raises(ValueError, match=match):
                call()
        contexts, prediction = np.zeros((CONTEXTS, 1, 8), np.float32), np.zeros((1, 8), np.float32)
        block = (of_group.group, 1, True, details, sums, None)
        for lines, components, match in [
            ((0, 5), (0, 1), "lines 0 to 5 are outside 0..4"),
            ((3, 2), (0, 1), "lines 3 to 2 are outside 0..4"),
            ((-1, 2), (0, 1), "lines -1 to 2 are outside 0..4"),
            ((0, 4), (0, 2), "components 0 to 2 are outside 0..1"),
            ((0, 4), (0, 0), "buffer 0 holds 1376 octets, not 0 items of 4"),
        ]:
            with pytest.raises(ValueError, match=match):
                _native.describe(*block, *lines, *components, contexts, prediction)
        _native.describe(*block, 0, 4, 0, 1, contexts, prediction)


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
