"""Where tiles lie, what they see of their neighbours, and which latents a scene needs.

Tiles are independent in the stream and seamless in the picture: the encoder reads a tile with a halo of
its true neighbours, so its latents are those of the whole scene, and the decoder works on the mosaic of
all latents, a tile and its halo at a time.

    pixels  ··│before│        tile        │after│··      analysis needs halos, and gives tile / stride latents
    latents   ··│before│ latents │after│··               synthesis needs halos, and gives tile pixels
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

DEFAULT_TILE = 128
MAX_TILE = 4096
"""Pixels of a tile's side: one graph call must fit a small computer's memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TileGeometry:
    """Sizes along one axis, the same for lines and samples.

    Attributes:
        tile: pixels of a tile.
        latent_stride: pixels a latent spans, 2**S.
        hyper_stride: pixels a hyper-latent spans, 2**(S + 2).
        halo_before: pixels of the neighbour before a tile that its latents depend on.
        halo_after: the same behind it.
        latent_halo_before: latents of the neighbour before a tile that its pixels depend on.
        latent_halo_after: the same behind it.
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
            raise ValueError(f"tile {self.tile} and strides {self.latent_stride}, {self.hyper_stride} do not fit")
        if self.tile % self.hyper_stride:
            raise ValueError(f"tile is {self.tile} pixels; it must be a multiple of {self.hyper_stride}")

    @property
    def window(self) -> int:
        """Pixels that the encoder reads along an axis."""
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
        """Latents that the decoder reads along an axis."""
        return self.latent_halo_before + self.latents + self.latent_halo_after


def geometry_of(*, tile: int, kernel_size: int, spatial_stages: int) -> TileGeometry:
    """Halos of a HyVIC model, from the reach of its kernels.

    A stride-2 convolution with padding r = k // 2 makes output i from inputs 2i - r … 2i + r, so S of them
    reach r (2**S - 1) pixels before a tile and (r - 1)(2**S - 1) behind it. The transposed one makes output
    p from inputs ⌈(p - r) / 2⌉ … ⌊(p + r) / 2⌋; the halo that outputs need, halved a stage, is the inputs'.
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
        row, column: place in the grid.
        lines, samples: pixels of the scene it covers, at most the geometry's tile.
    """

    row: int
    column: int
    lines: int
    samples: int


def whole_tile(geometry: TileGeometry) -> Tile:
    """One that the scene does not cut."""
    return Tile(row=0, column=0, lines=geometry.tile, samples=geometry.tile)


@dataclass(frozen=True, slots=True, kw_only=True)
class TileGrid:
    """The tiles of a scene of `lines` × `samples` pixels."""

    geometry: TileGeometry
    lines: int
    samples: int

    @property
    def rows(self) -> int:
        """Rows of tiles."""
        return -(-self.lines // self.geometry.tile)

    @property
    def columns(self) -> int:
        """Columns of tiles."""
        return -(-self.samples // self.geometry.tile)

    def tile(self, row: int, column: int) -> Tile:
        """The tile at a place of the grid."""
        size = self.geometry.tile
        return Tile(
            row=row,
            column=column,
            lines=min(size, self.lines - row * size),
            samples=min(size, self.samples - column * size),
        )

    def __iter__(self) -> Iterator[Tile]:
        """Tiles in the order of acquisition, a strip at a time."""
        return (self.tile(row, column) for row in range(self.rows) for column in range(self.columns))

    def window_lines(self, row: int) -> NDArray[np.intp]:
        """Scene lines that a row of tiles reads, (window,); beyond the scene's edge they are mirrored."""
        return self._mirrored(row, self.lines)

    def window_samples(self, column: int) -> NDArray[np.intp]:
        """Scene samples that a column of tiles reads, (window,)."""
        return self._mirrored(column, self.samples)

    def _mirrored(self, index: int, size: int) -> NDArray[np.intp]:
        start = index * self.geometry.tile - self.geometry.halo_before
        positions = np.arange(start, start + self.geometry.window)
        if size == 1:
            return np.zeros_like(positions)
        # Reflection about the edge pixel, repeated where the scene is shorter than the window.
        positions = np.abs(positions) % (2 * (size - 1))
        return np.where(positions < size, positions, 2 * (size - 1) - positions)


def coded_shape(tile: Tile, stride: int) -> tuple[int, int]:
    """Lines and samples of latents (or hyper-latents) of that stride that cover a tile's pixels."""
    return -(-tile.lines // stride), -(-tile.samples // stride)
