from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hyvic_runtime.entropy.ans import ans_coder
from hyvic_runtime.entropy.frequency_table import TOTAL, FrequencyTables
from hyvic_runtime.entropy.unit_coder import SYMBOL_MAX, SYMBOL_MIN, EntropyCoder
from hyvic_runtime.errors import BundleError, DecodeError, EngineError
from hyvic_runtime.kernels import KernelKind


@pytest.fixture(scope="module", params=KernelKind)
def ans(request: pytest.FixtureRequest) -> KernelKind:
    kind: KernelKind = request.param
    try:
        ans_coder(_tables(0), kind)
    except EngineError as error:
        pytest.skip(str(error))
    return kind


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


@given(seed=st.integers(0, 2**32), count=st.integers(0, 400), rows=st.integers(1, 300))
@settings(deadline=None)
def test_symbols_come_back(ans: KernelKind, seed: int, count: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    coder = EntropyCoder(_tables(seed % 7, rows), ans)
    which = rng.integers(0, rows, count)
    # Mostly inside the tables, some far outside: the escapes.
    symbols = rng.integers(-25, 45, count)
    outside = rng.random(count) < 0.05
    symbols[outside] = rng.integers(SYMBOL_MIN, SYMBOL_MAX + 1, count)[outside]
    data = coder.encode(symbols, which)
    assert np.array_equal(coder.decode(data, which), symbols)


def test_the_stream_format_is_frozen(ans: KernelKind) -> None:
    tables = FrequencyTables(
        first=np.array([-1, 0], np.int32),
        length=np.array([3, 2], np.int32),
        frequencies=np.array([TOTAL // 4, TOTAL // 2, TOTAL // 4 - 1, 1, TOTAL // 2, TOTAL // 2 - 1, 1], np.uint32),
    )
    symbols = np.array([0, -1, 1, 0, 500, 0, 1, -7])
    rows = np.array([0, 0, 0, 1, 0, 1, 1, 1])
    # One escape a row: 500 and -7, in coding order, then the ANS words, from the definition in test_ans.py.
    expected = bytes.fromhex("00000002 01f4 fff9 a7004046 05004001")
    assert EntropyCoder(tables, ans).encode(symbols, rows) == expected


@given(data=st.binary(max_size=200), count=st.integers(0, 100))
@settings(deadline=None, max_examples=500)
def test_random_octets_are_refused_or_decoded(ans: KernelKind, data: bytes, count: int) -> None:
    coder = EntropyCoder(_tables(1), ans)
    rows = np.arange(count) % 5
    try:
        symbols = coder.decode(data, rows)
    except DecodeError:
        return
    assert symbols.shape == (count,)


def _blocks(seed: int, rows: int, sizes: list[int]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Symbols and rows, some symbols far outside the tables."""
    rng = np.random.default_rng(seed)
    blocks = []
    for size in sizes:
        symbols = rng.integers(-25, 45, size)
        outside = rng.random(size) < 0.05
        symbols[outside] = rng.integers(SYMBOL_MIN, SYMBOL_MAX + 1, size)[outside]
        blocks.append((symbols, rng.integers(0, rows, size)))
    return blocks


@given(
    seed=st.integers(0, 2**32),
    sizes=st.lists(st.integers(0, 100) | st.integers(0, 500), min_size=1, max_size=10),
    rows=st.integers(1, 300),
)
@settings(deadline=None)
def test_blocks_come_back_one_by_one(ans: KernelKind, seed: int, sizes: list[int], rows: int) -> None:
    coder = EntropyCoder(_tables(seed % 7, rows), ans)
    blocks = _blocks(seed, rows, sizes)
    data = coder.encode_blocks(blocks)
    reader = coder.reader(data)
    for symbols, which in blocks:
        assert np.array_equal(reader.read(which), symbols)
    reader.finish()


@given(seed=st.integers(0, 2**32), size=st.integers(0, 200), rows=st.integers(1, 300))
@settings(deadline=None, max_examples=50)
def test_blocks_without_symbols_cost_nothing(ans: KernelKind, seed: int, size: int, rows: int) -> None:
    coder = EntropyCoder(_tables(seed % 7, rows), ans)
    empty, block = _blocks(seed, rows, [0, size])
    assert coder.encode_blocks([empty, block, empty]) == coder.encode(*block)


def test_how_many_blocks_are_grouped_at_a_time_does_not_show(ans: KernelKind, monkeypatch: pytest.MonkeyPatch) -> None:
    coder = EntropyCoder(_tables(5), ans)
    blocks = _blocks(5, 5, [30, 0, 7, 200, 1, 40])
    together = coder.encode_blocks(blocks)
    for at_once in (1, 31, 238):
        monkeypatch.setattr("hyvic_runtime.entropy.unit_coder._GROUPED_AT_ONCE", at_once)
        assert coder.encode_blocks(blocks) == together


def test_blocks_whose_rows_rise_are_one_block(ans: KernelKind) -> None:
    """What `encode` writes is frozen; blocks only change the order of symbols."""
    coder = EntropyCoder(_tables(3), ans)
    symbols, rows = _blocks(3, 5, [300])[0]
    parts = [(symbols[rows == row], rows[rows == row]) for row in range(5)]
    assert coder.encode_blocks(parts) == coder.encode(symbols, rows)


@given(data=st.binary(max_size=200), sizes=st.lists(st.integers(0, 40), min_size=1, max_size=5))
@settings(deadline=None, max_examples=500)
def test_random_octets_are_refused_or_decoded_in_blocks(ans: KernelKind, data: bytes, sizes: list[int]) -> None:
    coder = EntropyCoder(_tables(1), ans)
    try:
        reader = coder.reader(data)
        blocks = [(reader.read(rows), rows) for rows in (np.arange(size) % 5 for size in sizes)]
        reader.finish()
    except DecodeError:
        return
    # Units and what they hold are one to one, but for escapes of symbols that a table holds.
    assert coder.encode_blocks(blocks) == data or data[:4] != bytes(4)


@given(data=st.data())
@settings(deadline=None, max_examples=200)
def test_damaged_blocks_are_refused_or_decoded(ans: KernelKind, data: st.DataObject) -> None:
    coder = EntropyCoder(_tables(4), ans)
    blocks = _blocks(4, 5, [60, 0, 90])
    octets = bytearray(coder.encode_blocks(blocks))
    for _ in range(data.draw(st.integers(1, 3))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    try:
        reader = coder.reader(bytes(octets[: data.draw(st.integers(0, len(octets)))]))
        for symbols, rows in blocks:
            assert reader.read(rows).shape == symbols.shape
        reader.finish()
    except DecodeError:
        return


def test_more_or_fewer_blocks_than_were_written_are_noticed(ans: KernelKind) -> None:
    coder = EntropyCoder(_tables(2), ans)
    blocks = _blocks(0, 5, [100, 100, 100])
    data = coder.encode_blocks(blocks)
    assert int.from_bytes(data[:4], "big") > 3
    reader = coder.reader(data)
    for _, rows in blocks[:2]:
        reader.read(rows)
    with pytest.raises(DecodeError, match=r"holds more than its symbols|escapes among 200 symbols"):
        reader.finish()
    reader.read(blocks[2][1])
    reader.finish()
    words = data[4 + 2 * int.from_bytes(data[:4], "big") :]
    with pytest.raises(DecodeError, match="announces 0 escapes and uses more"):
        coder.reader(bytes(4) + words).read(blocks[0][1])


def test_every_truncation_is_noticed(ans: KernelKind) -> None:
    coder = EntropyCoder(_tables(2), ans)
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 5, 300)
    data = coder.encode(rng.integers(-25, 45, 300), rows)
    for size in range(len(data)):
        with pytest.raises(DecodeError):
            coder.decode(data[:size], rows)


@pytest.mark.parametrize(
    ("octets", "problem"),
    [
        ("000000", "has 3 octets, at least 4"),
        ("00000002 0000 0000", "cannot hold 2 escapes among 1 symbols"),
        ("00000000 0001", "of 6 octets cannot hold 0 escapes"),
        ("00000000 01000000 00000000", "ends in a zero word"),
        ("00000000 05000000", "holds more than its symbols"),
        ("00000000 ffffff00", "announces 0 escapes and uses more"),
        ("00000001 0000", "holds more than its symbols"),
    ],
)
def test_what_is_wrong_with_a_unit_is_said(ans: KernelKind, octets: str, problem: str) -> None:
    tables = FrequencyTables(
        first=np.array([0], np.int32), length=np.array([1], np.int32), frequencies=np.array([TOTAL - 1, 1], np.uint32)
    )
    with pytest.raises(DecodeError, match=problem):
        EntropyCoder(tables, ans).decode(bytes.fromhex(octets), np.zeros(1, np.int32))


def test_a_row_that_no_table_has_is_refused(ans: KernelKind) -> None:
    coder = EntropyCoder(_tables(0), ans)
    for row in (5, -1):
        rows = np.array([0, row])
        with pytest.raises(ValueError, match="one is outside the 5 frequency tables"):
            coder.encode_blocks([(np.zeros(2, np.int32), rows), (np.zeros(2, np.int32), np.zeros(2, np.int32))])
    with pytest.raises(ValueError, match=r"\(3,\) symbols under rows \(2,\)"):
        coder.encode(np.zeros(3, np.int32), np.zeros(2, np.int32))
    with pytest.raises(ValueError, match="row 300 is outside the 5 frequency tables"):
        coder.decode(bytes(4), np.array([0, 300]))


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
