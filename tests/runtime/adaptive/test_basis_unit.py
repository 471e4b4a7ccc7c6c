from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hyvic_runtime.adaptive.basis_unit import SYMBOLS_PER_OCTET, BasisCoder
from hyvic_runtime.adaptive.spectral_basis import SpectralStatistics, StripBasis
from hyvic_runtime.adaptive.table_rows import SCALES
from hyvic_runtime.entropy_coder import EntropyCoder
from hyvic_runtime.errors import BundleError, DecodeError
from hyvic_runtime.frequency_table import TOTAL, FrequencyTables
from numpy.typing import NDArray

LEAD_OCTETS, VECTOR_OCTETS = 10, 3


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
    exponents=np.array([20, -4], np.int8),
    vectors=np.array([[5, 6, 7, 9], [3, -3, 2, -2]], np.int32),
    spread=np.array([47, 255], np.uint8),
)


def _random_basis(rng: np.random.Generator, bands: int, components: int) -> StripBasis:
    """Vectors of all sizes, rough and smooth, some at the very limits."""
    rough = rng.laplace(size=(components + 1, bands)) * np.exp2(rng.uniform(-2, 15, components + 1))[:, None]
    smooth = np.cumsum(rough / 4, axis=1)
    vectors = np.rint(np.where(rng.random((components + 1, 1)) < 0.5, rough, smooth)).clip(-32768, 32767)
    return StripBasis(
        mean_exponent=int(rng.integers(-32, 128)),
        mean=(vectors[0] + rng.integers(-(2**30), 2**30)).astype(np.int32),
        exponents=rng.integers(-32, 128, components).astype(np.int8),
        vectors=vectors[1:].astype(np.int32),
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
    assert octets[:LEAD_OCTETS].hex(" ") == "00 97 00 02 fd b2 00 00 03 e8"
    # First differences, and the elements as they are.
    assert octets[LEAD_OCTETS : LEAD_OCTETS + 2 * VECTOR_OCTETS].hex(" ") == "14 59 2f fc 1a ff"
    symbols = np.array([0, 300, 0, 5, 5, 1, 1, 2, 3, -3, 2, -2])
    assert octets[16:] == CODER.coder.encode(symbols, np.repeat([0xB2 & 63, 0x59 & 63, 0x1A & 63], 4))


def test_a_reader_of_the_documents_tables_finds_the_spectra() -> None:
    """The section's words, followed one by one."""
    octets = CODER.pack(BASIS, LINES)
    orders, rows = zip(*(divmod(octets[at], 64) for at in (5, 11, 14)), strict=True)
    symbols = CODER.coder.decode(octets[16:], np.repeat(rows, 4)).reshape(3, 4).tolist()
    spectra = []
    for order, spectrum in zip(orders, symbols, strict=True):
        sums = list(spectrum)
        for _ in range(order):
            sums = [sum(sums[: band + 1]) for band in range(4)]
        spectra.append(sums)
    assert [value + int.from_bytes(octets[6:10], "big", signed=True) for value in spectra[0]] == BASIS.mean.tolist()
    assert spectra[1:] == BASIS.vectors.tolist()
    assert int.from_bytes(octets[10:11], "big", signed=True) == 20


@pytest.mark.parametrize("order", [0, 1, 2])
def test_a_spectrum_is_coded_in_the_cheapest_differences_and_row(order: int) -> None:
    rng = np.random.default_rng(order)
    vector = rng.integers(-9, 10, 200)
    for _ in range(order):
        vector = np.cumsum(vector)
    basis = StripBasis(
        mean_exponent=0,
        mean=np.zeros(200, np.int32),
        exponents=np.array([10], np.int8),
        vectors=vector[None].astype(np.int32),
        spread=np.array([0], np.uint8),
    )
    octets = CODER.pack(basis, LINES)
    assert octets[LEAD_OCTETS + 1] // SCALES == order
    symbols = np.diff(vector, order, prepend=[0] * order)
    lengths = [len(CODER.coder.encode(symbols, np.full(200, row))) for row in range(SCALES)]
    chosen = lengths[octets[LEAD_OCTETS + 1] % SCALES]
    assert chosen <= min(lengths) + 4  # the octets come in words


def test_a_flat_spectrum_of_many_bands_keeps_to_the_octets_it_needs() -> None:
    bands = 65_535
    basis = StripBasis(
        mean_exponent=0,
        mean=np.full(bands, 7, np.int32),
        exponents=np.array([2, 2], np.int8),
        vectors=np.array([[1] + [0] * (bands - 1), [0] * (bands - 1) + [1]], np.int32),
        spread=np.array([0, 0], np.uint8),
    )
    octets = CODER.pack(basis, LINES)
    assert 3 * bands / len(octets) <= SYMBOLS_PER_OCTET
    assert _same(_unpacked(octets, bands), basis)


def test_a_unit_that_ends_early_is_refused_unless_whole_words_are_left() -> None:
    octets = CODER.pack(BASIS, LINES)
    symbols_at = LEAD_OCTETS + 2 * VECTOR_OCTETS
    for size in range(len(octets)):
        if size < symbols_at + 4 or (size - symbols_at) % 4:
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
    reconstructed = basis.reconstruct(np.full((len(basis), 2, 3), 1e8, np.float32), np.dtype(np.int16))
    assert reconstructed.shape == (2, 3, bands)
    assert np.isfinite(basis.scale(0).log2_spread).all()


@pytest.mark.parametrize(
    ("octets", "bands", "problem"),
    [
        ("00", 4, "of 1 octets ends within its first 10"),
        ("0001 0005 00 10 00000000", 4, "of 5 components; 4 are the most"),
        ("0001 0101 00 10 00000000", 999, "of 257 components; 256 are the most"),
        ("0001 0002 00 10 00000000 001000", 4, "13 octets cannot hold 2 components of 4 bands"),
        ("0001 0000 00 10 00000000 00000000", 65535, "14 octets cannot hold 0 components of 65535 bands"),
        ("0001 0000 00 d0 00000000 00000000", 4, "differences of order 3, which is none"),
        ("0001 0000 df 10 00000000 00000000", 4, "damaged: a step of"),
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
    lead = bytes(5) + bytes([order * SCALES + row]) + offset.to_bytes(4, "big", signed=True)
    octets = lead + CODER.coder.encode(np.array(mean), np.full(len(mean), row))
    with pytest.raises(DecodeError, match=problem):
        CODER.unpack(octets, len(mean))


def test_tables_that_suit_no_basis_are_refused() -> None:
    with pytest.raises(BundleError, match="63 frequency tables, 64 are needed"):
        BasisCoder(EntropyCoder(_laplacians(np.geomspace(0.1, 9, SCALES - 1)))).pack(BASIS, LINES)
    with pytest.raises(BundleError, match="too narrow for a spectral basis"):
        BasisCoder(EntropyCoder(_laplacians(np.full(SCALES, 0.1)))).pack(BASIS, LINES)
