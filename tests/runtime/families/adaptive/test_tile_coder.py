from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
from both_kernels import REFERENCE
from guessing_network import tile_coder
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hyvic_runtime.errors import DecodeError
from hyvic_runtime.families.adaptive.coding_order import PARTS, parts_of
from hyvic_runtime.families.adaptive.contexts import Scale
from hyvic_runtime.families.adaptive.planes import LEVELS
from hyvic_runtime.families.adaptive.tile_coder import CodedTile, DecodedTile
from hyvic_runtime.families.adaptive.wavelet import Pyramid, empty_pyramid, present
from hyvic_runtime.packets.space_packet import MAX_PARTS

CODER = tile_coder()


def _pyramid(seed: int, components: int, lines: int, samples: int, largest: float = 30.0) -> Pyramid:
    """Noise that grows with the level and falls with the component, zero where there is no coefficient."""
    rng = np.random.default_rng(seed)
    pyramid = empty_pyramid(components, lines, samples)
    fall = np.exp2(-np.arange(components) / 2)[:, None, None, None]
    for level, planes in enumerate(pyramid.details):
        noise = rng.laplace(0, 1, planes.shape) * largest / 2 ** (LEVELS - level) * fall
        planes[...] = noise * present(lines, samples, level)
    pyramid.approximation[...] = rng.normal(0, largest, pyramid.approximation.shape)
    return pyramid


def _scale(components: int) -> Scale:
    return Scale(log2_spread=np.linspace(60, -20, components).round().astype(np.float32))


def _decoded(coded: CodedTile, components: int, shape: tuple[int, int], parts: dict[int, bytes]) -> DecodedTile:
    return CODER.decode(coded.first, parts.get, _scale(components), shape)


@given(
    seed=st.integers(0, 2**32),
    components=st.integers(0, 9),
    lines=st.integers(1, 40),
    samples=st.integers(1, 40),
    largest=st.sampled_from([0.1, 3.0, 300.0, 1e7]),
)
@example(seed=5, components=5, lines=5, samples=29, largest=3.0)
@settings(deadline=None, max_examples=25)
def test_a_tile_comes_back_within_a_step(seed: int, components: int, lines: int, samples: int, largest: float) -> None:
    pyramid = _pyramid(seed, components, lines, samples, largest)
    coded = CODER.encode(deepcopy(pyramid), _scale(components), (lines, samples), lagrangian=0)
    decoded = _decoded(coded, components, (lines, samples), dict(coded.parts))
    assert decoded.problem is None
    used = len(decoded.pyramid.approximation)
    assert used <= components
    for sent, received in zip(
        (pyramid.approximation, *pyramid.details),
        (decoded.pyramid.approximation, *decoded.pyramid.details),
        strict=True,
    ):
        # Half a step of the quantiser, and as much that a centroid may add.
        assert np.abs(sent[:used] - received).max(initial=0) <= 1.0 + 1e-6 * largest
        # `estimated_rd` takes magnitudes below 0.65 for zeros, and a component that has no others is left out.
        assert np.abs(sent[used:]).max(initial=0) < 0.65


def test_what_is_encoded_becomes_the_integers_that_were_chosen() -> None:
    pyramid = _pyramid(6, 5, 40, 33)
    pyramid.details[0][3:] *= 0.01  # which does not pay
    coded = CODER.encode(pyramid, _scale(5), (40, 33))
    decoded = _decoded(coded, 5, (40, 33), dict(coded.parts)).pyramid
    for encoded, received in zip(pyramid.details, decoded.details, strict=True):
        # But for what centroids take off, half a step at most.
        assert np.array_equal(encoded, np.rint(encoded))
        assert np.abs(encoded - received).max() <= 0.5
    assert not pyramid.details[0][3:].any()


