"""Rows of tiles to units with a bundle of the scene-adaptive family.

strip ─▶ basis ─▶ components, wavelet (all workers) ─▶ │ tile: quantise, code │ a worker each
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

from hyvic_runtime.codec.acquisition import Acquisition
from hyvic_runtime.codec.row_encoder import CodedUnit, RowEncoder, TileJob
from hyvic_runtime.codec.strip import Strip
from hyvic_runtime.entropy.unit_coder import EntropyCoder
from hyvic_runtime.errors import SceneError
from hyvic_runtime.families.adaptive.basis_coder import BasisCoder
from hyvic_runtime.families.adaptive.bundle import AdaptiveBundle, read_adaptive_bundle
from hyvic_runtime.families.adaptive.conformance import check_network
from hyvic_runtime.families.adaptive.context_network import load_context_network
from hyvic_runtime.families.adaptive.contexts import Scale
from hyvic_runtime.families.adaptive.strip import basis_of_strip, transform_strip
from hyvic_runtime.families.adaptive.strip_basis import SpectralBasis, StripBasis
from hyvic_runtime.families.adaptive.tile_coder import TileCoder
from hyvic_runtime.families.adaptive.wavelet import Pyramid
from hyvic_runtime.packets.space_packet import UnitKind
from hyvic_runtime.packets.tile_prefix import TilePrefix
from hyvic_runtime.scene.scene import Scene
from hyvic_runtime.scene.tile_grid import Tile
from hyvic_runtime.support.blas_threads import one_thread_each


@dataclass
class AdaptiveRowEncoder(RowEncoder[AdaptiveBundle]):
    """Encodes rows of tiles of any sensor with a bundle of the scene-adaptive family."""

    writes_mean = False

    def _load(self, bundle: AdaptiveBundle, coder: EntropyCoder) -> None:
        network = load_context_network(
            bundle, self.engine, kernels=self.kernels, workers=self.workers, cores=self.cores
        )
        check_network(bundle, network)
        self._tiles, self._basis_coder = TileCoder(network=network, coder=coder), BasisCoder(coder=coder)

    def _stored(self) -> AdaptiveBundle:
        return read_adaptive_bundle(self.bundle.folder)

    def _is_engine_sound(self, stored: AdaptiveBundle) -> bool:
        check_network(stored, self._tiles.network)
        return self._tiles.network.holds(stored.weights)

    @property
    def engine_name(self) -> str:
        return self._tiles.network.describe()

    @property
    def lines_before(self) -> int:
        """A row of tiles reads its own lines alone."""
        return 0

    def bands_of(self, acquisition: Acquisition) -> int:
        if acquisition.bands is None:
            raise SceneError("the bundle codes any number of bands, so the acquisition has to name its own")
        return acquisition.bands

    def needs_mean(self, acquisition: Acquisition) -> bool:
        return acquisition.no_data is not None  # every strip has a mean of its own; samples without data need one

    def mean_spectrum(self, scene: Scene) -> None:
        """Return None: every strip has a mean of its own."""

    def _open(self, strip: Strip) -> Callable[[int], Iterator[TileJob]]:
        begun = time.perf_counter()
        with self._one_thread_each():
            basis = basis_of_strip(strip.cube, strip.valid(), each=self._pool.map)
        self.took(tile_input_s=time.perf_counter() - begun)
        return partial(self._jobs, strip, basis)

    def _one_thread_each(self) -> AbstractContextManager[None]:
        return one_thread_each(where=self.workers > 1 or self.cores == 1)

    def _jobs(self, strip: Strip, basis: SpectralBasis, quality_code: int) -> Iterator[TileJob]:
        """Transform the strip on all workers, after the tiles that wait, and give its tiles.

        Most of those tiles' memory is free by the time that the transform needs its own.
        """
        begun = time.perf_counter()
        with self._one_thread_each():
            made = transform_strip(
                strip.cube,
                basis,
                quality_code,
                strip.grid.geometry.tile,
                kernels=self._tiles.network.kernels,
                each=self._pool.map,
            )
        self.took(tile_input_s=time.perf_counter() - begun)
        for tile in strip.tiles:
            # Taken off the list, a tile's coefficients are freed as soon as the tile is coded.
            code = partial(self._code_tile, made.tiles.pop(0), made.scale, tile)
            # The other tiles need the basis too, so it is sent even where the first tile is coded exactly.
            units = partial(self._basis_units, made.basis, tile.lines) if tile.column == 0 else list
            yield TileJob(tile=tile, code=code, strip_units=units)

    def _code_tile(self, pyramid: Pyramid, scale: Scale, tile: Tile, prefix: TilePrefix) -> list[CodedUnit]:
        begun = time.perf_counter()
        coded = self._tiles.encode(pyramid, scale, (tile.lines, tile.samples))
        units: list[CodedUnit] = [(UnitKind.TILE_BASE, 0, prefix.pack() + coded.first)]
        units += [(UnitKind.TILE_REFINEMENT, part, octets) for part, octets in coded.parts]
        self.took(engine_s=time.perf_counter() - begun)
        return units

    def _basis_units(self, basis: StripBasis, lines: int) -> list[CodedUnit]:
        return [(UnitKind.STRIP_BASIS, 0, self._basis_coder.pack(basis, lines))]
