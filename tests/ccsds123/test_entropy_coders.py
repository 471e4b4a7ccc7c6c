from __future__ import annotations

import imagecodecs
import numpy as np
import pytest
from ccsds123 import (
    BlockAdaptive,
    Hybrid,
    ImageShape,
    Parameters,
    SampleAdaptive,
    block_adaptive,
    hybrid,
    sample_adaptive,
)
from ccsds123.encoding_order import encoding_loops, mapped_from_sequence, sequence_from_mapped
from ccsds123.low_entropy_codes import CODES, DIRECT_BITS, flush_nodes, low_entropy_codes
from hypothesis import given, settings
from hypothesis import strategies as st
from hyvic_runtime.errors import DecodeError

NO_LIMITS = np.empty((0, 0), np.int64)


def test_order_of_band_interleaving_is_the_books_nesting_of_loops() -> None:
    mapped = np.arange(3 * 4 * 5, dtype=np.uint32).reshape(3, 4, 5)
    shape = ImageShape(lines=3, samples=4, bands=5)
    for depth in (1, 2, 3, 4, 5):
        expected = [
            mapped[y, x, z]
            for y in range(3)
            for i in range(-(-5 // depth))
            for x in range(4)
            for z in range(i * depth, min((i + 1) * depth, 5))
        ]
        sequence = sequence_from_mapped(mapped, depth)
        assert sequence.tolist() == expected
        assert np.array_equal(mapped_from_sequence(sequence, shape, depth), mapped)
    assert sequence_from_mapped(mapped, None).tolist() == mapped.transpose(2, 0, 1).ravel().tolist()


def test_sixteen_codes_are_complete_and_as_large_as_annex_b_says() -> None:
    codes = low_entropy_codes()
    leaves = [105, 144, 118, 120, 92, 116, 101, 81, 88, 106, 103, 127, 109, 145, 256, 257]
    longest = [13, 13, 12, 13, 13, 15, 15, 18, 16, 17, 18, 20, 21, 18, 17, 9]
    for code in range(CODES):
        nodes = _below(codes, int(codes.roots[code]))
        own = [node for node in nodes if codes.leaf[node]]
        assert len(own) == leaves[code]
        assert max(codes.width[own]) == longest[code]
        # Kraft's sum of a complete code, read from either end, is one.
        assert sum(2.0 ** -codes.width[own]) == 1
        assert len(flush_nodes()[code]) == len(nodes) - len(own)
        for node in nodes:
            if not codes.leaf[node]:
                assert (codes.children[node, : codes.limits[code] + 2] >= 0).all()


def _below(codes, root: int) -> list[int]:
    nodes, todo = [], [root]
    while todo:
        node = todo.pop()
        nodes.append(node)
        todo += [int(child) for child in codes.children[node] if child >= 0]
    return nodes


def test_every_output_codeword_is_found_backwards() -> None:
    codes = low_entropy_codes()
    rng = np.random.default_rng(0)
    for code in range(CODES):
        for node in _below(codes, int(codes.roots[code])):
            if not codes.leaf[node]:
                continue
            before = int(rng.integers(1 << 20)) << int(codes.width[node])
            tail = before | int(codes.word[node])
            found = codes.direct[code, tail & (1 << DIRECT_BITS) - 1]
            if found < 0:
                found = codes.second[-1 - found, tail >> DIRECT_BITS & codes.second.shape[1] - 1]
            assert found == node


@st.composite
def sequences(draw: st.DrawFn) -> tuple[np.ndarray, int, int, int]:
    """Indices of the sizes that each coder treats differently: many zeros, small, large, the largest."""
    bands, count = draw(st.integers(1, 5)), draw(st.integers(1, 400))
    depth = draw(st.sampled_from((2, 3, 8, 16, 32)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    mean = draw(st.sampled_from((0.0, 0.003, 0.05, 0.5, 3.0, 40.0, 3e4, 3e9)))
    values = np.minimum(np.floor(rng.exponential(mean, bands * count)), 2.0**depth - 1).astype(np.uint32)
    if draw(st.booleans()):
        values[rng.integers(values.size)] = 2**depth - 1
    return values, bands, count, depth


@given(
    sequences(),
    st.sampled_from(
        (SampleAdaptive(), Hybrid(), Hybrid(unary_length_limit=8, rescaling_counter_size=4), BlockAdaptive())
    ),
    st.sampled_from((1, 2, 5)),
)
@settings(deadline=None, max_examples=300)
def test_any_indices_come_back_in_any_order(case, coder, group: int) -> None:
    values, bands, count, depth = case
    module = {SampleAdaptive: sample_adaptive, Hybrid: hybrid, BlockAdaptive: block_adaptive}[type(coder)]
    way = encoding_loops(
        ImageShape(lines=1, samples=count, bands=bands), Parameters(interleaving_depth=min(group, bands))
    )
    octets = module.encode(values, way, coder, depth, NO_LIMITS)
    sequence, _, bits = module.decode(octets, way, coder, depth)
    assert np.array_equal(sequence, values)
    assert len(octets) == -(-bits // 8)


@given(sequences(), st.sampled_from((8, 16, 32, 64)), st.sampled_from((1, 3, 64, 128, 4096)))
@settings(deadline=None, max_examples=150)
def test_block_adaptive_bodies_are_those_of_libaec(case, block_size: int, interval: int) -> None:
    """CCSDS 121.0 by another hand decodes ours, and encodes to the same length; equal-length options may differ."""
    values, bands, count, depth = case
    coder = BlockAdaptive(block_size=block_size, reference_sample_interval=interval)
    way = encoding_loops(ImageShape(lines=1, samples=count, bands=bands), Parameters())
    octets = block_adaptive.encode(values, way, coder, depth, NO_LIMITS)
    sample = np.dtype(f"<u{next(size for size in (1, 2, 4) if depth <= 8 * size)}")
    padded = np.zeros(-(-values.size // block_size) * block_size, sample)
    padded[: values.size] = values
    options = {"bitspersample": depth, "flags": 0, "blocksize": block_size, "rsi": interval}
    theirs = imagecodecs.aec_decode(octets, out=padded.nbytes, **options)
    assert np.array_equal(np.frombuffer(theirs, sample), padded)
    encoded = imagecodecs.aec_encode(padded.tobytes(), **options)
    assert len(encoded) == len(octets)
    assert np.array_equal(block_adaptive.decode(encoded, way, coder, depth)[0], values)


@pytest.mark.parametrize("module", [sample_adaptive, hybrid, block_adaptive], ids=lambda m: m.__name__)
def test_constant_images_cost_next_to_nothing_where_the_coder_allows(module) -> None:
    values = np.zeros(100_000, np.uint32)
    coder = {sample_adaptive: SampleAdaptive(), hybrid: Hybrid(), block_adaptive: BlockAdaptive()}[module]
    way = encoding_loops(ImageShape(lines=100, samples=100, bands=10), Parameters(interleaving_depth=10))
    octets = module.encode(values, way, coder, 16, NO_LIMITS)
    assert len(octets) <= {sample_adaptive: 12_600, hybrid: 1_200, block_adaptive: 70}[module]
    assert np.array_equal(module.decode(octets, way, coder, 16)[0], values)


@pytest.mark.parametrize(("depth", "block_size"), [(2, 8), (8, 16), (16, 32), (32, 64)])
@pytest.mark.parametrize("segments", [1, 4, 9])
def test_a_block_adaptive_body_holds_64_blocks_a_codeword_and_no_more(
    depth: int, block_size: int, segments: int
) -> None:
    values = np.zeros(segments * 64 * block_size, np.uint32)
    for restricted in {False, depth == 2}:
        coder = BlockAdaptive(block_size=block_size, restricted=restricted)
        way = encoding_loops(ImageShape(lines=1, samples=values.size, bands=1), Parameters())
        octets = block_adaptive.encode(values, way, coder, depth, NO_LIMITS)
        assert len(octets) == -(-segments * (block_adaptive.identifier_bits(coder, depth) + 6) // 8)
        assert not block_adaptive.decode(octets, way, coder, depth)[0].any()
        # The bits that fill the last octet may be fewer than a codeword takes, or more.
        many = encoding_loops(ImageShape(lines=1, samples=values.size, bands=4), Parameters())
        with pytest.raises(DecodeError, match="values do not fit a body"):
            block_adaptive.decode(octets, many, coder, depth)


@pytest.mark.parametrize(("depth", "k"), [(3, 5), (9, 13), (17, 20), (17, 29)])
def test_split_samples_of_more_bits_than_the_image_has_are_damage(depth: int, k: int) -> None:
    coder = BlockAdaptive(block_size=8)
    identifier = block_adaptive.identifier_bits(coder, depth)
    way = encoding_loops(ImageShape(lines=1, samples=8, bands=1), Parameters())
    for rest, damaged in ((2**depth - 1, False), (2**depth, True), (2**k - 1, True)):
        bits = f"{k + 1:0{identifier}b}" + 8 * "1" + 7 * f"{1:0{k}b}" + f"{rest:0{k}b}"
        bits += "0" * (-len(bits) % 8)
        octets = int(bits, 2).to_bytes(len(bits) // 8, "big")
        if damaged:
            with pytest.raises(DecodeError, match="a block of the body cannot be read"):
                block_adaptive.decode(octets, way, coder, depth)
        else:
            assert block_adaptive.decode(octets, way, coder, depth)[0].tolist() == [*7 * [1], rest]
