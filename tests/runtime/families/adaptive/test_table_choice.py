from __future__ import annotations

import numpy as np
import pytest
from both_kernels import both_kernels
from hyvic_runtime.families.adaptive.kernels import Kernels
from hyvic_runtime.families.adaptive.table_choice import MAX_GAIN, MAX_MEAN_STEPS, SCALES


@both_kernels
def test_tables_are_those_of_exact_arithmetic(kernels: Kernels) -> None:
    rng = np.random.default_rng(1)
    count = 20_000
    scale_index = rng.integers(0, SCALES, count)
    mean_steps = rng.integers(-MAX_MEAN_STEPS, MAX_MEAN_STEPS + 1, count)
    gain = rng.integers(0, MAX_GAIN + 1, count)
    prediction = rng.integers(-(2**19) + 1, 2**19, count)
    tables, offsets = kernels.tables_and_offsets(scale_index, mean_steps, gain, prediction.astype(np.float32))
    # Eighths of a step: gains are sixteenths, and so are predictions.
    eighths = mean_steps + np.floor(gain * prediction / 32 + 0.5).astype(np.int64)
    assert np.array_equal(offsets, np.floor(eighths / 8))
    assert np.array_equal(tables, (eighths - 8 * np.floor(eighths / 8)) * SCALES + scale_index)


@both_kernels
@pytest.mark.parametrize(
    ("output", "value", "told"),
    [
        (0, SCALES, "a scale_index outside 0..63"),
        (0, -1, "a scale_index outside 0..63"),
        (1, MAX_MEAN_STEPS + 1, "a mean_steps outside -1023..1023"),
        (2, 17, "a gain outside 0..16"),
    ],
)
def test_what_no_network_gives_is_refused(kernels: Kernels, output: int, value: int, told: str) -> None:
    outputs = np.zeros((3, 5), np.int32)
    outputs[output, 3] = value
    with pytest.raises(ValueError, match=told):
        kernels.tables_and_offsets(*outputs, np.zeros(5, np.float32))
