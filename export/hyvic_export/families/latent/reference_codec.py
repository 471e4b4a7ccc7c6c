"""Reference codec: the model codes a whole scene in torch, for comparison with engines and tiles.

It does not use the runtime's tiling. If a tile's halo holds all that a kernel reaches, the analysis runs over the whole
mirrored scene and the synthesis over all latents together, so that a seam would show. Otherwise both see the windows
of the tiles. The entropy path runs tile by tile, because tiles of a stream are independent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from hyvic_runtime.entropy.symbol_costs import SymbolCosts
from hyvic_runtime.entropy.unit_coder import EntropyCoder
from hyvic_runtime.families.latent.border_smoothing import BorderSmoother, can_extend
from hyvic_runtime.families.latent.entropy_path import Prediction
from hyvic_runtime.scene.tile_grid import TileGeometry
from hyvic_train.families.latent.codec_model import CodecModel
from hyvic_train.integer_path import MEAN_STEP_BITS, SCALE_COUNT
from numpy.typing import NDArray

from hyvic_export.families.latent.entropy_model import EntropyModel
from hyvic_export.families.latent.exportable import Exportable
from hyvic_export.families.latent.integer_network import Code, ReferenceLatent, run_reference
from hyvic_export.integer_layer import Integers

MARGIN = 8
"""Number of latents of mirrored scene on every side, more than any kernel reaches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceCoding:
    """A scene as the model codes it; latents are cut to the area of the scene.

    Attributes:
        latent: y times the gain, (M, line, sample) float32.
        symbols: symbols, (M, line, sample).
        scale_index: scale indices, (M, line, sample).
        reconstruction: digital numbers, not rounded, (line, sample, band).
        estimated_bits: code length of the coded symbols and hyper-latents by the float entropy model.
    """

    latent: NDArray[np.float32]
    symbols: Integers
    scale_index: Integers
    reconstruction: NDArray[np.float32]
    estimated_bits: float


