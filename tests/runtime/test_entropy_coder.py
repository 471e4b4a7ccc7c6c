from __future__ import annotations

from itertools import pairwise

import constriction
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hyvic_runtime.entropy_coder import SYMBOL_MAX, SYMBOL_MIN, EntropyCoder
from hyvic_runtime.errors import BundleError, DecodeError
from hyvic_runtime.frequency_table import TOTAL, FrequencyTables


def _tables(seed: int, rows: int = 5, longest: int = 40) -> FrequencyTables:
    rng = np.random.default_rng(seed)
    length = rng.integers(1, longest, rows).astype(np.int32)
    frequencies = []
    for size in length:
        weights = rng.gamma(0.2, size=size + 1) + 1e-9
        row = 1 + np.floor(weights / weights.sum() * (TOTAL - size - 1)).astype(np.int64)
        row[rng.integers(size + 1)] += TOTAL - row.sum()
        frequencies.append(row)
    first = rng.integers(-20, 5, rows).astype(np.int32)
    return FrequencyTables(first=first, length=length, frequencies=np.concatenate(frequencies).astype(np.uint32))


@given(st.integers(0, 2**32), st.integers(0, 400), st.integers(1, 300))
@settings(deadline=None)
def test_symbols_come_back(seed: int, count: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    coder = EntropyCoder(_tables(seed % 7, rows))
    which = rng.integers(0, rows, count)
    # Mostly inside the tables, some far outside: the escapes.
    symbols = rng.integers(-25, 45, count)
    outside = rng.random(count) < 0.05
    symbols[outside] = rng.integers(SYMBOL_MIN, SYMBOL_MAX + 1, count)[outside]
    data = coder.encode(symbols, which)
    assert np.array_equal(coder.decode(data, which), symbols)


@pytest.mark.parametrize("seed", range(4))
def test_constriction_uses_the_tables_to_the_last_count(seed: int) -> None:
    """Reads the model's frequencies out of constriction: a state's low 24 bits choose the symbol."""
    tables = _tables(seed, rows=3, longest=2000)
    models = EntropyCoder(tables)._models
    for index, model in enumerate(models):
        bounds = np.concatenate(([0], np.cumsum(tables.row(index).astype(np.int64))))
        for symbol, (low, high) in enumerate(pairwise(bounds)):
            for quantile in (low, high - 1):
                assert constriction.stream.stack.AnsCoder(np.array([quantile, 1], np.uint32)).decode(model) == symbol


def test_the_stream_format_is_frozen() -> None:
    tables = FrequencyTables(
        first=np.array([-1, 0], np.int32),
        length=np.array([3, 2], np.int32),
        frequencies=np.array([TOTAL // 4, TOTAL // 2, TOTAL // 4 - 1, 1, TOTAL // 2, TOTAL // 2 - 1, 1], np.uint32),
    )
    symbols = np.array([0, -1, 1, 0, 500, 0, 1, -7])
    rows = np.array([0, 0, 0, 1, 0, 1, 1, 1])
    # One escape a row: 500 and -7, in coding order, then the ANS words. Worked by `_ans_by_definition` below.
    expected = bytes.fromhex("0000000201f4fff9") + _ans_by_definition(tables, symbols, rows)
    assert EntropyCoder(tables).encode(symbols, rows) == expected


def _ans_by_definition(tables: FrequencyTables, symbols: np.ndarray, rows: np.ndarray) -> bytes:
    """Streaming ANS as the literature defines it (Duda 2009), with a 64-bit state and 32-bit words."""
    state, words = 0, []
    order = sorted(range(len(symbols)), key=lambda i: int(rows[i]))
    for i in reversed(order):
        row = tables.row(int(rows[i])).astype(int).tolist()
        position = int(symbols[i]) - int(tables.first[rows[i]])
        if not 0 <= position < len(row) - 1:
            position = len(row) - 1
        frequency, start = row[position], sum(row[:position])
        if state >> 32 >= frequency << 8:  # keeps the new state below 2^64
            words.append(state & 0xFFFF_FFFF)
            state >>= 32
        state = (state // frequency << 24) + start + state % frequency
    while state:
        words.append(state & 0xFFFF_FFFF)
        state >>= 32
    return b"".join(word.to_bytes(4, "little") for word in words)


@given(st.binary(max_size=200), st.integers(0, 100))
@settings(deadline=None, max_examples=500)
def test_random_octets_are_refused_or_decoded(data: bytes, count: int) -> None:
    coder = EntropyCoder(_tables(1))
    rows = np.arange(count) % 5
    try:
        symbols = coder.decode(data, rows)
    except DecodeError:
        return
    assert symbols.shape == (count,)


def test_every_truncation_is_noticed() -> None:
    coder = EntropyCoder(_tables(2))
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 5, 300)
    data = coder.encode(rng.integers(-25, 45, 300), rows)
    for size in range(len(data)):
        with pytest.raises(DecodeError):
            coder.decode(data[:size], rows)


@pytest.mark.parametrize("broken", ["sum", "zero", "length"])
def test_tables_that_no_coder_could_use_are_refused(broken: str) -> None:
    good = _tables(0)
    frequencies, length = good.frequencies.copy(), good.length.copy()
    if broken == "sum":
        frequencies[0] += 1
    elif broken == "zero":
        frequencies[0] += frequencies[1]
        frequencies[1] = 0
    else:
        length[0] += 1
    with pytest.raises(BundleError, match="frequency table"):
        FrequencyTables(first=good.first, length=length, frequencies=frequencies)
