"""Frequency tables of the context model: a row for every fraction of a mean and every scale."""

from __future__ import annotations

import numpy as np
from hyvic_runtime.entropy.frequency_table import TOTAL
from hyvic_runtime.entropy.unit_coder import SYMBOL_MAX
from hyvic_runtime.families.adaptive.table_choice import FRACTIONS, SCALES
from hyvic_train.families.adaptive.context_model import ContextModel
from numpy.typing import NDArray

from hyvic_export.frequency_tables import Distribution

LEAST_MASS = 1 / TOTAL
"""Least probability in a table, one part of it; the escape codes everything less likely."""


def row_distributions(model: ContextModel) -> list[Distribution]:
    """Return the distributions that the rows of the tables approximate, in rows fraction · SCALES + scale index."""
    reach = 1
    of_scale = []
    for scale_index in range(SCALES):
        mass = model.row_masses(scale_index, reach).numpy()
        while reach < SYMBOL_MAX and mass[:, [0, -1]].max() >= LEAST_MASS:
            reach = min(2 * reach, SYMBOL_MAX)
            mass = model.row_masses(scale_index, reach).numpy()
        of_scale.append([_trimmed(row, -reach) for row in mass])
    return [rows[fraction] for fraction in range(FRACTIONS) for rows in of_scale]


def _trimmed(mass: NDArray[np.float64], first: int) -> Distribution:
    inside = np.flatnonzero(mass >= LEAST_MASS)
    low, high = int(inside[0]), int(inside[-1])
    return Distribution(first=first + low, mass=mass[low : high + 1])