@torch.no_grad()
def reference_coding(
    exportable: Exportable[CodecModel],
    entropy: EntropyModel,
    cube: NDArray[np.integer[Any]],
    mean: NDArray[np.integer[Any]],
    geometry: TileGeometry,
    quality: float,
) -> ReferenceCoding:
    """Code a scene.

    Args:
        exportable: model in evaluation mode.
        entropy: integer form of its entropy model.
        cube: digital numbers, (line, sample, band).
        mean: spectrum to subtract from every pixel, (band,).
        geometry: geometry of the tiles, whose ẑ are coded apart.
        quality: quality, 0 … 100.
    """
    model = exportable.model
    lines, samples, _ = cube.shape
    tile, stride, hyper, size = geometry.tile, geometry.latent_stride, geometry.hyper_stride, geometry.latents
    grid = -(-lines // tile), -(-samples // tile)
    # Number of latents of one transform, and number of latents around them that it sees.
    whole = exportable.exact_halos
    core = (grid[0] * size, grid[1] * size) if whole else (size, size)
    halo = (MARGIN, MARGIN) if whole else (geometry.halo_before // stride, geometry.halo_after // stride)
    latent_halo = (MARGIN, MARGIN) if whole else (geometry.latent_halo_before, geometry.latent_halo_after)

    beyond = grid[0] * tile - lines, grid[1] * tile - samples
    pad = [(halo[0] * stride, more + halo[1] * stride) for more in beyond]
    mirrored = np.pad(cube - mean.astype(np.float32), [*pad, (0, 0)], mode="reflect")
    x = torch.from_numpy(np.moveaxis(mirrored, -1, 0).astype(np.float32))[None]
    gain, inverse_gain = model.gains(torch.tensor([quality / 100 * (model.config.rates - 1)]))
    y = _by_window(model.analyse, x, [side * stride for side in core], [side * stride for side in halo]) * gain

    low = torch.from_numpy(entropy.prior.first)[:, None, None]
    high = low + torch.from_numpy(entropy.prior.length)[:, None, None] - 1
    medians = model.medians[:, None, None]
    covered = y.shape[1], -(-lines // stride), -(-samples // stride)
    latent, latent_steps = np.zeros((2, *covered), np.float32)
    symbols, scale_index = np.zeros((2, *covered), np.int64)
    bits = 0.0
    for row, column in np.ndindex(grid):
        tile_y = y[:, :, row * size : (row + 1) * size, column * size : (column + 1) * size]
        pixels = min(tile, lines - row * tile), min(tile, samples - column * tile)
        cells = [-(-side // hyper) for side in pixels]
        latents = [-(-side // stride) for side in pixels]
        z_hat = torch.clamp(torch.round(model.h_a(tile_y)[0] - medians), low, high)
        z_hat[:, cells[0] :] = 0
        z_hat[:, :, cells[1] :] = 0
        coded = run_reference(entropy.network, z_hat.numpy().astype(np.int64), _rounding(tile_y[0].numpy(), latents))
        here = (slice(None), slice(latents[0]), slice(latents[1]))
        area = (
            slice(None),
            slice(row * size, row * size + latents[0]),
            slice(column * size, column * size + latents[1]),
        )
        latent[area] = tile_y[0].numpy()[here]
        latent_steps[area] = _smoothed_steps(entropy, z_hat[:, : cells[0], : cells[1]].numpy(), coded, here, geometry)
        symbols[area], scale_index[area] = coded.symbols[here], coded.scale_index[here]

        # Code length of these latents under the float model.
        z = z_hat[None].float() + medians
        quantised = model.quantise(tile_y, z)
        likelihood = model.latent_likelihoods(quantised.symbols, quantised.scales)[0][here]
        _, z_likelihood = model.code_hyperlatent(z[..., : cells[0], : cells[1]])
        bits -= float(likelihood.log2().sum() + z_likelihood.log2().sum())
    mosaic = latent_steps * np.float32(2.0**-MEAN_STEP_BITS) * inverse_gain[0].numpy()
    beyond = grid[0] * size - covered[1], grid[1] * size - covered[2]
    pad = [(latent_halo[0], more + latent_halo[1]) for more in beyond]
    padded = torch.from_numpy(np.pad(mosaic, [(0, 0), *pad], mode="edge").astype(np.float32))[None]
    picture = _by_window(model.synthesise, padded, core, latent_halo)[0, :, :lines, :samples].numpy()
    return ReferenceCoding(
        latent=latent,
        symbols=symbols,
        scale_index=scale_index,
        reconstruction=np.asarray(np.moveaxis(picture, 0, -1) + mean, np.float32),
        estimated_bits=bits,
    )


def _by_window(
    transform: Callable[[torch.Tensor], torch.Tensor],
    x: torch.Tensor,
    core: Sequence[int],
    halo: Sequence[int],
) -> torch.Tensor:
    """Transform a picture window by window, and join the results.

    Args:
        transform: transform of (1, channel, line, sample), to larger or smaller pictures.
        x: cores side by side, with one halo around all of them.
        core: lines and samples of a window to keep.
        halo: number of lines or samples before and after the core.
    """
    before, both = halo[0], sum(halo)
    rows = []
    for line in range(0, x.shape[2] - both, core[0]):
        row = []
        for sample in range(0, x.shape[3] - both, core[1]):
            window = x[..., line : line + core[0] + both, sample : sample + core[1] + both]
            made = transform(window)
            first, lines, samples = (made.shape[2] * side // window.shape[2] for side in (before, *core))
            row.append(made[..., first : first + lines, first : first + samples])
        rows.append(torch.cat(row, dim=3))
    return torch.cat(rows, dim=2)


def _smoothed_steps(
    entropy: EntropyModel,
    hyperlatent: NDArray[np.floating[Any]],
    coded: ReferenceLatent,
    here: tuple[slice, ...],
    geometry: TileGeometry,
) -> NDArray[np.floating[Any]]:
    """Return the coded part of a tile's ŷ in steps, smoothed at the border as on the ground.

    See `hyvic_runtime.families.latent.border_smoothing`.

    Args:
        entropy: entropy model of the codec.
        hyperlatent: coded part of ẑ.
        coded: outputs for the whole tile.
        here: coded part of the tile.
        geometry: geometry of the tile.
    """
    if entropy.network.slices or not can_extend(geometry):
        return coded.latent_steps[here].astype(np.float32)
    held = np.pad(hyperlatent.astype(np.int64), [(0, 0), (0, 1), (0, 1)], mode="edge")

    def continued() -> Prediction:
        on = run_reference(entropy.network, held, lambda part, scale_index, mean_steps: np.zeros_like(mean_steps))
        return Prediction(on.scale_index[here], on.mean_steps[here])

    end = BorderSmoother(
        costs=SymbolCosts(EntropyCoder(entropy.tables)),
        scales=SCALE_COUNT,
        mean_step_bits=MEAN_STEP_BITS,
        cell=geometry.hyper_stride // geometry.latent_stride,
    )
    own = Prediction(coded.scale_index[here], coded.mean_steps[here])
    return end.latent_steps(coded.symbols[here], own, continued)


def _rounding(y: NDArray[np.float32], latents: Sequence[int]) -> Code:
    """Make the encoder's rule for symbols, which are zero where a latent is not coded."""

    def code(part: int, scale_index: Integers, mean_steps: Integers) -> Integers:
        depth = len(mean_steps)
        residual = y[part * depth : (part + 1) * depth] - mean_steps * np.float32(2.0**-MEAN_STEP_BITS)
        symbols = np.rint(residual).astype(np.int64)
        symbols[:, latents[0] :] = 0
        symbols[:, :, latents[1] :] = 0
        return symbols

    return code
