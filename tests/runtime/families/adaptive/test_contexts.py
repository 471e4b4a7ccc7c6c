from __future__ import annotations

import hashlib

import numpy as np
import pytest
from both_kernels import NATIVE, REFERENCE, needs_native
from hypothesis import given, settings
from hyvic_runtime.families.adaptive.checkerboard import both_positions
from hyvic_runtime.families.adaptive.context_arithmetic import log_magnitude
from hyvic_runtime.families.adaptive.contexts import CONTEXT_MAX, CONTEXTS, LevelContexts, Scale, groups
from hyvic_runtime.families.adaptive.kernels import Kernels
from hyvic_runtime.families.adaptive.planes import LEVELS, MAX_COMPONENTS, ORIENTATIONS, Planes
from noise_levels import HUGE, LEVEL, level_of_noise
from numpy.typing import NDArray


def _contexts(
    kernels: Kernels,
    rng: np.random.Generator,
    components: int,
    shape: tuple[int, int],
    level: int,
    largest: float,
) -> list[tuple[Planes, Planes]]:
    """Of a whole level of noise, block by block, each with what predicts it."""
    return [
        of_group.at(orientation, details, positions)
        for of_group, details in level_of_noise(kernels, rng, components, shape, level, largest)
        for orientation in range(ORIENTATIONS)
        for positions in both_positions(shape)
    ]


@given(**LEVEL)
@settings(deadline=None, max_examples=60)
def test_contexts_are_integers_that_an_exact_network_can_take(
    seed: int, components: int, lines: int, samples: int, level: int, largest: float
) -> None:
    found = _contexts(REFERENCE, np.random.default_rng(seed), components, (lines, samples), level, largest)
    assert sum(prediction.size for _, prediction in found) == ORIENTATIONS * components * lines * samples
    for block, prediction in found:
        assert block.shape == (CONTEXTS, *prediction.shape)
        assert np.array_equal(block, np.rint(block))
        assert not block.size or np.abs(block).max() <= CONTEXT_MAX


@needs_native
class TestNativeContexts:
    @given(**LEVEL)
    @settings(deadline=None, max_examples=150)
    def test_both_make_the_same(
        self, seed: int, components: int, lines: int, samples: int, level: int, largest: float
    ) -> None:
        defined, made = (
            _contexts(kernels, np.random.default_rng(seed), components, (lines, samples), level, largest)
            for kernels in (REFERENCE, NATIVE)
        )
        for expected, found in zip(defined, made, strict=True):
            assert all(map(np.array_equal, expected, found))

    def test_some_lines_are_those_of_all(self) -> None:
        rng = np.random.default_rng(7)
        shape, details = (11, 6), np.rint(rng.normal(0, 3, (4, ORIENTATIONS, 11, 6))).astype(np.float32)
        scale = Scale(log2_spread=np.zeros(4, np.float32))
        of_group = NATIVE.level_contexts(1, details[..., :6, :3], None, shape, scale).next_group(4)
        portions = [both_positions(shape, slice(line, line + 4)) for line in (0, 4, 8)]
        for half, whole in enumerate(both_positions(shape)):
            found = [of_group.at(2, details, both[half], slice(1, 3)) for both in portions]
            for which, expected in enumerate(of_group.at(2, details, whole, slice(1, 3))):
                assert np.array_equal(np.concatenate([part[which] for part in found], axis=-1), expected)

    def test_buffers_of_another_size_are_refused(self) -> None:
        from hyvic_runtime.kernels import _native as native

        plane = np.zeros((3, 4, 4), np.float32)
        with pytest.raises(ValueError, match="buffer 2 holds 128 octets, not 48 items of 4"):
            native.magnitudes(4, 4, plane, plane.copy(), plane[:2].copy())
        with pytest.raises(ValueError, match="7 predictors; 6 are the most"):
            native.predict(1, 7, 4, 4, *[plane] * 3, *[plane.copy()] * 3)
        with pytest.raises(ValueError, match="-1 x 4 are invalid"):
            native.magnitudes(-1, 4, plane, plane.copy(), plane.copy())


def test_contexts_are_frozen() -> None:
    digest = hashlib.sha256()
    for level, largest in ((0, 30.0), (2, 3000.0), (LEVELS - 1, HUGE)):
        for block, _ in _contexts(REFERENCE, np.random.default_rng(level), 13, (11, 14), level, largest):
            digest.update(np.swapaxes(block, 0, 1).astype("<i2").tobytes())
    # Streams of every bundle depend on them: another digest is another version of the contexts.
    assert digest.hexdigest() == FROZEN


FROZEN = "a314160cbeaddcaf66259291cc438defee614363d4039d80fe6bac015a21799a"


def test_only_coefficients_that_are_decoded_by_then_change_a_context() -> None:
    rng = np.random.default_rng(5)
    shape = (6, 7)
    anchors, non_anchors = both_positions(shape)
    parents = np.rint(rng.normal(0, 3, (4, ORIENTATIONS, 3, 4))).astype(np.float32)
    grandparents = np.rint(rng.normal(0, 3, (4, ORIENTATIONS, 2, 2))).astype(np.float32)
    contexts = LevelContexts(1, parents, grandparents, shape, Scale(log2_spread=np.zeros(4, np.float32)))
    details = np.rint(rng.normal(0, 3, (4, ORIENTATIONS, *shape))).astype(np.float32)
    for orientation in range(ORIENTATIONS):
        for positions in (anchors, non_anchors):
            known = np.zeros((ORIENTATIONS, shape[0] * shape[1]), bool)
            known[:orientation] = True
            if positions.non_anchor:
                known[orientation, anchors.places[0]] = True
            hidden = np.where(known.reshape(ORIENTATIONS, *shape), details, 0).astype(np.float32)
            seen, same, others = (
                contexts.next_group(4).at(orientation, planes, positions)[0]
                for planes in (details, hidden, np.zeros_like(details))
            )
            assert np.array_equal(seen, same)
            assert np.array_equal(seen, others) == (not known.any())


def test_a_prediction_follows_components_that_go_together() -> None:
    rng = np.random.default_rng(6)
    first = np.rint(rng.laplace(0, 20, (1, ORIENTATIONS, 16, 16))).astype(np.float32)
    parent = np.rint(rng.laplace(0, 8, (1, ORIENTATIONS, 8, 8))).astype(np.float32)
    contexts = LevelContexts(
        0, np.concatenate((parent, -2 * parent)), None, (16, 16), Scale(log2_spread=np.zeros(2, np.float32))
    )
    contexts.next_group(1)
    contexts.add(first)
    predicted = contexts.next_group(1).predicted.prediction[0] / 16
    # Weights are sixteenths, and a ridge draws them towards zero.
    there = first[0] != 0
    assert np.abs(predicted[there] / np.clip(first[0], -127, 127)[there] + 2).max() <= 0.25


@pytest.mark.parametrize("components", [0, 1, 2, 3, 5, 8, 77, MAX_COMPONENTS])
def test_groups_hold_every_component_once(components: int) -> None:
    found = groups(components)
    assert [k for group in found for k in range(group.start, group.stop)] == list(range(components))
    assert all(group.stop - group.start <= max(1, group.start // 2) for group in found)


def test_log_magnitude_is_a_logarithm_on_straight_lines() -> None:
    magnitudes: NDArray[np.float32] = np.arange(100_000, dtype=np.float32)
    off = log_magnitude(magnitudes) - 16 * np.log2(1 + magnitudes)
    # Rounded down, from chords of the logarithm, which lie at most 16 · 0.0861 below it.
    assert off.min() > -1 - 16 * 0.0861
    assert off.max() <= 0
