"""Rows of the tables and choice of integers in C, absent where the package was built without a compiler.

All arrays are C-contiguous; sizes that do not go together, and rows that are not of the tables, are refused.
"""

from numpy import float32, float64, int32, int64
from numpy.typing import NDArray

def tables_and_offsets(
    scale_index: NDArray[int32],
    mean_steps: NDArray[int32],
    gain: NDArray[int32],
    prediction: NDArray[float32],
    rows: NDArray[int32],
    shifts: NDArray[int32],
    /,
) -> bool:
    """Fill in the last two, and say whether the first three are outputs of a network."""

def weigh(planes: NDArray[float32], saved: NDArray[float64], total: NDArray[float64], /) -> None:
    """Fill in the last two, (plane,): what `quantiser.estimated_rd` saves, and the sum of its integers."""

def choose(
    coefficients: NDArray[float32],
    rows: NDArray[int32],
    shifts: NDArray[int32],
    lagrangian: float,
    first: NDArray[int32],
    length: NDArray[int32],
    starts: NDArray[int64],
    bits: NDArray[float32],
    integers: NDArray[float32],
    symbols: NDArray[int32],
    /,
) -> tuple[tuple[float, float], tuple[int, int]]:
    """Fill in the last two, and give `off` and `counts` of a `quantiser.Choice`."""
