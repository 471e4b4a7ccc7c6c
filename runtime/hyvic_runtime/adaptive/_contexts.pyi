"""Contexts in C, absent where the package was built without a compiler.

All arrays are C-contiguous; one whose size is not what the others say is refused.
"""

from numpy import float32
from numpy.typing import NDArray

def magnitudes(
    lines: int, samples: int, planes: NDArray[float32], there: NDArray[float32], around: NDArray[float32], /
) -> None:
    """Fill in what `contexts.magnitudes` gives."""

def predict(
    components: int,
    predictors: int,
    lines: int,
    samples: int,
    parents: NDArray[float32],
    predictor_parents: NDArray[float32],
    predictor_details: NDArray[float32],
    prediction: NDArray[float32],
    companded_prediction: NDArray[float32],
    energy: NDArray[float32],
    rest: NDArray[float32],
    /,
) -> None:
    """Fill in the last four, a `contexts.Prediction`."""

def describe(
    components: int,
    level: int,
    orientation: int,
    black: bool,
    first: int,
    first_line: int,
    end_line: int,
    lines: int,
    samples: int,
    parent: NDArray[float32],
    around_parent: NDArray[float32],
    grandparent: NDArray[float32] | None,
    nearest: NDArray[float32],
    mean: NDArray[float32],
    around_nearest: NDArray[float32],
    largest: NDArray[float32],
    prediction: NDArray[float32],
    companded_prediction: NDArray[float32],
    energy: NDArray[float32],
    rest: NDArray[float32],
    first_there: NDArray[float32] | None,
    first_around: NDArray[float32] | None,
    second_there: NDArray[float32] | None,
    second_around: NDArray[float32] | None,
    decoded: NDArray[float32],
    log2_spread: NDArray[float32],
    contexts: NDArray[float32],
    predicted: NDArray[float32],
    /,
) -> None:
    """Fill in the last two, what `contexts.GroupContexts.of` gives of some lines."""
