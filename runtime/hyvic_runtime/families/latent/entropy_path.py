"""From ẑ to the latent, part by part: what codes the symbols, and what they make.

    ẑ ─▶ hyper-decoder ─▶ scale indices, means of part 0 ─▶ symbols of part 0 ─▶ slice 0 ─▶ part 0 of the latent
                                                                                   └─▶ scale indices, means of part 1 …

Channel-wise autoregressive models (Minnen, Singh, ICIP 2020) predict a part of the latent from ẑ and the parts before
it. A model whose ẑ predicts the whole latent has one part and no slices. Everything here is the same to the bit on
every engine, so encoder and decoder walk the same path.
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

Code = Callable[[int, NDArray[np.int32], NDArray[np.int32]], NDArray[np.int32] | None]
"""Gives the symbols of a part from its number, scale indices and means in steps, all (channel, line, sample) of a whole
tile; None: they did not arrive."""


class Prediction(NamedTuple):
    """What is predicted of a part of the latent.

    Attributes:
        scale_index: which frequency table codes each symbol.
        mean_steps: means in steps of 2**-mean_step_bits.
    """

    scale_index: NDArray[np.integer[Any]]
    mean_steps: NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class WalkedLatent:
    """Where a walk came to; each array (M, line, sample) int32 of a whole tile.

    Attributes:
        latent_steps: ŷ in steps of 2**-mean_step_bits.
        scale_index: which frequency table codes each symbol.
        mean_steps: the predicted means, in the same steps.
        parts: whose symbols there were; all others were taken as zero.
    """

    latent_steps: NDArray[np.int32]
    scale_index: NDArray[np.int32]
    mean_steps: NDArray[np.int32]
    parts: int


class EntropyPath:
    """A bundle's hyper-decoder and slices. Several threads may walk at once."""

    def __init__(self, bundle: LatentBundle, hyperdecoder: Engine, slices: Sequence[Engine] = ()) -> None:
        """Take engines of the graphs.

        Args:
            bundle: whose graphs they run.
            hyperdecoder: of HYPERDECODER.
            slices: of each `slice_graph`.
        """
        if len(slices) != bundle.manifest.slices:
            raise ValueError(f"{len(slices)} engines for {bundle.manifest.slices} slices")
        self._manifest = bundle.manifest
        self._hyperdecoder = hyperdecoder
        self._slices = tuple(slices)

    def describe(self) -> str:
        """Library, version and device, for reports."""
        return self._hyperdecoder.describe()

    def predict(self, hyperlatents: NDArray[np.integer[Any]]) -> Prediction:
        """Part 0 of up to four tiles, each (tile, channel, line, sample), from their ẑ."""
        predicted = self._hyperdecoder.run({"hyperlatent": hyperlatents.astype(np.float32)})
        return Prediction(predicted["scale_index"], predicted["mean_steps"])

    def walk(self, hyperlatent: NDArray[np.integer[Any]], code: Code) -> WalkedLatent:
        """Go from ẑ through all parts.

        Behind the first part whose symbols did not arrive none is asked for: nothing tells its tables.

        Args:
            hyperlatent: ẑ of a tile, (N, line, sample), zero where it is not coded.
            code: asked for the symbols of each part in turn, zero where they are not coded.
        """
        predicted = self._hyperdecoder.run({"hyperlatent": hyperlatent[None].astype(np.float32)})
        latent_steps, scale_indices, means = [], [], []
        arrived = 0
        for part in range(self._manifest.parts):
            scale_index, mean_steps = predicted["scale_index"], predicted["mean_steps"]
            symbols = code(part, scale_index[0], mean_steps[0]) if part == arrived else None
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
        """`walk` with all symbols known, (M, line, sample)."""
        parts = np.split(symbols.astype(np.int32), self._manifest.parts)
        return self.walk(hyperlatent, lambda part, scale_index, mean_steps: parts[part])


def load_entropy_path(
    bundle: LatentBundle, kind: EngineKind | None = None, *, workers: int = 1, cores: int | None = None
) -> EntropyPath:
    """Load the engines of a bundle's entropy path; see `load_engine`.

    Raises:
        EngineError: an engine is not in the bundle, or does not run here.
    """
    hyperdecoder, *slices = (
        bundle.load_engine(graph, kind, workers=workers, cores=cores)
        for graph in (HYPERDECODER, *map(slice_graph, range(bundle.manifest.slices)))
    )
    return EntropyPath(bundle, hyperdecoder, slices)
