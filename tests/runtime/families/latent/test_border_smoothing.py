"""Latents at a tile's end, against the integer definition and by hand."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hyvic_runtime.entropy.symbol_costs import SymbolCosts
from hyvic_runtime.families.latent.border_smoothing import BorderSmoother, can_extend
from hyvic_runtime.families.latent.bundle import LatentBundle
from hyvic_runtime.families.latent.entropy_path import EntropyPath, Prediction, load_entropy_path
from hyvic_runtime.families.latent.hyperlatent import hyperlatent_rows
from hyvic_runtime.families.latent.tile_decoder import TileLatentDecoder
from hyvic_runtime.packets.reassembly import UnitKey
from hyvic_runtime.packets.space_packet import UnitKind
from hyvic_runtime.packets.tile_prefix import TilePrefix
from hyvic_runtime.scene.tile_grid import Tile, coded_shape, geometry_of

SHAPE = (3, 4, 8)
STEP = 16
MEAN = 2 * STEP + 4
"""Off the middle of the step that its symbol stands for."""
CELL = 4


@pytest.fixture(scope="module")
def path(bundle: LatentBundle) -> EntropyPath:
    return load_entropy_path(bundle)


@pytest.fixture(scope="module")
def end(bundle: LatentBundle) -> BorderSmoother:
    manifest = bundle.manifest
    costs = SymbolCosts(bundle.entropy_coder())
    return BorderSmoother(costs=costs, scales=manifest.scales, mean_step_bits=manifest.mean_step_bits, cell=CELL)


@pytest.mark.parametrize(
    ("tile", "kernel_size", "stages", "can"),
    [(32, 3, 2, True), (16, 3, 2, False), (64, 5, 2, False), (64, 3, 0, False)],
)
def test_only_kernels_of_three_see_no_more_than_the_next_cell(
    tile: int, kernel_size: int, stages: int, can: bool
) -> None:
    assert can_extend(geometry_of(tile=tile, kernel_size=kernel_size, spatial_stages=stages)) is can


class _LooksAhead:
    """A hyper-decoder whose means are those of the cell three latents on, and zero where there is none."""

    def __init__(self, bundle: LatentBundle) -> None:
        self._channels = bundle.manifest.latent_channels

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        means = MEAN * inputs["hyperlatent"][:, :1].astype(np.int32).repeat(self._channels, axis=1)
        for axis in (2, 3):
            beyond = [(0, 0) if other != axis else (0, 1) for other in range(4)]
            ahead = (np.arange(CELL * means.shape[axis]) + 3) // CELL
            means = np.pad(means, beyond).take(ahead, axis=axis)
        return {"scale_index": np.zeros_like(means), "mean_steps": means}

    def describe(self) -> str:
        return "looks ahead"


@pytest.mark.parametrize("pixels", [(32, 32), (16, 32), (27, 11)])
def test_a_tile_is_decoded_with_its_end_moved_where_its_symbols_say_so(
    bundle: LatentBundle, pixels: tuple[int, int]
) -> None:
    tile = Tile(row=0, column=0, lines=pixels[0], samples=pixels[1])
    manifest, geometry, coder = bundle.manifest, bundle.manifest.geometry, bundle.entropy_coder()
    ahead = EntropyPath(bundle, _LooksAhead(bundle))
    tile_decoder = TileLatentDecoder(bundle=bundle, entropy_path=ahead, coder=coder, took=lambda engine, own: None)
    lines, samples = coded_shape(tile, geometry.latent_stride)
    hyperlatent = np.ones((manifest.hyperlatent_channels, *coded_shape(tile, geometry.hyper_stride)), np.int32)
    whole = np.pad(hyperlatent, [(0, 0), *((0, geometry.hyperlatents - cells) for cells in hyperlatent.shape[1:])])
    means = ahead.predict(whole[None]).mean_steps[0, :, :lines, :samples]
    symbols = (MEAN - means) // STEP
    assert 0 < np.count_nonzero(symbols) < symbols.size
    rows = hyperlatent_rows(hyperlatent.shape, manifest.scales)
    hyperlatent_unit = TilePrefix(code=0).pack() + coder.encode(hyperlatent.ravel(), rows)
    units = {
        UnitKey.of(UnitKind.TILE_BASE, tile): hyperlatent_unit,
        UnitKey.of(UnitKind.TILE_REFINEMENT, tile): coder.encode(symbols.ravel(), np.zeros(symbols.size, np.int64)),
    }
    _, inverse_gain = bundle.gains.at(0)
    in_steps = np.float32(1 / STEP) * inverse_gain

    # The narrowest row takes a latent to its mean but for the symbols that it holds in vain.
    assert np.allclose(tile_decoder.decode(units, tile).latent, MEAN * in_steps, rtol=1e-4)
    without = tile_decoder.decode({UnitKey.of(UnitKind.TILE_BASE, tile): hyperlatent_unit}, tile)
    assert np.allclose(without.latent, means * in_steps, rtol=1e-6)


def _predictions(mean: int, row: int = 0) -> tuple[Prediction, Prediction]:
    """A tile's own means of zero, and those of the other prediction: as many in its last column."""
    rows, means = np.full(SHAPE, row), np.zeros(SHAPE, np.int64)
    others = means.copy()
    others[..., -1] = mean
    return Prediction(rows, means), Prediction(rows, others)


def test_symbols_that_say_what_the_other_prediction_knew_take_their_latents_to_it(end: BorderSmoother) -> None:
    own, continued = _predictions(mean=-STEP)
    symbols = np.zeros(SHAPE, np.int64)
    symbols[..., -1] = -1
    symbols[0, 0, -1] = 0  # the other prediction is wrong here, and the latent goes no farther than it may
    steps = end.latent_steps(symbols, own, lambda: continued)
    assert (steps[..., :-1] == 0).all()
    assert steps[0, 0, -1] == -STEP / 2
    assert (np.delete(steps[..., -1].ravel(), 0) == -STEP).all()


def test_symbols_that_their_own_prediction_coded_best_leave_their_latents(end: BorderSmoother) -> None:
    own, continued = _predictions(mean=STEP)
    symbols = np.zeros(SHAPE, np.int64)
    assert (end.latent_steps(symbols, own, lambda: continued) == 0).all()
    symbols[0, 0, :] = 40_000  # an escape is one under either
    assert (end.latent_steps(symbols, own, lambda: continued) == symbols * STEP).all()


def test_predictions_that_agree_leave_every_latent(end: BorderSmoother) -> None:
    own, _ = _predictions(mean=0)
    symbols = np.random.default_rng(1).integers(-3, 4, SHAPE)
    assert (end.latent_steps(symbols, own, lambda: own) == symbols * STEP).all()


@pytest.mark.parametrize("row", [0, 20, 40, 63])
def test_no_latent_leaves_its_quantiser_step(end: BorderSmoother, row: int) -> None:
    rng = np.random.default_rng(row)
    own, continued = _predictions(mean=40 * STEP, row=row)
    symbols = rng.integers(-2, 3, SHAPE)
    symbols[..., -1] += 40
    steps = end.latent_steps(symbols, own, lambda: continued)
    assert (np.abs(steps - symbols * STEP) <= STEP / 2).all()
    # The wider a row, the less its mean says of where in its step a latent lies.
    moved = np.abs(steps - symbols * STEP).max()
    assert {0: moved == STEP / 2, 20: 0 < moved < STEP / 2, 40: 0 < moved < 1, 63: moved < 1e-2}[row]
