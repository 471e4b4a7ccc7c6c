from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hyvic_runtime.scene.tile_grid import TileGrid, coded_shape, geometry_of


@pytest.mark.parametrize("stages", range(5))
@pytest.mark.parametrize("k", [3, 5, 7])
def test_halos_are_what_unpadded_convolutions_need(k: int, stages: int) -> None:
    geometry = geometry_of(tile=128, kernel_size=k, spatial_stages=stages)
    size = geometry.window
    for _ in range(stages):
        size = (size - k) // 2 + 1
    assert size == geometry.latents


def test_the_papers_final_model_needs_three_lines_of_its_neighbour() -> None:
    geometry = geometry_of(tile=128, kernel_size=3, spatial_stages=2)
    assert (geometry.halo_before, geometry.halo_after) == (3, 0)
    assert (geometry.latent_halo_before, geometry.latent_halo_after) == (0, 1)
    assert (geometry.window, geometry.latents, geometry.hyperlatents) == (131, 32, 8)


@given(st.integers(1, 400), st.integers(1, 400))
def test_tiles_cover_a_scene_once(lines: int, samples: int) -> None:
    grid = TileGrid(geometry=geometry_of(tile=32, kernel_size=3, spatial_stages=1), lines=lines, samples=samples)
    covered = np.zeros((lines, samples), int)
    for tile in grid:
        top, left = tile.row * 32, tile.column * 32
        covered[top : top + tile.lines, left : left + tile.samples] += 1
        assert tile.lines >= 1
        assert tile.samples >= 1
    assert (covered == 1).all()


@given(st.integers(1, 300))
def test_windows_mirror_the_scene_as_numpy_does(size: int) -> None:
    geometry = geometry_of(tile=32, kernel_size=5, spatial_stages=2)
    grid = TileGrid(geometry=geometry, lines=size, samples=size)
    after = grid.rows * 32 - size + geometry.halo_after
    padded = np.pad(np.arange(size), (geometry.halo_before, after), mode="reflect" if size > 1 else "edge")
    for row in range(grid.rows):
        assert grid.window_lines(row).tolist() == padded[row * 32 : row * 32 + geometry.window].tolist()


def test_an_edge_tile_codes_only_what_covers_it() -> None:
    grid = TileGrid(geometry=geometry_of(tile=128, kernel_size=3, spatial_stages=2), lines=145, samples=145)
    tile = grid.tile(1, 0)
    assert (tile.lines, tile.samples) == (17, 128)
    assert coded_shape(tile, 4) == (5, 32)
    assert coded_shape(tile, 16) == (2, 8)


def test_a_tile_that_does_not_hold_whole_cells_is_refused() -> None:
    with pytest.raises(ValueError, match="must be a multiple of 16"):
        geometry_of(tile=40, kernel_size=3, spatial_stages=2)