def test_choosing_by_rate_costs_less_than_rounding() -> None:
    pyramid = _pyramid(1, 6, 64, 64)
    rounded = CODER.encode(deepcopy(pyramid), _scale(6), (64, 64), lagrangian=0)
    chosen = CODER.encode(deepcopy(pyramid), _scale(6), (64, 64))

    def cost(coded: CodedTile) -> float:
        decoded = _decoded(coded, 6, (64, 64), dict(coded.parts)).pyramid
        used = len(decoded.approximation)
        error = sum(
            float(((sent[:used] - received) ** 2).sum() + (sent[used:] ** 2).sum())
            for sent, received in zip(pyramid.details, decoded.details, strict=True)
        )
        return error + 0.15 * 8 * sum(len(octets) for _, octets in coded.parts)

    assert cost(chosen) < 0.99 * cost(rounded)


def test_from_the_first_missing_part_on_details_are_zero_and_before_it_exact() -> None:
    shape, components = (64, 64), 6
    coded = CODER.encode(_pyramid(2, components, *shape, 200.0), _scale(components), shape)
    whole = _decoded(coded, components, shape, dict(coded.parts)).pyramid
    assert len(coded.parts) > 2
    for kept in range(len(coded.parts)):
        decoded = _decoded(coded, components, shape, dict(coded.parts[:kept]))
        assert decoded.problem is not None
        assert "did not arrive" in decoded.problem
        missing = [part for part in parts_of([components] * LEVELS) if part >= coded.parts[kept][0]]
        for level, planes in enumerate(decoded.pyramid.details):
            for component in range(components):
                part = (LEVELS - 1 - level) * (PARTS // LEVELS) + component.bit_length()
                expected = np.zeros_like(planes[component]) if part in missing else whole.details[level][component]
                assert np.array_equal(planes[component], expected)


def test_units_are_as_many_as_their_packets_are_worth() -> None:
    coded = CODER.encode(_pyramid(3, 9, 128, 128, 60.0), _scale(9), (128, 128))
    sizes = [len(octets) for _, octets in coded.parts]
    assert min(sizes[:-1]) > 1800
    assert PARTS <= MAX_PARTS


def test_a_coefficient_that_no_encoder_writes_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    pyramid = empty_pyramid(1, 64, 64)
    pyramid.details[LEVELS - 1][0, 0, 0, 0] = 2**29
    monkeypatch.setattr("hyvic_runtime.families.adaptive.quantiser.LARGEST", 2**29)
    coded = tile_coder(REFERENCE).encode(deepcopy(pyramid), _scale(1), (64, 64))
    decoded = _decoded(coded, 1, (64, 64), dict(coded.parts))
    assert decoded.problem == "part 0 of the details holds a coefficient beyond 268435456"
    assert not decoded.pyramid.details[LEVELS - 1].any()


@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_damaged_units_are_told_and_nothing_else_happens(data: st.DataObject) -> None:
    shape, components = (12, 10), 4
    coded = CODER.encode(_pyramid(4, components, *shape), _scale(components), shape)
    units = [coded.first, *(octets for _, octets in coded.parts)]
    which = data.draw(st.integers(0, len(units) - 1))
    octets = bytearray(units[which])
    for _ in range(data.draw(st.integers(1, 4))):
        if data.draw(st.booleans()):
            octets = octets[: data.draw(st.integers(0, len(octets)))]
        elif octets:
            octets[data.draw(st.integers(0, len(octets) - 1))] ^= data.draw(st.integers(1, 255))
    units[which] = bytes(octets)
    parts = {part: unit for (part, _), unit in zip(coded.parts, units[1:], strict=True)}
    try:
        decoded = CODER.decode(units[0], parts.get, _scale(components), shape)
    except DecodeError:
        return
    assert all(np.isfinite(planes).all() for planes in decoded.pyramid.details)


@pytest.mark.parametrize("components", [0, 1, 7, 256])
def test_parts_rise_and_stay_within_the_wire(components: int) -> None:
    parts = parts_of([components] * LEVELS)
    assert list(parts) == sorted(set(parts))
    assert all(0 <= part < PARTS for part in parts)
    assert len(parts) == (LEVELS * (1 + (components - 1).bit_length()) if components else 0)
