"""Scenes to packets with a bundle of the scene-adaptive family.

row of tiles held ─▶ basis ─▶ strip: components, wavelet (all workers) ─▶ │ tile: quantise, code │ a worker each
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.codec.acquisition import Acquisition
from hyvic_runtime.codec.conformance import check_coder
from hyvic_runtime.codec.exact_tile import ExactTileCoder
from hyvic_runtime.codec.row_encoder import CodedUnit, RowEncoder, TileWork
from hyvic_runtime.codec.scene_encoder import HeldScene
from hyvic_runtime.errors import BundleError, EngineError, SceneError
from hyvic_runtime.families.adaptive.basis_coder import BasisCoder
from hyvic_runtime.families.adaptive.bundle import AdaptiveBundle, read_adaptive_bundle
from hyvic_runtime.families.adaptive.conformance import check_network
from hyvic_runtime.families.adaptive.context_network import load_context_network
from hyvic_runtime.families.adaptive.contexts import Scale
from hyvic_runtime.families.adaptive.strip import TransformedStrip, basis_of_strip, transform_strip
from hyvic_runtime.families.adaptive.strip_basis import SpectralBasis, StripBasis
from hyvic_runtime.families.adaptive.tile_coder import TileCoder
from hyvic_runtime.families.adaptive.wavelet import Pyramid
from hyvic_runtime.packets.space_packet import UnitKind
from hyvic_runtime.packets.tile_prefix import TilePrefix
from hyvic_runtime.scene.scene import Scene
from hyvic_runtime.scene.tile_grid import Tile, TileGrid
from hyvic_runtime.support.blas_threads import one_thread_each


@dataclass(slots=True)
class _Row:
    """The row of tiles that a scene is at: its basis, and its transform at the quality that was last asked for."""

    row: int
    basis: SpectralBasis
    code: int | None = None
    strip: TransformedStrip | None = None


@dataclass
class AdaptiveRowEncoder(RowEncoder[AdaptiveBundle]):
    """Encodes scenes of any sensor with a bundle of the scene-adaptive family."""

    mean_in_header = False
    row_by_row = True

    def __post_init__(self) -> None:
        self._rows: WeakKeyDictionary[HeldScene, _Row] = WeakKeyDictionary()
        super().__post_init__()

    def _load(self, bundle: AdaptiveBundle) -> None:
        network = load_context_network(bundle, self.engine, workers=self.workers, cores=self.cores)
        check_network(bundle, network)
        coder = bundle.entropy_coder()
        check_coder(bundle, coder)
        tiles = TileCoder(network=network, coder=coder)
        self.bundle, self._tiles = bundle, tiles
        self._basis_coder = BasisCoder(coder=coder)
        self._lossless = ExactTileCoder(coder, bundle.manifest.scales)

    def _stored(self) -> AdaptiveBundle:
        return read_adaptive_bundle(self.bundle.folder)

    def _is_sound(self, stored: AdaptiveBundle) -> bool:
        arrays = [(b.tables.first, b.tables.length, b.tables.frequencies) for b in (stored, self.bundle)]
        try:
            check_coder(stored, self._tiles.coder)
            check_network(stored, self._tiles.network)
        except (BundleError, EngineError, ValueError):
            return False
        return self._tiles.network.holds(stored.weights) and all(map(np.array_equal, *arrays))

    @property
    def engine_name(self) -> str:
        return self._tiles.network.describe()

    @property
    def entropy_coder_name(self) -> str:
        return self._tiles.coder.describe()

    def bands_of(self, acquisition: Acquisition) -> int:
        if acquisition.bands is None:
            raise SceneError("the bundle codes any number of bands, so the acquisition has to name its own")
        return acquisition.bands

    def mean_spectrum(self, scene: Scene) -> NDArray[np.integer[Any]] | None:
        return None  # every strip has its own

    def _read(
        self, scene: HeldScene, grid: TileGrid, tile: Tile, mean: NDArray[np.integer[Any]], code: int
    ) -> TileWork:
        size = grid.geometry.tile
        first, left = tile.row * size, tile.column * size
        lines = slice(first, first + tile.lines)
        strip = self._strip(scene, lines, tile, code)
        return TileWork(
            coded=partial(self._coded, strip.take(tile.column), strip.scale, tile),
            lossless=partial(self._lossless.encode, scene.cube[lines][:, left : left + tile.samples]),
            beside=partial(self._basis_units, strip.basis, tile),
        )

    def _strip(self, scene: HeldScene, lines: slice, tile: Tile, code: int) -> TransformedStrip:
        """A row's transform, made once for all of its tiles; its basis once for all qualities."""
        cube, held = scene.cube[lines], self._rows.get(scene)
        # All workers do it, behind the tiles that wait, most of whose memory is free by the time that it needs its own.
        each = self._pool.map
        with one_thread_each(where=self.workers > 1 or self.cores == 1):
            if held is None or held.row != tile.row:
                held = self._rows[scene] = _Row(row=tile.row, basis=basis_of_strip(cube, scene.valid(lines), each=each))
            if held.strip is None or held.code != code or held.strip.tiles[tile.column] is None:
                size = self.bundle.manifest.geometry.tile
                held.strip, held.code = transform_strip(cube, held.basis, code, size, each=each), code
        return held.strip

    def _coded(self, pyramid: Pyramid, scale: Scale, tile: Tile, lead: TilePrefix) -> list[CodedUnit]:
        """A tile's units."""
        begun = time.perf_counter()
        coded = self._tiles.encode(pyramid, scale, (tile.lines, tile.samples))
        units: list[CodedUnit] = [(UnitKind.TILE_BASE, 0, lead.pack() + coded.first)]
        units += [(UnitKind.TILE_REFINEMENT, part, octets) for part, octets in coded.parts]
        with self._lock:
            self.times.engine_s += time.perf_counter() - begun
        return units

    def _basis_units(self, basis: StripBasis, tile: Tile) -> list[CodedUnit]:
        """A row's basis, with its first tile: the others need it, so it goes even where that one is lossless."""
        if tile.column > 0:
            return []
        return [(UnitKind.STRIP_BASIS, 0, self._basis_coder.pack(basis, tile.lines))]
