"""Contexts and their network in C, absent where the package was built without a compiler.

All arrays are C-contiguous; one whose size is not what the others say is refused.
"""

from numpy import float32, int32, void
from numpy.typing import NDArray

def magnitudes(
    lines: int, samples: int, planes: NDArray[float32], there: NDArray[float32], around: NDArray[float32], /
) -> None:
    """Fill in what `contexts.magnitudes` gives."""

def add_magnitudes(
    components: int,
    lines: int,
    samples: int,
    details: NDArray[float32],
    nearest: NDArray[float32],
    total: NDArray[float32],
    largest: NDArray[float32],
    new_nearest: NDArray[float32],
    new_total: NDArray[float32],
    new_largest: NDArray[float32],
    /,
) -> None:
    """Fill in the last three, what `LevelContexts` knows of all components once these are added."""

def predict(
    components: int,
    predictors: int,
    lines: int,
    samples: int,
    parents: NDArray[float32],
    predictor_parents: NDArray[float32],
    predictor_details: NDArray[float32],
    prediction: NDArray[float32],
    energy: NDArray[float32],
    rest: NDArray[float32],
    /,
) -> None:
    """Fill in the last three, a `contexts.Prediction`."""

def take_squares(
    components: int,
    orientation: int,
    black: bool,
    lines: int,
    samples: int,
    planes: NDArray[float32],
    squares: NDArray[float32],
    /,
) -> None:
    """Fill in squares of one colour, (component, square), from planes (component, orientation, line, sample)."""

def set_squares(
    components: int,
    orientation: int,
    black: bool,
    lines: int,
    samples: int,
    planes: NDArray[float32],
    squares: NDArray[float32],
    /,
) -> None:
    """Inverse of `take_squares`."""

Description = tuple[
    int,
    int,
    int,
    bool,
    int,
    int,
    int,
    int,
    int,
    NDArray[float32],
    NDArray[float32],
    NDArray[float32] | None,
    NDArray[float32],
    NDArray[float32],
    NDArray[float32],
    NDArray[float32],
    NDArray[float32],
    NDArray[float32],
    NDArray[float32],
    NDArray[float32] | None,
    NDArray[float32] | None,
    NDArray[float32],
    NDArray[float32],
]
"""What `NativeGroupContexts.description` gives."""

Network = tuple[int, NDArray[int32], NDArray[int32], NDArray[void]]
"""Number of an instruction set; pairs of inputs and rows of every layer; weights (pair, row) and rows of all layers."""

def describe(description: Description, contexts: NDArray[float32], predicted: NDArray[float32], /) -> None:
    """Fill in the last two, what `contexts.GroupContexts.of` gives of some lines."""

def tables_and_offsets(
    network: Network, description: Description, rows: NDArray[int32], shifts: NDArray[int32], /
) -> None:
    """Fill in the last two, what `table_rows.tables_and_offsets` gives of what the network makes of the contexts."""

def evaluate(network: Network, contexts: NDArray[float32], outputs: NDArray[int32], /) -> None:
    """Fill in the network's outputs (output, coefficient) of contexts (entry, coefficient)."""

def instruction_sets() -> tuple[str, ...]:
    """What this processor has, the fastest first."""
