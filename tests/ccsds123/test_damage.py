"""Damaged files give `DecodeError` or an image, soon and in little memory."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest
from ccsds123 import (
    BlockAdaptive,
    EntropyCoder,
    Hybrid,
    ImageShape,
    ParameterError,
    Parameters,
    SampleAdaptive,
)
from ccsds123.codec import compress, decompress
from ccsds123.header import Header, write_header
from golden_vectors import VECTORS, Vector, vector
from hypothesis import given, settings
from hypothesis import strategies as st
from hyvic_runtime.errors import DecodeError
from scenes import smooth_cube

CODERS = (SampleAdaptive(), Hybrid(), BlockAdaptive())
each_coder = pytest.mark.parametrize("coder", CODERS, ids=lambda c: type(c).__name__)


def decoded(octets: bytes) -> np.ndarray | None:
    """An image whose samples are in range, or None for an error that says so in one line."""
    try:
        return decompress(octets)
    except (DecodeError, ParameterError) as error:
        # The latter where the damaged header says that tables are known otherwise.
        message, kind = str(error), type(error)
    assert len(message.splitlines()) == 1
    assert kind is DecodeError or "is not in the header" in message
    return None


@pytest.mark.parametrize("vector", VECTORS[::7], ids=lambda v: v.name)
def test_every_truncation_is_noticed(vector: Vector) -> None:
    octets = vector.stream.read_bytes()
    for length in {*range(min(len(octets), 64)), *range(0, len(octets), 97), len(octets) - 1}:
        assert decoded(octets[:length]) is None


@given(st.sampled_from(VECTORS), st.data())
@settings(deadline=None, max_examples=400)
def test_flipped_bits_are_noticed_or_give_an_image(vector: Vector, data: st.DataObject) -> None:
    octets = bytearray(vector.stream.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        octets[data.draw(st.integers(0, len(octets) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    image = decoded(bytes(octets))
    assert image is None or image.size <= 2**24


@given(st.sampled_from(VECTORS), st.binary(max_size=200), st.integers(0, 60))
@settings(deadline=None, max_examples=200)
def test_random_bodies_and_random_files_never_leak_another_error(vector: Vector, noise: bytes, kept: int) -> None:
    decoded(vector.stream.read_bytes()[:kept] + noise)
    decoded(vector.stream.read_bytes()[: vector.facts["header_octets"]] + noise)
    decoded(noise)


@each_coder
def test_a_damaged_image_of_some_size_stays_in_range(coder: EntropyCoder) -> None:
    cube = smooth_cube(40, 40, 12) // 4
    octets = compress(cube, Parameters(dynamic_range=14, entropy_coder=coder))
    rng = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(octets)
        for place in rng.integers(22, len(octets), 3):
            damaged[place] = rng.integers(256)
        image = decoded(bytes(damaged))
        assert image is None or image.max() < 2**14


@each_coder
@pytest.mark.parametrize("depth", [None, 1, 2**16])
def test_a_small_file_that_announces_a_huge_image_is_refused_at_once(coder: EntropyCoder, depth: int | None) -> None:
    parameters = Parameters(entropy_coder=coder, interleaving_depth=depth)
    header = write_header(Header(shape=ImageShape(lines=2**16, samples=2**16, bands=2**16), parameters=parameters))
    tracemalloc.start()
    begun = time.process_time()
    with pytest.raises(DecodeError, match=r"(samples|values) do not fit a body"):
        decompress(header + bytes(1000))
    assert time.process_time() - begun < 1
    assert tracemalloc.get_traced_memory()[1] < 10**6
    tracemalloc.stop()


def test_a_huge_supplementary_table_is_refused_at_once() -> None:
    octets = bytearray(vector("supp_ba_one_table").stream.read_bytes())
    octets[1:7] = bytes(6)
    octets[13] |= 0b01100000  # two-dimensional: 2^32 entries
    with pytest.raises(DecodeError, match=r"the header needs .* more bits"):
        decompress(bytes(octets))


@each_coder
def test_octets_behind_the_end_are_noticed(coder: EntropyCoder) -> None:
    octets = compress(smooth_cube(9, 9, 5), Parameters(entropy_coder=coder, output_word_size=4))
    for extra in (bytes(3), bytes(4), b"\1\2\3\4"):
        assert decoded(octets + extra) is None


@pytest.mark.parametrize("size", [1, 2, 5, 17, 64])
def test_zeros_and_ones_alone_end_in_time(size: int) -> None:
    for name in ("lossless_sa_bip_full_wn", "lossless_hy_bip_full_wn_u12", "ec_ba_J8", "ec_ba_restricted_u2"):
        header = vector(name).stream.read_bytes()[: vector(name).facts["header_octets"]]
        for fill in (b"\0", b"\xff", b"\x80", b"\1"):
            decoded(header + fill * size)
