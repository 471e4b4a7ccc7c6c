"""The wavelet in C, absent where the package was built without a compiler.

All arrays are C-contiguous; one whose size is not what the others say is refused. Behind the details of all levels come
the weights: of one component's approximation, and of its details level by level.
"""

from numpy import float32
from numpy.typing import NDArray

Factors = tuple[float, float, float, float, float, float]
"""What low and high halves are scaled by, and the lifting steps'."""

def analyse(
    factors: Factors,
    components: int,
    lines: int,
    samples: int,
    planes: NDArray[float32],
    approximation: NDArray[float32],
    /,
    *details_and_weights: NDArray[float32],
) -> None:
    """Fill in approximation and details, what `wavelet.analyse` gives; padding is left as it is."""

def synthesise(
    factors: Factors,
    components: int,
    lines: int,
    samples: int,
    planes: NDArray[float32],
    approximation: NDArray[float32],
    /,
    *details_and_weights: NDArray[float32],
) -> None:
    """Fill in planes, what `wavelet.synthesise` gives; steps are those of `analyse` negative, scales 1 by them."""
