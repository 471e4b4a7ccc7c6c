from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hyvic_runtime.entropy.frequency_table import TOTAL, FrequencyTables
from hyvic_runtime.entropy.unit_coder import EntropyCoder
from hyvic_runtime.errors import BundleError, DecodeError
from hyvic_runtime.families.adaptive.basis_coder import SYMBOLS_PER_OCTET, BasisCoder
from hyvic_runtime.families.adaptive.strip_basis import SpectralStatistics, StripBasis
from hyvic_runtime.families.adaptive.table_choice import SCALES
from numpy.typing import NDArray

PREFIX_OCTETS = 14


def _laplacians(scales: NDArray[np.float64]) -> FrequencyTables:
    """Rows of falling exponentials on both sides of zero."""
    first, length, frequencies = [], [], []
    for scale in scales:
        reach = int(np.ceil(12 * scale))
        weights = np.exp(-np.abs(np.arange(-reach, reach + 1)) / scale)
        row = 1 + np.floor(weights / weights.sum() * (TOTAL - 2 * reach - 2)).astype(np.int64)
        row[reach] += TOTAL - 1 - row.sum()
        first.append(-reach)
        length.append(len(row))
        frequencies += [*row, 1]
    return FrequencyTables(
        first=np.array(first, np.int32), length=np.array(length, np.int32), frequencies=np.array(frequencies, np.uint32)
    )


TABLES = _laplacians(np.geomspace(2**-4, 2**9, SCALES))
CODER = BasisCoder(EntropyCoder(TABLES, escape_octets=4))
LINES = 151
BASIS = StripBasis(
    mean_exponent=-3,
    mean=np.array([1000, 1300, 1600, 1905], np.int32),
    vectors=np.array([[5, 6, 7, 9], [3, -3, 2, 0]], np.int32),
    spread=np.array([47, 255], np.uint8),
)


def _random_basis(rng: np.random.Generator, bands: int, components: int) -> StripBasis:
    """Vectors of all sizes, rough and smooth, some at the very limits."""
    rough = rng.laplace(size=(components + 1, bands)) * np.exp2(rng.uniform(-2, 15, components + 1))[:, None]
    smooth = np.cumsum(rough / 4, axis=1)
    spectra = np.rint(np.where(rng.random((components + 1, 1)) < 0.5, rough, smooth)).clip(-32768, 32767)
    spectra = spectra.astype(np.int32)
    for component, vector in enumerate(spectra[1:], 1):
        vector[np.abs(spectra[1:component]).argmax(axis=1)] = 0
        if not vector.any():
            free = np.setdiff1d(np.arange(bands), np.abs(spectra[1:component]).argmax(axis=1))
            vector[rng.choice(free)] = rng.choice([-32768, 1])
    return StripBasis(
        mean_exponent=int(rng.integers(-32, 128)),
        mean=(spectra[0] + rng.integers(-(2**30), 2**30)).astype(np.int32),
        vectors=spectra[1:],
        spread=rng.integers(0, 256, components).astype(np.uint8),
    )


def _unpacked(octets: bytes, bands: int) -> StripBasis:
    basis, lines = CODER.unpack(octets, bands)
    assert lines == LINES
    return basis


def _same(one: StripBasis, other: StripBasis) -> bool:
    return all(np.array_equal(getattr(one, field.name), getattr(other, field.name)) for field in fields(StripBasis))


@given(seed=st.integers(0, 2**32 - 1), bands=st.integers(1, 60), components=st.integers(0, 12))
@settings(deadline=None)
def test_bases_come_back(seed: int, bands: int, components: int) -> None:
    basis = _random_basis(np.random.default_rng(seed), bands, min(bands, components))
    assert _same(_unpacked(CODER.pack(basis, LINES), bands), basis)


@pytest.mark.parametrize("step", [0.25, 10, 500])
@pytest.mark.parametrize("shape", [(30, 40, 25), (1, 1, 3), (2, 2, 300)])
def test_bases_of_scenes_come_back(shape: tuple[int, int, int], step: float) -> None:
    bands = shape[2]
    level = np.linspace(0, 65535, bands)
    cube = (level + np.random.default_rng(0).normal(0, 3000, shape)).clip(0, 65535).astype(np.uint16)
    statistics = SpectralStatistics(bands)
    statistics.add(cube)
    basis = statistics.basis().quantised(min(bands, 256), step)
    assert _same(_unpacked(CODER.pack(basis, LINES), bands), basis)


