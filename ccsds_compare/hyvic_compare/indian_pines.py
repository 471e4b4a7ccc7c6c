"""Indian Pines: a real scene that any machine can get.

AVIRIS, 12 June 1992, 145 × 145 pixels of 20 m, 200 of 220 bands; Baumgardner, Biehl, Landgrebe (2015),
doi:10.4231/R7RX991C, CC BY 3.0. The PyPI package tensorly ships it with its band centres.
"""

from __future__ import annotations

import warnings

import numpy as np
from hyvic_runtime.errors import SceneError
from hyvic_runtime.scene import Scene

SENSOR = "AVIRIS"
ATTRIBUTION = "Indian Pines, AVIRIS 1992: Baumgardner, Biehl, Landgrebe (2015), doi:10.4231/R7RX991C, CC BY 3.0"


def load_indian_pines() -> Scene:
    """The scene in its original digital numbers (scaled radiance plus 1,000).

    Raises:
        SceneError: tensorly is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # optional backends that tensorly looks for
            from tensorly.datasets import load_indian_pines as load
    except ImportError as error:
        raise SceneError("Indian Pines comes with tensorly: pip install 'hyvic-onboard[demo]'") from error
    data = load()
    return Scene(cube=np.asarray(data.tensor).astype(np.uint16), wavelengths=np.asarray(data.ticks[1], np.float64))
