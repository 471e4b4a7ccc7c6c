"""Smooths the borders of tiles: corrects the last latents of a tile, where its hyper-decoder sees zeros after ẑ.

The encoder and the stream predict the latents of a tile as if ẑ were zero after the tile. At the lowest rates nearly
all symbols are zero, so the decoder gives these predicted means, and the border becomes visible.

So the decoder makes a second prediction, from ẑ repeated after the end of the tile:

    own ẑ       ··│a b c d│0··     codes the symbols
    extended ẑ  ··│a b c d│d··     may correct the last latents

If the symbols would cost far fewer bits under the extended prediction, latents whose two predictions differ move
towards the extended mean. A latent moves by at most half a quantiser step, so its symbol stays the nearest one.

The correction needs no data of another tile. So the reconstruction of a tile does not depend on its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.entropy.symbol_costs import SymbolCosts
from hyvic_runtime.families.latent.entropy_path import Prediction
from hyvic_runtime.scene.tile_grid import TileGeometry

MAX_COST_RATIO = 0.75
"""Largest bits under the extended prediction, as a share of the bits under the tile's own prediction.

With a share nearer to 1, some scenes lose what others gain, because the synthesis was trained on latents in the middle
of their quantiser steps."""


def can_extend(geometry: TileGeometry) -> bool:
    """Return True if latents depend on ẑ of their own cell and the next cell only, as `extended_prediction` assumes.

    This holds for kernels of size 3, whose halo is one sample per stage, if a tile has more than one cell.
    """
    return geometry.hyperlatents > 1 and 0 < geometry.halo_before < geometry.latent_stride


def extended_prediction(
    predict: Callable[[NDArray[np.integer[Any]]], Prediction],
    hyperlatent: NDArray[np.integer[Any]],
    geometry: TileGeometry,
) -> Prediction:
    """Return the prediction of a whole tile from ẑ repeated after the tile; each array (M, line, sample).

    The graph reads as many cells as a tile has. So the last cells are predicted from windows that begin one cell later.

    Args:
        predict: `EntropyPath.predict` of a bundle without slices, whose ẑ predicts the whole latent.
        hyperlatent: (N, line, sample), the coded part.
        geometry: geometry of the tile, for which `can_extend` is True.
    """
    cells, size = geometry.hyperlatents, geometry.latents
    cell = size // cells
    missing = [(0, cells + 1 - coded) for coded in hyperlatent.shape[1:]]
    extended = np.pad(hyperlatent, [(0, 0), *missing], mode="edge")
    offsets = list(product((0, 1), repeat=2))
    predicted = predict(np.stack([extended[:, line:, sample:][:, :cells, :cells] for line, sample in offsets]))
    whole = Prediction(*(np.empty_like(array[0]) for array in predicted))
    in_tile = slice(size - cell), slice(size - cell, size)  # by the offset of the window, in cells
    in_window = slice(size - cell), slice(size - 2 * cell, size - cell)
    for number, (line, sample) in enumerate(offsets):
        for target, array in zip(whole, predicted, strict=True):
            target[:, in_tile[line], in_tile[sample]] = array[number, :, in_window[line], in_window[sample]]
    return whole


@dataclass(frozen=True, kw_only=True)
class BorderSmoother:
    """Corrects latents near the end of a tile.

    Attributes:
        costs: costs of symbols under the tables of the bundle.
        scales: number of frequency tables that code latents.
        mean_step_bits: latents are in units of 2**-mean_step_bits quantiser steps.
        cell: latents per hyper-latent along an axis.
    """

    costs: SymbolCosts
    scales: int
    mean_step_bits: int
    cell: int

    def latent_steps(
        self, symbols: NDArray[np.integer[Any]], own: Prediction, extended: Callable[[], Prediction]
    ) -> NDArray[np.float32]:
        """Return the latents of a tile in units of 2**-mean_step_bits quantiser steps, (M, line, sample).

        Args:
            symbols: (M, line, sample).
            own: prediction that codes the symbols; each array as `symbols`.
            extended: gives the extended prediction, each array as `symbols`; called only if it can pay off.
        """
        steps = ((symbols << self.mean_step_bits) + own.mean_steps).astype(np.float32)
        bits = self.costs.bits(symbols, own.scale_index)
        if not self._is_border_costly(bits):
            return steps
        scale_index, means = extended()
        differ = (scale_index != own.scale_index) | (means != own.mean_steps)
        scale_index, deviation = scale_index[differ], steps[differ] - means[differ]
        step = np.float32(2**self.mean_step_bits)
        nearest = np.rint(deviation / step).astype(np.int32)
        if _sum(self.costs.bits(nearest, scale_index)) < MAX_COST_RATIO * _sum(bits[differ]):
            steps[differ] -= np.clip(self._pull[scale_index] * deviation, -step / 2, step / 2)
        return steps

    def _is_border_costly(self, bits: NDArray[np.float32]) -> bool:
        """Return True if a latent of the last cells costs at least 1 / MAX_COST_RATIO times as much as another latent.

        Otherwise the extended prediction can hardly reach MAX_COST_RATIO.
        """
        inside = bits[:, : -self.cell, : -self.cell]
        return MAX_COST_RATIO * (_sum(bits) - _sum(inside)) * inside.size >= _sum(inside) * (bits.size - inside.size)

    @cached_property
    def _pull(self) -> NDArray[np.float32]:
        """Share of the way to the extended mean that a latent moves, (scale,), by scale index.

        For a Gaussian of variance v and an observation with an error of variance e, the best linear estimate moves the
        observation by e / (v + e) of the way to the mean. Rounding has e = 1/12. v is the variance of the table.
        """
        tables = self.costs.coder.tables

        def variance(table: int) -> float:
            symbols = np.arange(tables.length[table], dtype=np.float64) + tables.first[table]
            return float(np.average(symbols**2, weights=tables.row(table)[:-1]))

        variances = np.array([variance(table) for table in range(self.scales)])
        return (1 / (1 + 12 * variances)).astype(np.float32)


def _sum(bits: NDArray[np.float32]) -> float:
    return float(bits.sum(dtype=np.float64))
