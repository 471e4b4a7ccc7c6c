"""Planes of wavelet coefficients: their type, and how many of them there are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVELS = 5
"""Levels of the wavelet; level 0 is the finest."""
ORIENTATIONS = 3
"""Details of a level: high along samples, high along lines, high along both."""
MAX_COMPONENTS = 256

Planes = NDArray[np.float32]
"""Pixels or coefficients; after quantisation, integers."""
Integers = NDArray[np.integer[Any]]
