"""Whole levels of a tile of noise, for tests of what is made of contexts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from hypothesis import strategies as st
from hyvic_runtime.families.adaptive.contexts import CONTEXT_MAX, GroupContexts, Scale, groups
from hyvic_runtime.families.adaptive.kernels import Kernels
from hyvic_runtime.families.adaptive.planes import LEVELS, ORIENTATIONS, Planes

HUGE = 2.0**22
LEVEL = {
    "seed": st.integers(0, 2**32),
    "components": st.integers(1, 20),
    "lines": st.integers(1, 9),
    "samples": st.integers(1, 9),
    "level": st.integers(0, LEVELS - 1),
    "largest": st.sampled_from([2.0, 100.0, 5000.0, HUGE]),
}
"""What `level_of_noise` takes, drawn."""


def level_of_noise(
    kernels: Kernels,
    rng: np.random.Generator,
    components: int,
    shape: tuple[int, int],
    level: int,
    largest: float,
) -> Iterator[tuple[GroupContexts, Planes]]:
    """Groups of components in the order of coding, each with its coefficients."""

    def noise(*size: int) -> Planes:
        magnitude = rng.integers(0, int(largest) + 1, size) >> rng.integers(0, int(largest).bit_length() + 1, size)
        return (rng.choice([-1, 1], size) * magnitude).astype(np.float32)

    lines, samples = shape
    half, quarter = ((-(-lines // n), -(-samples // n)) for n in (2, 4))
    details = noise(components, ORIENTATIONS, lines, samples)
    coarsest = level == LEVELS - 1
    contexts = kernels.level_contexts(
        level,
        noise(components, ORIENTATIONS, *half) * (not coarsest),
        None if coarsest else noise(components, ORIENTATIONS, *quarter),
        shape,
        Scale(log2_spread=np.rint(rng.uniform(-CONTEXT_MAX, CONTEXT_MAX, components)).astype(np.float32)),
    )
    for group in groups(components):
        yield contexts.next_group(group.stop - group.start), details[group]
        contexts.add(details[group])
