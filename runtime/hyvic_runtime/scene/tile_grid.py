"""Positions of tiles, the halos that tiles read of their neighbours, and the number of latents of a tile.

Tiles are independent in the stream, and the image shows no seams. The encoder reads a tile with a halo of its
neighbours, so the latents equal the latents of the whole scene. The decoder works on the mosaic of all latents, one
tile and its halo at a time.

    pixels  ··│before│        tile        │after│··      analysis reads the halos, and gives tile / stride latents
    latents   ··│before│ latents │after│··               synthesis reads the halos, and gives the pixels of a tile
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

DEFAULT_TILE = 128
MAX_TILE = 4096
"""Largest side of a tile in pixels: one graph call must fit the memory of a small computer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TileGeometry:
    """Sizes along one axis, equal for lines and samples.

    Attributes:
        tile: side of a tile, in pixels.
        latent_stride: pixels per latent, 2**S.
        hyper_stride: pixels per hyper-latent, 2**(S + 2).
        halo_before: pixels before a tile that its latents depend on.
        halo_after: pixels after a tile that its latents depend on.
        latent_halo_before: latents before a tile that its pixels depend on.
        latent_halo_after: latents after a tile that its pixels depend on.
    """

    tile: int
    latent_stride: int
    hyper_stride: int
    halo_before: int
    halo_after: int
    latent_halo_before: int
    latent_halo_after: int

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is not int or not 0 <= value <= MAX_TILE:
                raise ValueError(f"{field.name} is {value!r}; a whole number in 0..{MAX_TILE} is needed")
        if min(self.tile, self.latent_stride) < 1 or self.hyper_stride % self.latent_stride:
            raise ValueError(
                f"tile {self.tile} and strides {self.latent_stride}, {self.hyper_stride} do not fit together"
            )
        if self.tile % self.hyper_stride:
            raise ValueError(f"tile is {self.tile} pixels; it must be a multiple of {self.hyper_stride}")

    @property
    def window(self) -> int:
        """Pixels of a tile and its halos along an axis."""
        return self.halo_before + self.tile + self.halo_after

    @property
    def latents(self) -> int:
        """Latents of a tile along an axis."""
        return self.tile // self.latent_stride

    @property
    def hyperlatents(self) -> int:
        """Hyper-latents of a tile along an axis."""
        return self.tile // self.hyper_stride

    @property
    def latent_window(self) -> int:
        """Latents of a tile and its halos along an axis."""
        return self.latent_halo_before + self.latents + self.latent_halo_after


def geometry_of(*, tile: int, kernel_size: int, spatial_stages: int) -> TileGeometry:
    """Return the geometry of a HyVIC model, with halos from the reach of its kernels.

    A stride-2 convolution with padding r = k // 2 makes output i from inputs 2i - r … 2i + r. So S convolutions
    reach r (2**S - 1) pixels before a tile and (r - 1)(2**S - 1) pixels after it. The transposed convolution makes
    output p from inputs ⌈(p - r) / 2⌉ … ⌊(p + r) / 2⌋. So each stage needs half the halo of its output.

    >>> geometry = geometry_of(tile=128, kernel_size=5, spatial_stages=3)
    >>> geometry.halo_before, geometry.halo_after, geometry.window
    (14, 7, 149)
    """
    stride = 2**spatial_stages
    reach = kernel_size // 2
    before = after = 0
    for _ in range(spatial_stages):
        before = (before + reach) // 2
        after = (after + reach + 1) // 2
    return TileGeometry(
        tile=tile,
        latent_stride=stride,
        hyper_stride=4 * stride,
        halo_before=reach * (stride - 1),
        halo_after=max(reach - 1, 0) * (stride - 1),
        latent_halo_before=before,
        latent_halo_after=after,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One tile of a scene.

    Attributes:
        row, column: position in the grid.
        lines, samples: size of the part of the scene that the tile covers, at most the tile of the geometry.
    """

    row: int
    column: int
    lines: int
    samples: int

    def __str__(self) -> str:
        """Return its name in messages."""
        return f"tile {self.row}, {self.column}"


def whole_tile(geometry: TileGeometry) -> Tile:
    """Return a tile of full size."""
    return Tile(row=0, column=0, lines=geometry.tile, samples=geometry.tile)


@dataclass(frozen=True, slots=True, kw_only=True)
class TileGrid:
    """The tiles of a scene of `lines` × `samples` pixels.

    >>> grid = TileGrid(geometry=geometry_of(tile=128, kernel_size=5, spatial_stages=3), lines=300, samples=200)
    >>> grid.rows, grid.columns
    (3, 2)
    >>> grid.tile(row=2, column=1)
    Tile(row=2, column=1, lines=44, samples=72)
    """

    geometry: TileGeometry
    lines: int
    samples: int

    @property
    def rows(self) -> int:
        """Number of rows of tiles."""
        return -(-self.lines // self.geometry.tile)

    @property
    def columns(self) -> int:
        """Number of columns of tiles."""
        return -(-self.samples // self.geometry.tile)

    def tile(self, row: int, column: int) -> Tile:
        """Return the tile at a position of the grid."""
        size = self.geometry.tile
        return Tile(
            row=row,
            column=column,
            lines=min(size, self.lines - row * size),
            samples=min(size, self.samples - column * size),
        )

    def area(self, tile: Tile) -> tuple[slice, slice]:
        """Return lines and samples of a tile's pixels in the scene."""
        top, left = tile.row * self.geometry.tile, tile.column * self.geometry.tile
        return slice(top, top + tile.lines), slice(left, left + tile.samples)

    def __iter__(self) -> Iterator[Tile]:
        """Yield the tiles in the order of acquisition, row by row."""
        return (self.tile(row, column) for row in range(self.rows) for column in range(self.columns))

    def window_lines(self, row: int) -> NDArray[np.intp]:
        """Return the indices of the lines that a row of tiles reads, (window,), mirrored at the edges of the scene."""
        return self._mirrored(row, self.lines)

    def window_samples(self, column: int) -> NDArray[np.intp]:
        """Return the indices of the samples that a column of tiles reads, (window,), mirrored at the edges."""
        return self._mirrored(column, self.samples)

    def _mirrored(self, index: int, size: int) -> NDArray[np.intp]:
        start = index * self.geometry.tile - self.geometry.halo_before
        positions = np.arange(start, start + self.geometry.window)
        if size == 1:
            return np.zeros_like(positions)
        # Reflect about the edge pixel, and repeat if the scene is shorter than the window.
        positions = np.abs(positions) % (2 * (size - 1))
        return np.where(positions < size, positions, 2 * (size - 1) - positions)


def coded_shape(tile: Tile, stride: int) -> tuple[int, int]:
    """Return the lines and samples of the latents or hyper-latents of this stride that cover the pixels of a tile."""
    return -(-tile.lines // stride), -(-tile.samples // stride)
