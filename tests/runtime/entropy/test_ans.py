"""Both ANS coders against the definition, against each other, and the one in C against whatever may reach it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hyvic_runtime import kernels
from hyvic_runtime.entropy.ans import STATE_WORDS, AnsCoder, ConstrictionCoder, NativeCoder, ans_coder
from hyvic_runtime.entropy.frequency_table import TOTAL, FrequencyTables
from hyvic_runtime.errors import EngineError
from hyvic_runtime.kernels import KernelKind, why_not_native

Implementation = Callable[[FrequencyTables], AnsCoder]

without_constriction = pytest.mark.skipif(find_spec("constriction") is None, reason="constriction is not installed")
without_native = pytest.mark.skipif(why_not_native() is not None, reason="the package was installed without its C code")
each_implementation = pytest.mark.parametrize(
    "implementation",
    [
        pytest.param(ConstrictionCoder, marks=without_constriction),
        pytest.param(NativeCoder, marks=without_native),
    ],
)


def tables_of(*rows: list[int] | np.ndarray) -> FrequencyTables:
    return FrequencyTables(
        first=np.zeros(len(rows), np.int32),
        length=np.array([len(row) - 1 for row in rows], np.int32),
        frequencies=np.concatenate([np.asarray(row, np.uint32) for row in rows]),
    )


EXTREMES = tables_of(
    [TOTAL - 1, 1],
    [1, TOTAL - 1],
    [TOTAL // 2, TOTAL // 2],
    [TOTAL // 2 - 1, 1, TOTAL // 2],
    np.full(65536, TOTAL // 65536),
    [*[1] * 40_000, TOTAL - 40_000],
    [TOTAL - 40_000, *[1] * 40_000],
)


def random_tables(rng: np.random.Generator, rows: int, longest: int) -> FrequencyTables:
    """Rows from flat to so skewed that all but one frequency are 1."""
    frequencies = []
    for _ in range(rows):
        weights = rng.gamma(10.0 ** rng.uniform(-2, 1), size=rng.integers(2, longest + 2)) + 1e-12
        row = 1 + np.floor(weights / weights.sum() * (TOTAL - weights.size)).astype(np.int64)
        row[rng.integers(row.size)] += TOTAL - row.sum()
        frequencies.append(row)
    return tables_of(*frequencies)


def random_positions(rng: np.random.Generator, tables: FrequencyTables, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions and counts by row: half of the positions as the frequencies have it, half as likely as each other."""
    rows = np.sort(rng.integers(0, len(tables.first), count))
    flat = rng.integers(0, tables.length[rows] + 1)
    quantiles = rng.integers(0, TOTAL, count)
    bounds = [np.cumsum(tables.row(row)) for row in range(len(tables.first))]
    likely = [np.searchsorted(bounds[row], quantile, "right") for row, quantile in zip(rows, quantiles, strict=True)]
    positions = np.where(rng.random(count) < 0.5, flat, likely).astype(np.int32)
    return positions, np.bincount(rows, minlength=len(tables.first))


