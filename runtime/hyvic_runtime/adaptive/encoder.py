"""Scenes to packets with a bundle of the scene-adaptive family.

row of tiles held ─▶ strip: basis, wavelet (the caller's thread) ─▶ │ tile: quantise, code │ a worker each
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.acquisition import Acquisition
from hyvic_runtime.adaptive.basis_unit import BasisCoder
from hyvic_runtime.adaptive.bundle import AdaptiveBundle
from hyvic_runtime.adaptive.conformance import check_network
from hyvic_runtime.adaptive.context_network import load_context_network
from hyvic_runtime.adaptive.spectral_basis import SpectralBasis
from hyvic_runtime.adaptive.strip import TransformedStrip, basis_of_strip, transformed
from hyvic_runtime.adaptive.tile_coder import TileCoder
from hyvic_runtime.adaptive.wavelet import Pyramid
from hyvic_runtime.bundle import read_adaptive_bundle
from hyvic_runtime.conformance import check_coder
from hyvic_runtime.errors import BundleError, EngineError, SceneError
from hyvic_runtime.lossless_tile import LosslessTileCoder
from hyvic_runtime.matrix_threads import one_core_each
from hyvic_runtime.packet_encoder import CodedUnit, PacketEncoder, TileWork
from hyvic_runtime.push_broom import HeldScene
from hyvic_runtime.scene import Cube, Scene
from hyvic_runtime.space_packet import UnitKind
from hyvic_runtime.tile_grid import Tile, TileGrid
from hyvic_runtime.tile_units import TileLead


@dataclass(slots=True)
class _Row:
    """The row of tiles that a scene is at: its basis, and its transform at the quality that was last asked for."""

    row: int
    basis: SpectralBasis
    code: int | None = None
    strip: TransformedStrip | None = None


@dataclass
class AdaptiveEncoder(PacketEncoder[AdaptiveBundle]):
    """Encodes scenes of any sensor with a bundle of the scene-adaptive family."""

    mean_in_header = False

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
        self._lossless = LosslessTileCoder(coder, bundle.manifest.scales)

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
        cube = scene.cube[first : first + tile.lines]
        with one_core_each(where=self.workers > 1 or self.cores == 1):
            strip = self._strip(scene, cube, tile.row, code)
        pixels = cube[:, left : left + tile.samples].copy()  # lines are overwritten while a tile is coded
        return TileWork(
            coded=partial(self._coded, strip, tile, left),
            lossless=partial(self._lossless.encode, pixels),
            beside=partial(self._basis_units, strip, tile),
        )

    def _strip(self, scene: HeldScene, cube: Cube, row: int, code: int) -> TransformedStrip:
        """The row's transform, made once for all of its tiles; its basis once for all qualities."""
        held = self._rows.get(scene)
        if held is None or held.row != row:
            first = row * self.bundle.manifest.geometry.tile
            held = _Row(row=row, basis=basis_of_strip(cube, scene.valid(slice(first, first + len(cube)))))
            self._rows[scene] = held
        if held.strip is None or held.code != code:
            held.strip, held.code = transformed(cube, held.basis, code), code
        return held.strip

    def _coded(self, strip: TransformedStrip, tile: Tile, left: int, lead: TileLead) -> list[CodedUnit]:
        """A tile's units."""
        begun = time.perf_counter()
        shape = (tile.lines, tile.samples)
        coded = self._tiles.encode(tile_of_strip(strip.pyramid, left, tile.samples), strip.scale, shape)
        units: list[CodedUnit] = [(UnitKind.HYPERLATENT, 0, lead.pack() + coded.first)]
        units += [(UnitKind.LATENT, part, octets) for part, octets in coded.parts]
        with self._lock:
            self.times.engine_s += time.perf_counter() - begun
        return units

    def _basis_units(self, strip: TransformedStrip, tile: Tile) -> list[CodedUnit]:
        """A row's basis, with its first tile: the others need it, so it goes even where that one is lossless."""
        if tile.column > 0:
            return []
        return [(UnitKind.BASIS, 0, self._basis_coder.pack(strip.basis, tile.lines))]


def tile_of_strip(pyramid: Pyramid, left: int, samples: int) -> Pyramid:
    """The coefficients of a tile.

    Args:
        pyramid: of its strip.
        left: its first sample, a multiple of 2**LEVELS.
        samples: of its pixels.
    """

    def cut(planes: NDArray[np.float32], halvings: int) -> NDArray[np.float32]:
        return planes[..., left >> halvings : -(-(left + samples) >> halvings)]

    return Pyramid(
        approximation=cut(pyramid.approximation, len(pyramid.details)),
        details=tuple(cut(planes, level + 1) for level, planes in enumerate(pyramid.details)),
    )
