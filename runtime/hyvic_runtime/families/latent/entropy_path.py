"""Computes the entropy path, from ẑ to the latent, part by part: scale indices and means, then the latent.

    ẑ ─▶ hyper-decoder ─▶ scale indices, means of part 0 ─▶ symbols of part 0 ─▶ slice 0 ─▶ part 0 of the latent
                                                                                   └─▶ scale indices, means of part 1 …

Channel-wise autoregressive models (Minnen, Singh, ICIP 2020) predict a part of the latent from ẑ and the parts before
it. A model whose ẑ predicts the whole latent has one part and no slices. All results are exact integers on every
engine, so encoder and decoder compute the same path.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.engines.engine import Engine
from hyvic_runtime.engines.selection import EngineKind
from hyvic_runtime.families.latent.bundle import HYPERDECODER, LatentBundle, slice_graph

Code = Callable[[int, NDArray[np.int32]], NDArray[np.int32] | None]
"""Function that returns the symbols of a part, or None if they did not arrive.

Its arguments are the number of the part and the scale indices. Both arrays are (channel, line, sample) of a whole
tile."""


class Prediction(NamedTuple):
    """Prediction of a part of the latent.

    Attributes:
        scale_index: index of the frequency table that codes each symbol.
        mean_steps: means in units of 2**-mean_step_bits quantiser steps.
    """

    scale_index: NDArray[np.integer[Any]]
    mean_steps: NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class WalkedLatent:
    """Result of a walk along the entropy path; each array (M, line, sample) int32 of a whole tile.

    Attributes:
        latent_steps: ŷ in units of 2**-mean_step_bits quantiser steps.
        scale_index: index of the frequency table that codes each symbol.
        mean_steps: predicted means, in the unit of `latent_steps`.
        parts: number of parts whose symbols were given; the symbols of later parts are zero.
    """

    latent_steps: NDArray[np.int32]
    scale_index: NDArray[np.int32]
    mean_steps: NDArray[np.int32]
    parts: int


class EntropyPath:
    """Hyper-decoder and slices of a bundle. Several threads may use it at the same time."""

    def __init__(self, bundle: LatentBundle, hyperdecoder: Engine, slices: Sequence[Engine] = ()) -> None:
        """Combine the engines of the graphs.

        Args:
            bundle: bundle of the graphs.
            hyperdecoder: engine of the graph HYPERDECODER.
            slices: engine of each `slice_graph`.
        """
        if len(slices) != bundle.manifest.slices:
            raise ValueError(f"{len(slices)} engines for {bundle.manifest.slices} slices")
        self._manifest = bundle.manifest
        self._hyperdecoder = hyperdecoder
        self._slices = tuple(slices)

    def describe(self) -> str:
        """Return library, version and device as text for reports."""
        return self._hyperdecoder.describe()

    def predict(self, hyperlatents: NDArray[np.integer[Any]]) -> Prediction:
        """Predict part 0 of up to four tiles from their ẑ; all arrays (tile, channel, line, sample)."""
        predicted = self._hyperdecoder.run({"hyperlatent": hyperlatents.astype(np.float32)})
        return Prediction(predicted["scale_index"], predicted["mean_steps"])

    def walk(self, hyperlatent: NDArray[np.integer[Any]], code: Code) -> WalkedLatent:
        """Compute the latent of a tile from ẑ and the symbols of all parts.

        After the first part whose symbols did not arrive, `code` is not called again, because the tables of later
        parts depend on these symbols.

        Args:
            hyperlatent: ẑ of a tile, (N, line, sample), zero where it is not coded.
            code: gives the symbols of each part in turn, zero where they are not coded.
        """
        predicted = self._hyperdecoder.run({"hyperlatent": hyperlatent[None].astype(np.float32)})
        latent_steps, scale_indices, means = [], [], []
        arrived = 0
        for part in range(self._manifest.parts):
            scale_index, mean_steps = predicted["scale_index"], predicted["mean_steps"]
            symbols = code(part, scale_index[0]) if part == arrived else None
            if symbols is None:
                symbols = np.zeros_like(mean_steps[0])
            else:
                arrived += 1
            if self._slices:
                fed = {
                    "part_context": predicted["context"],
                    "part_symbols": symbols[None],
                    "part_mean_steps": mean_steps,
                }
                predicted = self._slices[part].run(fed)
                latent_steps.append(predicted["latent_steps"][0])
            else:
                latent_steps.append((symbols << self._manifest.mean_step_bits) + mean_steps[0])
            scale_indices.append(scale_index[0])
            means.append(mean_steps[0])
        return WalkedLatent(
            latent_steps=np.concatenate(latent_steps),
            scale_index=np.concatenate(scale_indices),
            mean_steps=np.concatenate(means),
            parts=arrived,
        )

    def walk_coded(self, hyperlatent: NDArray[np.integer[Any]], symbols: NDArray[np.integer[Any]]) -> WalkedLatent:
        """Compute the latent of a tile from ẑ and all symbols, (M, line, sample); see `walk`."""
        parts = np.split(symbols.astype(np.int32), self._manifest.parts)
        return self.walk(hyperlatent, lambda part, scale_index: parts[part])


def load_entropy_path(
    bundle: LatentBundle, kind: EngineKind | None = None, *, workers: int = 1, cores: int | None = None
) -> EntropyPath:
    """Load the engines of the entropy path of a bundle; see `load_engine` for the arguments.

    Raises:
        EngineError: the bundle does not hold an engine, or an engine does not run here.
    """
    hyperdecoder, *slices = (
        bundle.load_engine(graph, kind, workers=workers, cores=cores)
        for graph in (HYPERDECODER, *map(slice_graph, range(bundle.manifest.slices)))
    )
    return EntropyPath(bundle, hyperdecoder, slices)