def test_the_units_octets_are_frozen() -> None:
    octets = CODER.pack(BASIS, LINES)
    # Lines, components, exponent, order and row, offset: the mean is second differences from its first element.
    assert octets[:10].hex(" ") == "00 97 00 02 fd b2 00 00 03 e8"
    # 18 / 4096 of the mean is in the first vector; its spread; the level of what is said of the vectors.
    assert octets[10:PREFIX_OCTETS].hex(" ") == "00 12 2f 2b"
    words = "00 00 00 00 e0 f2 8a 71 8f 92 7a d7 82 a3 80 55 c3 be 80 63 e4 02 00 00"
    assert octets[PREFIX_OCTETS:].hex(" ") == words


def test_a_reader_of_the_document_finds_the_spectra() -> None:
    """The section's words, followed one by one."""
    expected: list[int] = []
    first_used = 0
    for row in range(SCALES):
        frequencies = TABLES.row(row).tolist()
        total = sum(abs(int(TABLES.first[row]) + at) * count for at, count in enumerate(frequencies[:-1]))
        expected.append(max(2**16 * total // 2**24, *expected[-1:], 0))
        if max(frequencies) > 15_384_774:
            first_used = row + 1

    def row_of(magnitude: int) -> int:
        row = first_used
        while row < SCALES - 1 and magnitude > (expected[row] + expected[row + 1]) // 2:
            row += 1
        return row

    def summed(symbols: list[int], order: int) -> list[int]:
        for _ in range(order):
            symbols = [sum(symbols[: at + 1]) for at in range(len(symbols))]
        return symbols

    rng = np.random.default_rng(5)
    for basis in (BASIS, *(_random_basis(rng, bands, 9) for bands in (9, 30))):
        bands, octets = len(basis.mean), CODER.pack(basis, LINES)
        order, level = divmod(octets[5], 64)
        offset, slope = (int.from_bytes(octets[at:end], "big", signed=True) for at, end in ((6, 10), (10, 12)))
        reader = CODER.coder.reader(octets[PREFIX_OCTETS:])
        mean = [
            offset + element for element in summed(reader.read(np.full(bands, row_of(expected[level]))).tolist(), order)
        ]
        assert mean == basis.mean.tolist()
        said = np.array([octets[12], level, order, 0])
        differences = reader.read(np.full(4 * len(basis), row_of(expected[octets[13]]))).reshape(-1, 4)
        left, activity = list(range(bands)), [4096] * bands
        for number, vector in enumerate(basis.vectors.tolist()):
            said += differences[number]
            spread, level, order, shape = said.tolist()
            assert spread == basis.spread[number]
            followed = {band: max(activity[band], 128) for band in left}
            shaped = {band: (4096, (4096 + a) // 2, a)[shape] for band, a in followed.items()}
            rows = [row_of(expected[level] * shaped[band] // 4096) for band in left]
            symbols = reader.read(np.array(rows)).tolist()
            found = dict(zip(left, summed(symbols, order), strict=True))
            if number == 0:
                found = {band: element + (slope * (mean[band] - mean[0]) >> 12) for band, element in found.items()}
            assert [found.get(band, 0) for band in range(bands)] == vector
            magnitudes = sum(map(abs, symbols))
            for band, symbol in zip(left, symbols, strict=True):
                activity[band] += (
                    3 * (min(4096 * len(symbols) * abs(symbol) // max(magnitudes, 1), 131_072) - activity[band]) // 8
                )
            left.remove(next(band for band in left if abs(vector[band]) == max(map(abs, vector))))
        reader.finish()


def _vector_basis(mean: NDArray[np.int32], *vectors: NDArray[np.integer[Any]]) -> StripBasis:
    return StripBasis(
        mean_exponent=0,
        mean=mean,
        vectors=np.array(vectors, np.int32).reshape(len(vectors), len(mean)),
        spread=np.zeros(len(vectors), np.uint8),
    )


@pytest.mark.parametrize("order", [1, 2])
def test_a_smooth_spectrum_takes_less_than_its_elements_do(order: int) -> None:
    rng = np.random.default_rng(order)
    vector = steps = rng.integers(-9, 10, 200)
    for _ in range(order):
        vector = np.cumsum(vector)
    flat = np.zeros(200, np.int32)
    smooth, rough = (len(CODER.pack(_vector_basis(flat, each), LINES)) for each in (vector, steps))
    assert smooth <= rough + 4  # the octets come in words


def test_a_first_vector_that_is_like_the_mean_takes_little() -> None:
    mean = np.cumsum(np.random.default_rng(0).integers(-500, 500, 200)).astype(np.int32)
    # Rows that are left alone would code zeros in less than an eighth of a bit.
    alone, like = (
        len(CODER.pack(basis, LINES)) for basis in (_vector_basis(mean), _vector_basis(mean, (mean - mean[0]) * 3 >> 2))
    )
    assert like - alone < 200 * 0.2 / 8 + 8
    assert _same(_unpacked(CODER.pack(_vector_basis(mean, -mean // 3), LINES), 200), _vector_basis(mean, -mean // 3))


def test_rows_follow_where_vectors_before_were_large() -> None:
    rng = np.random.default_rng(0)
    flat = np.zeros(200, np.int32)
    where = np.where(np.arange(200) < 30, 200, 1)

    def octets(scales: list[NDArray[np.int64]]) -> int:
        vectors = [np.rint(rng.laplace(size=200) * scale).astype(np.int32) for scale in scales]
        taken: list[int] = []
        for vector in vectors:
            vector[taken] = 0
            taken.append(int(np.abs(vector).argmax()))
        return len(CODER.pack(_vector_basis(flat, *vectors), LINES))

    together, apart = octets([where] * 10), octets([rng.permutation(where) for _ in range(10)])
    assert together < 0.8 * apart


def test_a_flat_spectrum_of_many_bands_keeps_to_the_octets_it_needs() -> None:
    bands = 65_535
    basis = StripBasis(
        mean_exponent=0,
        mean=np.full(bands, 7, np.int32),
        vectors=np.array([[1] + [0] * (bands - 1), [0] * (bands - 1) + [1]], np.int32),
        spread=np.array([0, 0], np.uint8),
    )
    octets = CODER.pack(basis, LINES)
    assert 3 * bands / len(octets) <= SYMBOLS_PER_OCTET
    assert _same(_unpacked(octets, bands), basis)


def test_a_unit_that_ends_early_is_refused_unless_whole_words_are_left() -> None:
    octets = CODER.pack(BASIS, LINES)
    for size in range(len(octets)):
        if size < PREFIX_OCTETS + 4 or (size - PREFIX_OCTETS) % 4:
            with pytest.raises(DecodeError):
                CODER.unpack(octets[:size], 4)
        else:  # an ANS decoder may make symbols of them; packets say how many octets there are
            _refused_or_usable(octets[:size], 4)


@given(octets=st.binary(max_size=120), bands=st.integers(1, 65_535))
@settings(deadline=None, max_examples=500)
def test_random_octets_are_refused_or_decoded(octets: bytes, bands: int) -> None:
    _refused_or_usable(octets, bands)


@given(data=st.data(), seed=st.integers(0, 20))
@settings(deadline=None, max_examples=500)
def test_damaged_units_are_refused_or_decoded(data: st.DataObject, seed: int) -> None:
    rng = np.random.default_rng(seed)
    bands = int(rng.integers(1, 40))
    damaged = bytearray(CODER.pack(_random_basis(rng, bands, min(bands, seed)), LINES))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(damaged) - 1))
        damaged[start : start + data.draw(st.integers(0, 12))] = data.draw(st.binary(min_size=1, max_size=12))
    _refused_or_usable(bytes(damaged), bands)


def _refused_or_usable(octets: bytes, bands: int) -> None:
    try:
        basis, _ = CODER.unpack(octets, bands)
    except DecodeError:
        return
    assert len(basis) <= bands
    for planes in basis.project(np.eye(bands, dtype=np.int16)[None]):
        assert np.isfinite(planes).all()
    reconstructed = basis.reconstruct(np.full((len(basis), 2, 3), 1e8, np.float32), np.dtype(np.int16))
    assert reconstructed.shape == (2, 3, bands)
    assert np.isfinite(basis.scale(0).log2_spread).all()


@pytest.mark.parametrize(
    ("octets", "bands", "problem"),
    [
        ("00", 4, "of 1 octets ends within its first 14"),
        ("0001 0005 00 10 00000000 0000 00 10", 4, "of 5 components; 4 are the most"),
        ("0001 0101 00 10 00000000 0000 00 10", 999, "of 257 components; 256 are the most"),
        ("0001 0004 00 10 00000000 0000 00 10", 999, "14 octets cannot hold 4 components of 999 bands"),
        ("0001 0000 00 10 00000000 0000 00 10 00000000", 65535, "18 octets cannot hold 0 components of 65535 bands"),
        (
            "0001 0000 00 d0 00000000 0000 00 10 00000000",
            4,
            "differences of order 3 or a level of 16, which is invalid",
        ),
        (
            "0001 0000 00 10 00000000 0000 00 40 00000000",
            4,
            "differences of order 0 or a level of 64, which is invalid",
        ),
        ("0001 0000 df 10 00000000 0000 00 10 00000000", 4, "damaged: a step of"),
    ],
)
def test_what_is_wrong_with_a_unit_is_said(octets: str, bands: int, problem: str) -> None:
    with pytest.raises(DecodeError, match=problem):
        CODER.unpack(bytes.fromhex(octets), bands)


@pytest.mark.parametrize(
    ("mean", "order", "offset", "problem"),
    [
        ([32767] * 70_000 + [0], 2, 0, "outgrows 32 bits"),
        ([32767, 0, 0], 0, 2**31 - 1, "outgrows 32 bits"),
        ([32767, 32767, 32767, 32767], 1, 0, "extends over 98301"),
    ],
)
def test_sums_that_no_spectrum_has_are_refused(mean: list[int], order: int, offset: int, problem: str) -> None:
    row = SCALES - 1
    lead = bytes(5) + bytes([order * SCALES + row]) + offset.to_bytes(4, "big", signed=True) + bytes(4)
    octets = lead + CODER.coder.encode(np.array(mean), np.full(len(mean), row))
    with pytest.raises(DecodeError, match=problem):
        CODER.unpack(octets, len(mean))


@pytest.mark.parametrize(
    ("said", "elements", "problem"),
    [
        ([-1, 0, 0, 0], [1, 0, 0, 0], "side information of a basis unit"),
        ([256, 0, 0, 0], [1, 0, 0, 0], "side information of a basis unit"),
        ([0, 1, 0, 0], [1, 0, 0, 0], "side information of a basis unit"),
        ([0, 0, 3, 0], [1, 0, 0, 0], "side information of a basis unit"),
        ([0, 0, 0, 3], [1, 0, 0, 0], "side information of a basis unit"),
        ([0, 0, 0, 0], [0, 0, 0, 0], "is zero or outgrows 16 bits"),
        ([0, 0, 0, 0], [0, 32768, 0, 0], "is zero or outgrows 16 bits"),
        ([0, 0, 2, 0], [-20000, 0, 0, 0], "is zero or outgrows 16 bits"),
    ],
)
def test_vectors_that_no_basis_has_are_refused(said: list[int], elements: list[int], problem: str) -> None:
    row = SCALES - 1
    lead = bytes([0, 1, 0, 1, 0, row]) + bytes(7) + bytes([row])
    blocks = [(np.array(symbols), np.full(4, row)) for symbols in ([0, 0, 0, 0], said, elements)]
    with pytest.raises(DecodeError, match=problem):
        CODER.unpack(lead + CODER.coder.encode_blocks(blocks), 4)


def test_tables_that_suit_no_basis_are_refused() -> None:
    with pytest.raises(BundleError, match="63 frequency tables, 64 are needed"):
        BasisCoder(EntropyCoder(_laplacians(np.geomspace(0.1, 9, SCALES - 1)))).pack(BASIS, LINES)
    with pytest.raises(BundleError, match="too narrow for a spectral basis"):
        BasisCoder(EntropyCoder(_laplacians(np.full(SCALES, 0.1)))).pack(BASIS, LINES)