def words_by_definition(tables: FrequencyTables, positions: np.ndarray, counts: np.ndarray) -> list[int]:
    """Streaming ANS as the literature defines it (Duda 2009), with a 64-bit state and 32-bit words."""
    state, words = 0, []
    rows = [row for block in np.atleast_2d(counts) for row in np.repeat(np.arange(len(block)), block)]
    for row, position in reversed(list(zip(rows, positions, strict=True))):
        frequencies = tables.row(row)
        frequency, start = int(frequencies[position]), int(frequencies[:position].sum())
        if state >> 32 >= frequency << 8:  # keeps the new state below 2^64
            words.append(state & 0xFFFF_FFFF)
            state >>= 32
        state = (state // frequency << 24) + start + state % frequency
    while state:
        words.append(state & 0xFFFF_FFFF)
        state >>= 32
    return words


seeds = st.integers(0, 2**32)
words_that_may_be_a_stream = st.lists(st.integers(0, 2**32 - 1), max_size=60).filter(lambda words: words[-1:] != [0])


@each_implementation
class TestAnsCoder:
    @given(seed=seeds, rows=st.integers(1, 300), longest=st.integers(1, 300), count=st.integers(0, 500))
    @settings(deadline=None)
    @example(seed=0, rows=1, longest=1, count=0)
    def test_words_are_the_definitions_and_come_back(
        self, implementation: Implementation, seed: int, rows: int, longest: int, count: int
    ) -> None:
        rng = np.random.default_rng(seed)
        tables = random_tables(rng, rows, longest)
        positions, counts = random_positions(rng, tables, count)
        coder = implementation(tables)
        words = coder.encode(positions, counts)
        assert words.tolist() == words_by_definition(tables, positions, counts)
        decoded, exhausted = coder.decode(words, counts)
        assert np.array_equal(decoded, positions)
        assert exhausted

    @pytest.mark.parametrize("seed", range(5))
    def test_extreme_frequencies(self, implementation: Implementation, seed: int) -> None:
        positions, counts = random_positions(np.random.default_rng(seed), EXTREMES, 2000)
        coder = implementation(EXTREMES)
        words = coder.encode(positions, counts)
        assert words.tolist() == words_by_definition(EXTREMES, positions, counts)
        decoded, exhausted = coder.decode(words, counts)
        assert np.array_equal(decoded, positions)
        assert exhausted

    @given(
        frequency=st.one_of(
            st.integers(1, TOTAL - 1),
            st.builds(lambda s, d: min(max((1 << s) + d, 1), TOTAL - 1), st.integers(0, 24), st.integers(-2, 2)),
        ),
        quotient=st.one_of(st.integers(0, 2**40 - 1), st.integers(2**40 - 9, 2**40 - 1)),
        remainder=st.one_of(st.integers(0, TOTAL), st.integers(-3, 2)),
    )
    @example(frequency=2**24 - 7, quotient=2**40 - 1, remainder=0)  # wrong with a reciprocal rounded down
    @example(frequency=11_865_616, quotient=2**40 - 1, remainder=-1)  # wrong with one rounded up
    @settings(deadline=None, max_examples=1000)
    def test_a_state_is_divided_exactly(
        self, implementation: Implementation, frequency: int, quotient: int, remainder: int
    ) -> None:
        """Three rows bring the coder into any state below frequency · 2^40; the first row then divides it."""
        state = quotient * frequency + remainder % frequency

        def appending(bits: int) -> tuple[list[int], int]:
            """A row and its position of frequency 1 that starts at `bits`: state becomes state · 2^24 + bits."""
            return ([bits, 1, TOTAL - bits - 1], 1) if 0 < bits < TOTAL - 1 else ([1, TOTAL - 2, 1], 2 * (bits > 0))

        steps = [appending(state >> shift & TOTAL - 1) for shift in (0, 24, 48)]
        tables = tables_of([TOTAL - frequency, frequency], *[row for row, _ in steps])
        positions = np.array([1, *[position for _, position in steps]], np.int32)
        words = implementation(tables).encode(positions, np.ones(4, np.int64))
        expected = (quotient << 24) + TOTAL - frequency + remainder % frequency
        assert sum(int(word) << 32 * i for i, word in enumerate(words)) == expected

    @pytest.mark.parametrize("seed", range(3))
    def test_tables_are_used_to_the_last_count(self, implementation: Implementation, seed: int) -> None:
        """A state's low 24 bits choose the symbol: asked at both ends of every symbol's share."""
        tables = random_tables(np.random.default_rng(seed), rows=3, longest=2000)
        coder = implementation(tables)
        for row in range(3):
            ends = np.cumsum(tables.row(row))
            for position, (start, end) in enumerate(zip(ends - tables.row(row), ends, strict=True)):
                for quantile in (start, end - 1):
                    decoded, _ = coder.decode(np.array([quantile, 1], np.uint32), np.eye(3, dtype=np.int64)[row])
                    assert decoded.tolist() == [position]

    @given(words=words_that_may_be_a_stream, seed=seeds, count=st.integers(0, 100))
    @settings(deadline=None, max_examples=500)
    def test_any_words_decode_to_positions_of_the_tables(
        self, implementation: Implementation, words: list[int], seed: int, count: int
    ) -> None:
        rng = np.random.default_rng(seed)
        tables = random_tables(rng, 20, 300)
        _, counts = random_positions(rng, tables, count)
        coder = implementation(tables)
        positions, exhausted = coder.decode(np.array(words, np.uint32), counts)
        assert ((positions >= 0) & (positions <= np.repeat(tables.length, counts))).all()
        # Positions and streams are one to one: what is accepted is what the encoder would write.
        assert exhausted == (coder.encode(positions, counts).tolist() == words)

    @given(seed=seeds, rows=st.integers(1, 300), sizes=st.lists(st.integers(0, 100), min_size=1, max_size=20))
    @settings(deadline=None)
    def test_blocks_are_the_definitions_and_come_back_one_by_one(
        self, implementation: Implementation, seed: int, rows: int, sizes: list[int]
    ) -> None:
        rng = np.random.default_rng(seed)
        tables = random_tables(rng, rows, 100)
        blocks = [random_positions(rng, tables, size) for size in sizes]
        positions = np.concatenate([positions for positions, _ in blocks])
        counts = np.stack([counts for _, counts in blocks])
        coder = implementation(tables)
        words = coder.encode(positions, counts)
        assert words.tolist() == words_by_definition(tables, positions, counts)
        decoder = coder.decoder(words)
        for expected, block_counts in blocks:
            assert np.array_equal(decoder.decode(block_counts), expected)
        assert decoder.exhausted
        assert np.array_equal(coder.decode(words, counts)[0], positions)

    @given(words=words_that_may_be_a_stream, seed=seeds, sizes=st.lists(st.integers(0, 30), min_size=1, max_size=8))
    @settings(deadline=None, max_examples=300)
    def test_any_words_are_the_same_in_blocks_or_at_once(
        self, implementation: Implementation, words: list[int], seed: int, sizes: list[int]
    ) -> None:
        rng = np.random.default_rng(seed)
        tables = random_tables(rng, 20, 300)
        counts = np.stack([random_positions(rng, tables, size)[1] for size in sizes])
        stream = np.array(words, np.uint32)
        coder = implementation(tables)
        decoder = coder.decoder(stream)
        blocks = np.concatenate([decoder.decode(block_counts) for block_counts in counts])
        positions, exhausted = coder.decode(stream, counts)
        assert np.array_equal(blocks, positions)
        assert decoder.exhausted == exhausted
        assert exhausted == (coder.encode(positions, counts).tolist() == words)

    def test_words_are_exhausted_only_when_all_are_decoded(self, implementation: Implementation) -> None:
        tables = tables_of([TOTAL // 2, TOTAL // 2])
        coder = implementation(tables)
        assert coder.decoder(np.zeros(0, np.uint32)).exhausted
        decoder = coder.decoder(coder.encode(np.ones(100, np.int32), np.array([[40], [60]])))
        seen = [decoder.exhausted]
        for size in (40, 0, 60, 0):
            assert decoder.decode(np.array([size])).tolist() == [1] * size
            seen.append(decoder.exhausted)
        assert seen == [False, False, False, True, True]


@without_constriction
@without_native
class TestBothAreOne:
    @given(seed=seeds, rows=st.integers(1, 500), longest=st.integers(1, 100), count=st.integers(0, 5000))
    @settings(deadline=None, max_examples=50)
    def test_each_reads_what_the_other_wrote(self, seed: int, rows: int, longest: int, count: int) -> None:
        rng = np.random.default_rng(seed)
        tables = random_tables(rng, rows, longest)
        positions, counts = random_positions(rng, tables, count)
        theirs, ours = ConstrictionCoder(tables), NativeCoder(tables)
        words = theirs.encode(positions, counts)
        assert np.array_equal(ours.encode(positions, counts), words)
        for coder in (theirs, ours):
            decoded, exhausted = coder.decode(words, counts)
            assert np.array_equal(decoded, positions)
            assert exhausted

    @given(words=words_that_may_be_a_stream, seed=seeds, count=st.integers(0, 200), extremes=st.booleans())
    @settings(deadline=None, max_examples=500)
    def test_any_words_are_the_same_to_both(self, words: list[int], seed: int, count: int, extremes: bool) -> None:
        rng = np.random.default_rng(seed)
        tables = EXTREMES if extremes else random_tables(rng, 30, 300)
        _, counts = random_positions(rng, tables, count)
        stream = np.array(words, np.uint32)
        theirs, ours = ConstrictionCoder(tables).decode(stream, counts), NativeCoder(tables).decode(stream, counts)
        assert np.array_equal(ours[0], theirs[0])
        assert ours[1] == theirs[1]


@without_native
class TestNativeMemory:
    """The functions in C, called as no code of ours does. `make sanitised` runs this under AddressSanitizer."""

    GOOD = tables_of([1, 1, TOTAL - 2], [TOTAL - 1, 1])

    @staticmethod
    def _library() -> Any:
        from hyvic_runtime.kernels import _native

        return _native

    @pytest.mark.parametrize(
        ("length", "frequencies"),
        [
            ([], []),
            ([1], []),
            ([0], [TOTAL]),
            ([-1], [1, TOTAL - 1]),
            ([2**31 - 1], [1, TOTAL - 1]),
            ([-(2**31)], [1, TOTAL - 1]),
            ([1, 1], [1, TOTAL - 1]),
            ([1], [1, TOTAL - 2]),
            ([1], [1, TOTAL]),
            ([1], [TOTAL, 1]),
            ([1], [0, TOTAL]),
            ([1], [1, 2**32 - 1]),
            ([1], [1, TOTAL - 1, 1]),
        ],
    )
    def test_tables_that_are_none_are_refused(self, length: list[int], frequencies: list[int]) -> None:
        with pytest.raises(ValueError, match="add up to 2\\^24"):
            self._library().ans_tables(np.array(length, np.int32), np.array(frequencies, np.uint32))

    @pytest.mark.parametrize(
        "counts", [[-1, 3], [3, -1], [2**63 - 1, 1], [1, 2**63 - 1], [-(2**63), 2], [0, 1], [2, 1]]
    )
    def test_counts_that_are_not_the_positions_are_refused(self, counts: list[int]) -> None:
        library, tables = self._library(), NativeCoder(self.GOOD)._tables
        positions, words = np.zeros(2, np.int32), np.ones(4, np.uint32)
        with pytest.raises(ValueError, match="counts"):
            library.ans_encode(tables, positions, np.array(counts, np.int64), words)
        with pytest.raises(ValueError, match="counts"):
            library.ans_decode(tables, words, np.array(counts, np.int64), positions)

    @pytest.mark.parametrize("position", [3, 2**31 - 1, -1, -(2**31)])
    def test_a_position_that_no_frequency_has_is_refused(self, position: int) -> None:
        with pytest.raises(ValueError, match="are not of these tables"):
            NativeCoder(self.GOOD).encode(np.array([position], np.int32), np.array([1, 0]))

    def test_buffers_of_another_kind_are_refused(self) -> None:
        library, tables = self._library(), NativeCoder(self.GOOD)._tables
        positions, counts, words = np.zeros(2, np.int32), np.array([1, 1]), np.ones(4, np.uint32)
        with pytest.raises(ValueError, match="words are too few"):
            library.ans_encode(tables, positions, counts, words[:3])
        with pytest.raises(TypeError, match="one 64-bit integer a row"):
            library.ans_encode(tables, positions, counts[:1], words)
        with pytest.raises(TypeError, match="one 64-bit integer a row"):
            library.ans_encode(tables, positions, counts.astype(np.int32), words)
        with pytest.raises(TypeError, match="32-bit integers"):
            library.ans_decode(tables, bytes(7), counts, positions)
        with pytest.raises(TypeError, match="32-bit integers"):  # not aligned
            library.ans_decode(tables, np.zeros(9, np.uint8)[1:], counts, positions)
        with pytest.raises((BufferError, ValueError), match="contiguous"):
            library.ans_decode(tables, np.zeros(8, np.uint32)[::2], counts, positions)
        with pytest.raises((BufferError, ValueError, TypeError), match=r"read-only|read-write"):
            library.ans_decode(tables, words, counts, bytes(8))
        with pytest.raises(ValueError, match="PyCapsule_GetPointer"):
            library.ans_decode(object(), words, counts, positions)
        with pytest.raises(TypeError, match="arrays of 32-bit integers"):
            library.ans_tables(bytes(5), bytes(8))

    @given(data=st.data())
    @settings(deadline=None, max_examples=1000)
    def test_any_octets_in_any_buffer_stay_inside_it(self, data: st.DataObject) -> None:
        library, tables = self._library(), NativeCoder(self.GOOD)._tables
        count = st.integers(-2, 30) | st.integers(-(2**63), 2**63 - 1)
        counts = np.array(data.draw(st.lists(count, min_size=2, max_size=2) | st.lists(count, max_size=3)), np.int64)
        numbers = st.lists(st.integers(-1, 3) | st.integers(-(2**31), 2**31 - 1), max_size=30)
        octets = data.draw(numbers.map(lambda values: np.array(values, np.int32).tobytes()) | st.binary(max_size=80))
        room = data.draw(st.integers(0, 40))
        for function in (library.ans_encode, library.ans_decode):
            guarded = np.full(room + 16, 0x5A5A5A5A, np.uint32)
            with contextlib.suppress(TypeError, ValueError):
                function(tables, octets, counts, guarded[8 : room + 8])
            assert (guarded[:8] == 0x5A5A5A5A).all()
            assert (guarded[room + 8 :] == 0x5A5A5A5A).all()

    @given(words=st.binary(max_size=400).map(lambda octets: octets[: len(octets) // 4 * 4]), seed=seeds)
    @settings(deadline=None, max_examples=300)
    def test_any_words_in_any_table_stay_inside_them(self, words: bytes, seed: int) -> None:
        """A last word of zero too, which no caller passes on."""
        rng = np.random.default_rng(seed)
        tables = random_tables(rng, 10, 3000)
        counts = rng.integers(0, 40, 10)
        positions = np.empty(counts.sum(), np.int32)
        self._library().ans_decode(NativeCoder(tables)._tables, words, counts, positions)
        assert ((positions >= 0) & (positions <= np.repeat(tables.length, counts))).all()

    @given(
        words=st.lists(st.integers(0, 2**32 - 1), max_size=40),
        state=st.integers(0, 2**64 - 1),
        taken=st.integers(0, 41) | st.integers(0, 2**64 - 1),
        seed=seeds,
    )
    @settings(deadline=None, max_examples=500)
    def test_any_cursor_stays_inside_the_words_and_tables(
        self, words: list[int], state: int, taken: int, seed: int
    ) -> None:
        rng = np.random.default_rng(seed)
        tables = random_tables(rng, 10, 3000)
        counts = rng.integers(0, 40, (2, 10))
        positions = np.empty(counts.sum(), np.int32)
        cursor = np.array([state, taken], np.uint64)
        arguments = NativeCoder(tables)._tables, np.array(words, np.uint32), counts, positions, cursor
        if taken > len(words):
            with pytest.raises(ValueError, match="cursor is after the words"):
                self._library().ans_decode(*arguments)
            assert cursor.tolist() == [state, taken]
            return
        self._library().ans_decode(*arguments)
        assert ((positions >= 0) & (positions <= np.repeat(np.tile(tables.length, 2), counts.ravel()))).all()
        assert taken <= cursor[1] <= len(words)

    def test_a_cursor_of_another_size_is_refused(self) -> None:
        library, tables = self._library(), NativeCoder(self.GOOD)._tables
        positions, counts, words = np.zeros(2, np.int32), np.array([1, 1]), np.ones(4, np.uint32)
        for cursor in (bytearray(), bytearray(8), bytearray(24)):
            with pytest.raises(TypeError, match="two 64-bit integers"):
                library.ans_decode(tables, words, counts, positions, cursor)
        with pytest.raises((BufferError, ValueError, TypeError), match=r"read-only|read-write"):
            library.ans_decode(tables, words, counts, positions, bytes(16))
        # Aligned or not: it is copied.
        assert library.ans_decode(tables, words[:0], counts, positions, memoryview(bytearray(17))[1:])

    def test_words_that_no_position_takes_are_noticed(self) -> None:
        tables, counts, positions = NativeCoder(self.GOOD)._tables, np.zeros(2, np.int64), np.empty(0, np.int32)
        for words, exhausted in (([], True), ([1], False), ([0], True), ([5, 0, 0], False)):
            assert self._library().ans_decode(tables, np.array(words, np.uint32), counts, positions) is exhausted

    def test_exact_room_is_enough_where_positions_are_rarest(self) -> None:
        count = 300
        tables = tables_of([TOTAL - 1, 1])
        positions, counts = np.ones(count, np.int32), np.array([count])
        words = NativeCoder(tables).encode(positions, counts)
        assert words.size > 0.7 * count  # 24 bits each
        assert words.base is not None
        assert words.base.size == count + STATE_WORDS
        assert np.array_equal(NativeCoder(tables).decode(words, counts)[0], positions)


@without_native
def test_the_runtimes_own_coder_is_taken_where_it_was_built() -> None:
    for kind in (None, KernelKind.NATIVE):
        coder = ans_coder(EXTREMES, kind)
        assert isinstance(coder, NativeCoder)
        assert coder.describe() == "the runtime's own C coder"


@without_constriction
def test_constriction_is_taken_where_no_compiler_was(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(ans_coder(EXTREMES, KernelKind.REFERENCE), ConstrictionCoder)
    assert isinstance(ans_coder(EXTREMES, KernelKind("reference")), ConstrictionCoder)
    monkeypatch.setattr(kernels, "why_not_native", lambda: "not built")
    coder = ans_coder(EXTREMES)
    assert isinstance(coder, ConstrictionCoder)
    assert coder.describe().startswith("constriction 0.")
    with pytest.raises(EngineError, match=r"without its C code \(not built\): install gcc and python3-dev"):
        ans_coder(EXTREMES, KernelKind.NATIVE)


def test_no_coder_at_all_is_an_error_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "constriction", None)
    monkeypatch.setattr(kernels, "why_not_native", lambda: "not built")
    with pytest.raises(EngineError, match=r"pip install constriction; .* install gcc and python3-dev"):
        ans_coder(EXTREMES)
