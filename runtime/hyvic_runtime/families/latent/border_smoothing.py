"""Latents at a tile's end, where its hyper-decoder sees zeros and the scene goes on.

A tile's ẑ predicts its latents as if there were nothing behind it, in the stream as in the encoder. At the lowest rates
nearly all symbols are zero and those means are what is decoded, so that a border shows. So the decoder predicts once
more, its ẑ going on as it ends. Where the tile's own symbols would have cost far less under that prediction,
latents whose prediction is another one move towards its mean, as far as their symbols leave them free: half a step.

    own ẑ      ··│a b c d│0··     what the symbols are coded with
    continued  ··│a b c d│d··     what latents at the end may be taken nearer to

This needs nothing of another tile's, so a tile is reconstructed alike whatever becomes of its neighbours.
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
"""Share of the bits that the other prediction may take. Nearer to one, pictures of some scenes lose what others gain:
the synthesis was trained on latents in the middle of their steps."""


def can_extend(geometry: TileGeometry) -> bool:
    """Whether `extended_prediction` sees all that latents depend on: the next cell, and none before their own.

    So it is with kernels of 3, which halos of a sample a stage tell of, and where a tile has a next cell at all.
    """
    return geometry.hyperlatents > 1 and 0 < geometry.halo_before < geometry.latent_stride


def extended_prediction(
    predict: Callable[[NDArray[np.integer[Any]]], Prediction],
    hyperlatent: NDArray[np.integer[Any]],
    geometry: TileGeometry,
) -> Prediction:
    """What ẑ of a tile predicts of it where it goes on as it ends; (M, line, sample) of a whole tile.

    The graph sees as many cells as a tile has: the last ones are predicted from windows that begin a cell later.

    Args:
        predict: `EntropyPath.predict`, of a bundle whose ẑ predicts the whole latent.
        hyperlatent: (N, line, sample), as far as it is coded.
        geometry: of the tile, one that `can_extend`.
    """
    cells, size = geometry.hyperlatents, geometry.latents
    cell = size // cells
    beyond = [(0, cells + 1 - coded) for coded in hyperlatent.shape[1:]]
    held = np.pad(hyperlatent, [(0, 0), *beyond], mode="edge")
    windows = list(product((0, 1), repeat=2))
    of_windows = predict(np.stack([held[:, line:, sample:][:, :cells, :cells] for line, sample in windows]))
    whole = Prediction(*(np.empty_like(part[0]) for part in of_windows))
    kept = slice(size - cell), slice(size - cell, size)  # of the tile, by where its window begins
    seen = slice(size - cell), slice(size - 2 * cell, size - cell)  # of the window
    for number, (line, sample) in enumerate(windows):
        for made, part in zip(whole, of_windows, strict=True):
            made[:, kept[line], kept[sample]] = part[number, :, seen[line], seen[sample]]
    return whole


@dataclass(frozen=True, kw_only=True)
class BorderSmoother:
    """Moves latents at tiles' ends.

    Attributes:
        costs: of symbols under the bundle's tables.
        scales: rows of them that code latents.
        mean_step_bits: latents are given in steps of 2**-mean_step_bits.
        cell: latents that a hyper-latent spans, along an axis.
    """

    costs: SymbolCosts
    scales: int
    mean_step_bits: int
    cell: int

    def latent_steps(
        self, symbols: NDArray[np.integer[Any]], own: Prediction, continued: Callable[[], Prediction]
    ) -> NDArray[np.float32]:
        """Latents in steps.

        Args:
            symbols: (M, line, sample).
            own: what they were coded with, each of the same shape.
            continued: gives the other prediction, likewise; asked where the end is worth it.
        """
        steps = ((symbols << self.mean_step_bits) + own.mean_steps).astype(np.float32)
        bits = self.costs.bits(symbols, own.scale_index)
        if not self._is_dear(bits):
            return steps
        rows, means = continued()
        others = (rows != own.scale_index) | (means != own.mean_steps)
        rows, away = rows[others], steps[others] - means[others]
        step = np.float32(2**self.mean_step_bits)
        nearest = np.rint(away / step).astype(np.int32)
        if _sum(self.costs.bits(nearest, rows)) < MAX_COST_RATIO * _sum(bits[others]):
            steps[others] -= np.clip(self._pull[rows] * away, -step / 2, step / 2)
        return steps

    def _is_dear(self, bits: NDArray[np.float32]) -> bool:
        """Whether latents of the last cells cost so much more than the others that they may become MAX_COST_RATIO."""
        inside = bits[:, : -self.cell, : -self.cell]
        return MAX_COST_RATIO * (_sum(bits) - _sum(inside)) * inside.size >= _sum(inside) * (bits.size - inside.size)

    @cached_property
    def _pull(self) -> NDArray[np.float32]:
        """Share of its way to the mean that a latent of each scale index goes, (scale,).

        Of a Gaussian of variance v and a number that is off by v', the best linear estimate goes v' / (v + v') of the
        way. Rounding is off by 1/12; v is that of the row's symbols.
        """
        tables = self.costs.coder.tables

        def variance(row: int) -> float:
            symbols = np.arange(tables.length[row], dtype=np.float64) + tables.first[row]
            return float(np.average(symbols**2, weights=tables.row(row)[:-1]))

        variances = np.array([variance(row) for row in range(self.scales)])
        return (1 / (1 + 12 * variances)).astype(np.float32)


def _sum(bits: NDArray[np.float32]) -> float:
    return float(bits.sum(dtype=np.float64))
