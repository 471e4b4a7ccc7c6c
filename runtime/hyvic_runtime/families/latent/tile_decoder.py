"""A tile's units to its latents, as far as they arrived."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
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
    """What one tile's packets hold.

    Attributes:
        latent: ŷ · inverse gain, (M, line, sample) float32, moved at the tile's end (see `tile_end`).
        symbols: (M, line, sample) int32; zero where they did not arrive, so that ŷ is what is predicted.
        parts: whose symbols arrived.
        quality: EXACT, or MEANS where symbols are missing.
        problem: why they are missing.
    """

    latent: NDArray[np.float32]
    symbols: NDArray[np.int32]
    parts: int
    quality: Quality
    problem: str | None


@dataclass(frozen=True, kw_only=True)
class TileLatentDecoder:
    """Decodes tiles, each on its own.

    Attributes:
        bundle: what they were coded with.
        entropy_path: of the bundle.
        coder: of the bundle's tables.
        took: told the seconds that engine and entropy coder took for a tile.
    """

    bundle: LatentBundle
    entropy_path: EntropyPath
    coder: EntropyCoder
    took: Callable[[float, float], None]

    def decode(self, units: Units, tile: Tile) -> TileLatents:
        """Decode one tile's units, up to the first part that is missing.

        Raises:
            DecodeError: its ẑ is missing or damaged.
        """
        manifest, geometry = self.bundle.manifest, self.bundle.manifest.geometry
        begun = time.perf_counter()
        hyper_unit = units.get(UnitKey.of(UnitKind.TILE_BASE, tile))
        if hyper_unit is None:
            raise DecodeError(f"tile {tile.row}, {tile.column}: its hyper-latent did not arrive whole")
        try:
            lead = unpack_tile_prefix(hyper_unit)
        except DecodeError as error:
            raise DecodeError(f"tile {tile.row}, {tile.column}: {error}") from error
        hyperlatent = self._hyperlatent(hyper_unit[PREFIX_OCTETS:], tile)
        lines, samples = coded_shape(tile, geometry.latent_stride)
        symbols = np.zeros((manifest.latent_channels, geometry.latents, geometry.latents), np.int32)
        reader = _PartReader(units=units, tile=tile, lead=lead, symbols=symbols, bundle=self.bundle, coder=self.coder)
        hyperlatent_s = time.perf_counter() - begun
        walked = self.entropy_path.walk(hyperlatent, reader)
        latent = self._latent_steps(hyperlatent, symbols, walked, tile)
        coder_s = hyperlatent_s + reader.seconds
        self.took(time.perf_counter() - begun - coder_s, coder_s)
        _, inverse_gain = self.bundle.gains.at(lead.code)
        latent *= np.float32(2.0**-manifest.mean_step_bits)
        latent *= inverse_gain
        return TileLatents(
            latent=latent,
            symbols=symbols[:, :lines, :samples],
            parts=walked.parts,
            quality=Quality.EXACT if walked.parts == manifest.parts else Quality.MEANS,
            problem=reader.problem,
        )

    def _latent_steps(
        self, hyperlatent: NDArray[np.int32], symbols: NDArray[np.int32], walked: WalkedLatent, tile: Tile
    ) -> NDArray[np.float32]:
        """ŷ in steps, (M, line, sample) as far as it is coded."""
        manifest, geometry = self.bundle.manifest, self.bundle.manifest.geometry
        lines, samples = coded_shape(tile, geometry.latent_stride)
        # Without symbols nothing tells which prediction is better.
        if manifest.slices or walked.parts == 0 or not can_extend(geometry):
            return walked.latent_steps[:, :lines, :samples].astype(np.float32)
        cells, columns = coded_shape(tile, geometry.hyper_stride)

        def continued() -> Prediction:
            whole = extended_prediction(self.entropy_path.predict, hyperlatent[:, :cells, :columns], geometry)
            return Prediction(*(part[:, :lines, :samples] for part in whole))

        own = Prediction(walked.scale_index[:, :lines, :samples], walked.mean_steps[:, :lines, :samples])
        return self._tile_end.latent_steps(symbols[:, :lines, :samples], own, continued)

    @cached_property
    def _tile_end(self) -> BorderSmoother:
        manifest, geometry = self.bundle.manifest, self.bundle.manifest.geometry
        return BorderSmoother(
            costs=SymbolCosts(self.coder),
            scales=manifest.scales,
            mean_step_bits=manifest.mean_step_bits,
            cell=geometry.hyper_stride // geometry.latent_stride,
        )

    def _hyperlatent(self, octets: bytes, tile: Tile) -> NDArray[np.int32]:
        """ẑ of a whole tile, (N, line, sample), zero where it is not coded."""
        manifest, geometry = self.bundle.manifest, self.bundle.manifest.geometry
        shape = (manifest.hyperlatent_channels, *coded_shape(tile, geometry.hyper_stride))
        values = self.coder.decode(octets, hyperlatent_rows(shape, manifest.scales)).reshape(shape)
        if not in_tables(values, self.bundle):  # an escape beyond is no encoder's
            raise DecodeError("a hyper-latent lies outside its table; its packets are damaged")
        hyperlatent = np.zeros((shape[0], geometry.hyperlatents, geometry.hyperlatents), np.int32)
        hyperlatent[:, : shape[1], : shape[2]] = values
        return hyperlatent


@dataclass(slots=True, kw_only=True)
class _PartReader:
    """Reads the parts of a tile's latent as a walk asks for them.

    Attributes:
        symbols: what was read, (M, line, sample) of a whole tile.
        problem: why a part could not be.
        seconds: that reading took.
    """

    units: Units
    tile: Tile
    lead: TilePrefix
    symbols: NDArray[np.int32]
    bundle: LatentBundle
    coder: EntropyCoder
    problem: str | None = None
    seconds: float = field(default=0.0)

    def __call__(
        self, part: int, scale_index: NDArray[np.int32], mean_steps: NDArray[np.int32]
    ) -> NDArray[np.int32] | None:
        begun = time.perf_counter()
        try:
            return self._read(part, scale_index)
        except DecodeError as error:
            self.problem = f"tile {self.tile.row}, {self.tile.column}: {error}"
            return None
        finally:
            self.seconds += time.perf_counter() - begun

    def _read(self, part: int, scale_index: NDArray[np.int32]) -> NDArray[np.int32]:
        manifest = self.bundle.manifest
        unit = self.units.get(UnitKey.of(UnitKind.TILE_REFINEMENT, self.tile, part))
        if unit is None:
            missing = "the latent" if manifest.parts == 1 else f"part {part} of the latent"
            if self.lead.latent_left_out:
                raise DecodeError(f"its sender left out {missing} to keep its budget")
            raise DecodeError(f"{missing} did not arrive whole")
        lines, samples = coded_shape(self.tile, manifest.geometry.latent_stride)
        rows = scale_index[:, :lines, :samples]
        symbols = self.symbols[part * len(rows) : (part + 1) * len(rows)]
        symbols[:, :lines, :samples] = self.coder.decode(unit, rows.ravel()).reshape(rows.shape)
        return symbols
