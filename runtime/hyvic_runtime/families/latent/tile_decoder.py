"""Decodes the units of a tile into latents, as far as the units arrived."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.codec.quality_map import Quality
from hyvic_runtime.entropy.symbol_costs import SymbolCosts
from hyvic_runtime.entropy.unit_coder import EntropyCoder
from hyvic_runtime.errors import DecodeError
from hyvic_runtime.families.latent.border_smoothing import BorderSmoother, can_extend, extended_prediction
from hyvic_runtime.families.latent.bundle import LatentBundle
from hyvic_runtime.families.latent.entropy_path import EntropyPath, Prediction, WalkedLatent
from hyvic_runtime.families.latent.hyperlatent import hyperlatent_rows, in_tables
from hyvic_runtime.packets.reassembly import UnitKey, Units
from hyvic_runtime.packets.space_packet import UnitKind
from hyvic_runtime.packets.tile_prefix import PREFIX_OCTETS, TilePrefix, unpack_tile_prefix
from hyvic_runtime.scene.tile_grid import Tile, coded_shape


@dataclass(frozen=True, slots=True, kw_only=True)
class TileLatents:
    """Latents of one tile.

    Attributes:
        latent: ŷ · inverse gain, (M, line, sample) float32, corrected at the end of the tile (`border_smoothing`).
        symbols: (M, line, sample) int32; zero where they did not arrive, so that ŷ is the prediction.
        parts: number of parts whose symbols arrived.
        quality: EXACT, or MEANS if symbols are missing.
        problem: reason for which symbols are missing, or None.
    """

    latent: NDArray[np.float32]
    symbols: NDArray[np.int32]
    parts: int
    quality: Quality
    problem: str | None


@dataclass(frozen=True, kw_only=True)
class TileLatentDecoder:
    """Decodes the latents of tiles, each tile independently.

    Attributes:
        bundle: bundle that coded the tiles.
        entropy_path: entropy path of the bundle.
        coder: entropy coder with the tables of the bundle.
        took: called for each tile with the seconds of the engine and of the entropy coder.
    """

    bundle: LatentBundle
    entropy_path: EntropyPath
    coder: EntropyCoder
    took: Callable[[float, float], None]

    def decode(self, units: Units, tile: Tile) -> TileLatents:
        """Decode the units of one tile, up to the first missing part.

        Raises:
            DecodeError: the tile base unit, which holds ẑ, is missing or damaged.
        """
        manifest, geometry = self.bundle.manifest, self.bundle.manifest.geometry
        begun = time.perf_counter()
        base = units.get(UnitKey.of(UnitKind.TILE_BASE, tile))
        if base is None:
            raise DecodeError(f"{tile}: its hyper-latent did not arrive whole")
        try:
            prefix = unpack_tile_prefix(base)
        except DecodeError as error:
            raise DecodeError(f"{tile}: {error}") from error
        hyperlatent = self._hyperlatent(base[PREFIX_OCTETS:], tile)
        lines, samples = coded_shape(tile, geometry.latent_stride)
        symbols = np.zeros((manifest.latent_channels, geometry.latents, geometry.latents), np.int32)
        problem: str | None = None
        reading_s = 0.0

        def read(part: int, scale_index: NDArray[np.int32]) -> NDArray[np.int32] | None:
            nonlocal problem, reading_s
            read_from = time.perf_counter()
            try:
                return self._read_part(part, scale_index, symbols, prefix, units, tile)
            except DecodeError as error:
                problem = f"{tile}: {error}"
                return None
            finally:
                reading_s += time.perf_counter() - read_from

        hyperlatent_s = time.perf_counter() - begun
        walked = self.entropy_path.walk(hyperlatent, read)
        latent = self._latent_steps(hyperlatent, symbols, walked, tile)
        coder_s = hyperlatent_s + reading_s
        self.took(time.perf_counter() - begun - coder_s, coder_s)
        _, inverse_gain = self.bundle.gains.at(prefix.code)
        latent *= np.float32(2.0**-manifest.mean_step_bits)
        latent *= inverse_gain
        return TileLatents(
            latent=latent,
            symbols=symbols[:, :lines, :samples],
            parts=walked.parts,
            quality=Quality.EXACT if walked.parts == manifest.parts else Quality.MEANS,
            problem=problem,
        )

    def _latent_steps(
        self, hyperlatent: NDArray[np.int32], symbols: NDArray[np.int32], walked: WalkedLatent, tile: Tile
    ) -> NDArray[np.float32]:
        """Return the coded part of ŷ, (M, line, sample), in units of 2**-mean_step_bits quantiser steps."""
        manifest, geometry = self.bundle.manifest, self.bundle.manifest.geometry
        lines, samples = coded_shape(tile, geometry.latent_stride)
        # Without symbols there is no evidence for one of the predictions.
        if manifest.slices or walked.parts == 0 or not can_extend(geometry):
            return walked.latent_steps[:, :lines, :samples].astype(np.float32)
        cells, columns = coded_shape(tile, geometry.hyper_stride)

        def extended() -> Prediction:
            whole = extended_prediction(self.entropy_path.predict, hyperlatent[:, :cells, :columns], geometry)
            return Prediction(*(array[:, :lines, :samples] for array in whole))

        own = Prediction(walked.scale_index[:, :lines, :samples], walked.mean_steps[:, :lines, :samples])
        return self._smoother.latent_steps(symbols[:, :lines, :samples], own, extended)

    @cached_property
    def _smoother(self) -> BorderSmoother:
        manifest, geometry = self.bundle.manifest, self.bundle.manifest.geometry
        return BorderSmoother(
            costs=SymbolCosts(self.coder),
            scales=manifest.scales,
            mean_step_bits=manifest.mean_step_bits,
            cell=geometry.hyper_stride // geometry.latent_stride,
        )

    def _hyperlatent(self, octets: bytes, tile: Tile) -> NDArray[np.int32]:
        """Return ẑ of a whole tile, (N, line, sample), zero where it is not coded."""
        manifest, geometry = self.bundle.manifest, self.bundle.manifest.geometry
        shape = (manifest.hyperlatent_channels, *coded_shape(tile, geometry.hyper_stride))
        values = self.coder.decode(octets, hyperlatent_rows(shape, manifest.scales)).reshape(shape)
        if not in_tables(values, self.bundle):  # no encoder writes such an escape
            raise DecodeError("a hyper-latent lies outside its table; its packets are damaged")
        hyperlatent = np.zeros((shape[0], geometry.hyperlatents, geometry.hyperlatents), np.int32)
        hyperlatent[:, : shape[1], : shape[2]] = values
        return hyperlatent

    def _read_part(
        self,
        part: int,
        scale_index: NDArray[np.int32],
        symbols: NDArray[np.int32],
        prefix: TilePrefix,
        units: Units,
        tile: Tile,
    ) -> NDArray[np.int32]:
        """Read a part of the latent of a tile into its symbols, (M, line, sample), and return the part."""
        manifest = self.bundle.manifest
        unit = units.get(UnitKey.of(UnitKind.TILE_REFINEMENT, tile, part))
        if unit is None:
            missing = "the latent" if manifest.parts == 1 else f"part {part} of the latent"
            if prefix.latent_left_out:
                raise DecodeError(f"its sender left out {missing} to keep its budget")
            raise DecodeError(f"{missing} did not arrive whole")
        lines, samples = coded_shape(tile, manifest.geometry.latent_stride)
        tables = scale_index[:, :lines, :samples]
        of_part = symbols[part * len(tables) : (part + 1) * len(tables)]
        of_part[:, :lines, :samples] = self.coder.decode(unit, tables.ravel()).reshape(tables.shape)
        return of_part
