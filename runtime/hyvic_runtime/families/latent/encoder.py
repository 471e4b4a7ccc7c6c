"""Rows of tiles to units with a bundle of HyVIC or the joint codec: one engine call makes a tile's symbols."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.codec.acquisition import Acquisition
from hyvic_runtime.codec.row_encoder import CodedUnit, RowEncoder, TileJob
from hyvic_runtime.codec.strip import Strip
from hyvic_runtime.entropy.unit_coder import SYMBOL_MAX, SYMBOL_MIN, EntropyCoder
from hyvic_runtime.errors import EngineError, SceneError
from hyvic_runtime.families.latent.bundle import ENCODER, LatentBundle, read_latent_bundle
from hyvic_runtime.families.latent.conformance import check_encoder, check_entropy_path, encoder_sha256
from hyvic_runtime.families.latent.encoder_inputs import encoder_inputs, gather
from hyvic_runtime.families.latent.entropy_path import load_entropy_path
from hyvic_runtime.families.latent.hyperlatent import hyperlatent_rows, in_tables
from hyvic_runtime.packets.quality import CODES_PER_OCTAVE, MAX_QUALITY_CODE
from hyvic_runtime.packets.space_packet import UnitKind
from hyvic_runtime.packets.tile_prefix import TilePrefix
from hyvic_runtime.scene.scene import Scene, mean_spectrum
from hyvic_runtime.scene.tile_grid import Tile, TileGrid, coded_shape


@dataclass(frozen=True, slots=True, kw_only=True)
class TileSymbols:
    """Integers that the encoder graph made of one tile, cut to what covers the scene.

    Attributes:
        hyperlatent: ẑ, (N, line, sample) int32.
        symbols: (M, line, sample) int32.
        scale_index: (M, line, sample) int32.
    """

    hyperlatent: NDArray[np.int32]
    symbols: NDArray[np.int32]
    scale_index: NDArray[np.int32]


@dataclass
class LatentRowEncoder(RowEncoder[LatentBundle]):
    """Encodes rows of tiles with a bundle of a family that has a graph from tile to symbols.

    A tile's window is gathered from the strip by the worker that codes it: pixels, halos, and mirrored pixels outside
    the scene.
    """

    writes_mean = True

    def __post_init__(self) -> None:
        self._free: list[NDArray[np.float32]] = []  # windows of tiles that are done, for the next ones
        super().__post_init__()

    def _load(self, bundle: LatentBundle, coder: EntropyCoder) -> None:
        engine = bundle.load_engine(ENCODER, self.engine, workers=self.workers, cores=self.cores)
        entropy_path = load_entropy_path(bundle, self.engine, cores=self.cores)
        check_entropy_path(bundle, entropy_path)
        check_encoder(bundle, engine, entropy_path)
        self._engine, self._engine_sha256 = engine, encoder_sha256(bundle, engine)

    def _stored(self) -> LatentBundle:
        return read_latent_bundle(self.bundle.folder)

    def _is_engine_sound(self, stored: LatentBundle) -> bool:
        unchanged = encoder_sha256(stored, self._engine) == self._engine_sha256
        return unchanged and np.array_equal(stored.gains.values, self.bundle.gains.values)

    @property
    def engine_name(self) -> str:
        return self._engine.describe()

    @property
    def lines_before(self) -> int:
        """A last row of one line mirrors the lines before it into its tile and the halo after."""
        geometry = self.bundle.manifest.geometry
        return geometry.tile + geometry.halo_after

    def bands_of(self, acquisition: Acquisition) -> int:
        bands = self.bundle.manifest.bands
        if acquisition.bands not in (None, bands):
            raise SceneError(
                f"the scene has {acquisition.bands} bands and the bundle codes {bands}; resample it to the bundle's "
                "band centres (encode-scene --resample) or use a bundle made for its sensor"
            )
        return bands

    def needs_mean(self, acquisition: Acquisition) -> bool:
        return self.bundle.manifest.mean_spectrum

    def mean_spectrum(self, scene: Scene) -> NDArray[np.integer[Any]]:
        """Return the spectrum that is subtracted: zero unless the bundle asks for the mean."""
        if self.bundle.manifest.mean_spectrum:
            return mean_spectrum(scene)
        return np.zeros(scene.cube.shape[2], scene.cube.dtype)

    def _open(self, strip: Strip) -> Callable[[int], Iterator[TileJob]]:
        def jobs(quality_code: int) -> Iterator[TileJob]:
            return (TileJob(tile=tile, code=partial(self._code_tile, strip, tile)) for tile in strip.tiles)

        return jobs

    def _code_tile(self, strip: Strip, tile: Tile, prefix: TilePrefix) -> list[CodedUnit]:
        begun = time.perf_counter()
        window = self._free.pop() if self._free else self._window()
        try:
            gather(window[0], strip.held, strip.grid, tile)
            inputs = encoder_inputs(self.bundle, window, strip.mean, prefix.code, tile)
            self.took(tile_input_s=time.perf_counter() - begun)
            return self._coded(inputs, tile, prefix)
        finally:
            self._free.append(window)

    def _window(self) -> NDArray[np.float32]:
        window = self.bundle.manifest.geometry.window
        return np.empty((1, window, window, self.bundle.manifest.bands), np.float32)

    def engine_inputs(
        self, scene: Scene, grid: TileGrid, tile: Tile, mean: NDArray[np.integer[Any]], quality_code: int
    ) -> dict[str, NDArray[np.float32]]:
        """Return what the encoder graph takes for one tile of a stored scene."""
        window = self._window()
        gather(window[0], scene.cube, grid, tile)
        return encoder_inputs(self.bundle, window, mean, quality_code, tile)

    def symbols(
        self, scene: Scene, grid: TileGrid, tile: Tile, mean: NDArray[np.integer[Any]], quality_code: int
    ) -> TileSymbols:
        """Run the encoder graph on one tile at a quality code."""
        return self._run_engine(self.engine_inputs(scene, grid, tile, mean, quality_code), tile)

    def _run_engine(self, inputs: dict[str, NDArray[np.float32]], tile: Tile) -> TileSymbols:
        begun = time.perf_counter()
        outputs = self._engine.run(inputs)
        geometry = self.bundle.manifest.geometry
        hyper, latent = (coded_shape(tile, stride) for stride in (geometry.hyper_stride, geometry.latent_stride))
        self.took(engine_s=time.perf_counter() - begun)
        return TileSymbols(
            hyperlatent=outputs["hyperlatent"][0, :, : hyper[0], : hyper[1]],
            symbols=outputs["symbols"][0, :, : latent[0], : latent[1]],
            scale_index=outputs["scale_index"][0, :, : latent[0], : latent[1]],
        )

    def _run_within_symbols(
        self, inputs: dict[str, NDArray[np.float32]], tile: Tile, prefix: TilePrefix
    ) -> tuple[TileSymbols, TilePrefix]:
        """Run the engine; run it again with coarser steps where steps finer than trained make a symbol too large.

        Cut to 16 bits, the strongest latents would lose more than all others gain.

        Raises:
            EngineError: the engine fails, or gives what no table codes.
        """
        while True:
            coded = self._run_engine(inputs, tile)
            self._check_possible(coded)
            if prefix.code <= MAX_QUALITY_CODE or not np.isin(coded.symbols, (SYMBOL_MIN, SYMBOL_MAX)).any():
                return coded, prefix
            prefix = replace(prefix, code=max(prefix.code - CODES_PER_OCTAVE, MAX_QUALITY_CODE))
            gain, _ = self.bundle.gains.at(prefix.code)
            inputs = inputs | {"gain": gain[None]}

    def _coded(self, inputs: dict[str, NDArray[np.float32]], tile: Tile, prefix: TilePrefix) -> list[CodedUnit]:
        """Return a tile's base unit, and the refinement units of its latent's parts.

        Raises:
            EngineError: the engine fails, or gives what no table codes.
        """
        coded, prefix = self._run_within_symbols(inputs, tile, prefix)
        begun = time.perf_counter()
        try:
            base = prefix.pack() + self._coder.encode(
                coded.hyperlatent.ravel(), hyperlatent_rows(coded.hyperlatent.shape, self.bundle.manifest.scales)
            )
            parts = self.bundle.manifest.parts
            pairs = zip(np.split(coded.symbols, parts), np.split(coded.scale_index, parts), strict=True)
            refinements = [
                (UnitKind.TILE_REFINEMENT, part, self._coder.encode(symbols.ravel(), tables.ravel()))
                for part, (symbols, tables) in enumerate(pairs)
            ]
        except ValueError as error:
            raise EngineError(f"{self.engine_name} gave what cannot be coded ({error})") from error
        self.took(entropy_coder_s=time.perf_counter() - begun)
        return [(UnitKind.TILE_BASE, 0, base), *refinements]

    def _check_possible(self, coded: TileSymbols) -> None:
        """Refuse what no sound engine gives: the graph clamps symbols, and a NaN comes out as the least integer.

        An escape would carry it, cut to 16 bits, and the decoder refuse it or take it for another number.
        """
        scale_index = coded.scale_index
        if not (
            in_tables(coded.hyperlatent, self.bundle)
            and SYMBOL_MIN <= coded.symbols.min() <= coded.symbols.max() <= SYMBOL_MAX
            and 0 <= scale_index.min() <= scale_index.max() < self.bundle.manifest.scales
        ):
            raise EngineError(f"{self.engine_name} gave invalid symbols or scale indices")
