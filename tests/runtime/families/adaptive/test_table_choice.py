from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
from hyvic_runtime.families.adaptive import table_choice as table_rows
from hyvic_runtime.families.adaptive.table_choice import MAX_GAIN, MAX_MEAN_STEPS, SCALES, tables_and_offsets


@pytest.fixture(params=["C", "NumPy"], autouse=True)
def implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "NumPy":
        monkeypatch.setattr(table_rows, "_quantiser", None)
    elif find_spec("hyvic_runtime.families.adaptive._quantiser") is None:
        pytest.skip("the package was installed without a C compiler")


def test_rows_are_those_of_exact_arithmetic() -> None:
    rng = np.random.default_rng(1)
    count = 20_000
    scale_index = rng.integers(0, SCALES, count)
    mean_steps = rng.integers(-MAX_MEAN_STEPS, MAX_MEAN_STEPS + 1, count)
    gain = rng.integers(0, MAX_GAIN + 1, count)
    prediction = rng.integers(-(2**19) + 1, 2**19, count)
    rows, shifts = tables_and_offsets(scale_index, mean_steps, gain, prediction.astype(np.float32))
    # Eighths of a step: gains are sixteenths, and so are predictions.
    eighths = mean_steps + np.floor(gain * prediction / 32 + 0.5).astype(np.int64)
    assert np.array_equal(shifts, np.floor(eighths / 8))
    assert np.array_equal(rows, (eighths - 8 * np.floor(eighths / 8)) * SCALES + scale_index)


@pytest.mark.parametrize(
    ("output", "value", "told"),
    [
        (0, SCALES, "a scale_index outside 0..63"),
        (0, -1, "a scale_index outside 0..63"),
        (1, MAX_MEAN_STEPS + 1, "a mean_steps outside -1023..1023"),
        (2, 17, "a gain outside 0..16"),
    ],
)
def test_what_no_network_gives_is_refused(output: int, value: int, told: str) -> None:
    outputs = np.zeros((3, 5), np.int32)
    outputs[output, 3] = value
    with pytest.raises(ValueError, match=told):
        tables_and_offsets(*outputs, np.zeros(5, np.float32))
