"""Prediction of a group's coefficients from the components before it.

Principal components are uncorrelated over a scene, but not locally: at an edge between two materials all of them jump.
Each component is predicted as a weighted sum of the components before it. The weights are those that fit the next
coarser level best, in 3 × 3 coefficients of all orientations. They are found predictor by predictor, the farthest
first: one step of Gauss–Seidel for ridge regression.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hyvic_runtime.families.adaptive.context_arithmetic import enlarged, log_energy, sum_3x3
from hyvic_runtime.families.adaptive.planes import ORIENTATIONS, Planes

PREDICTORS = 6
"""Number of components before a group that predict it."""
PREDICTION_STEP_BITS = 4
"""A prediction is a multiple of 2**-4 quantiser steps."""
_PREDICTOR_MAX = 127
"""27 · 127² · 16 < 2**24."""
_WEIGHT_MAX = 4 << PREDICTION_STEP_BITS
_RIDGE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """Prediction of the components of a group.

    Attributes:
        prediction: (component, orientation, line, sample) in steps of 2**-PREDICTION_STEP_BITS.
        parent_energy: `log_energy` of 3 × 3 parents of all orientations, (component, line, sample).
        residual_energy: `log_energy` of what the prediction leaves of these parents, (component, line, sample).
    """

    prediction: Planes
    parent_energy: Planes
    residual_energy: Planes


def clipped(planes: Planes) -> Planes:
    """Limit coefficients that predict others, or that weights are found from."""
    return np.clip(planes, -_PREDICTOR_MAX, _PREDICTOR_MAX)


def predict(
    parents: Planes, predictor_parents: Planes, predictor_details: Planes, shape: tuple[int, int]
) -> Prediction:
    """Predict details.

    Args:
        parents: (component, orientation, line, sample) of the next coarser level, `clipped`.
        predictor_parents: parents of the predictors, the farthest first, `clipped`.
        predictor_details: details of the predictors, `clipped`.
        shape: lines and samples of the details.
    """
    residual = parents
    prediction = np.zeros((len(parents), ORIENTATIONS, *shape), np.float32)
    for details, parent in zip(predictor_details, predictor_parents, strict=True):
        common = sum_3x3((parent * residual).sum(axis=1))
        own = sum_3x3((parent * parent).sum(axis=0)) + _RIDGE
        weight = np.rint(np.clip((common * 2**PREDICTION_STEP_BITS) / own, -_WEIGHT_MAX, _WEIGHT_MAX))
        residual = clipped(residual - np.rint(weight[:, None] * parent * np.float32(2.0**-PREDICTION_STEP_BITS)))
        prediction += enlarged(weight, shape)[:, None] * details
    return Prediction(
        prediction=prediction,
        parent_energy=log_energy(sum_3x3((parents * parents).sum(axis=1))),
        residual_energy=log_energy(sum_3x3((residual * residual).sum(axis=1))),
    )
