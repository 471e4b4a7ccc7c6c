"""The model coding a whole scene in torch, without tiles' seams: what engines and tiles are held against.

Independent of the runtime's tiling: analysis runs over the mirrored scene at once, synthesis over the mosaic
of all latents at once. Only the entropy path is per tile, as the stream's independence demands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from hyvic_runtime.tile_grid import TileGeometry
from hyvic_train.hyvic import HyVIC
from hyvic_train.integer_path import MEAN_STEP_BITS
from numpy.typing import NDArray

from hyvic_export.entropy_model import EntropyModel
from hyvic_export.integer_network import Integers, run_reference

MARGIN = 8
"""Latents of mirrored scene on every side: more than any kernel reaches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceCoding:
    """A scene as the model codes it; latents are cut to what covers the scene.

    Attributes:
        latent: y times the gain, (M, line, sample) float32.
        symbols: (M, line, sample).
        scale_index: (M, line, sample).
        reconstruction: (line, sample, band) digital numbers, not rounded.
        estimated_bits: the float entropy model's, for the symbols and hyper-latents that are coded.
    """

    latent: NDArray[np.float32]
    symbols: Integers
    scale_index: Integers
    reconstruction: NDArray[np.float32]
    estimated_bits: float


@torch.no_grad()
def reference_coding(
    model: HyVIC,
    entropy: EntropyModel,
    cube: NDArray[np.integer[Any]],
    mean: NDArray[np.integer[Any]],
    geometry: TileGeometry,
    quality: float,
) -> ReferenceCoding:
    """Code a scene.

    Args:
        model: in evaluation mode.
        entropy: its integer form.
        cube: (line, sample, band) digital numbers.
        mean: (band,) what is subtracted from every spectrum.
        geometry: of the tiles whose ẑ are coded apart.
        quality: 0 … 100.
    """
    lines, samples, _ = cube.shape
    tile, stride, hyper = geometry.tile, geometry.latent_stride, geometry.hyper_stride
    rows, columns = -(-lines // tile), -(-samples // tile)
    reach = MARGIN * stride
    pad = [(reach, rows * tile - lines + reach), (reach, columns * tile - samples + reach), (0, 0)]
    mirrored = np.pad(cube - mean.astype(np.float32), pad, mode="reflect")
    x = torch.from_numpy(np.moveaxis(mirrored, -1, 0).astype(np.float32))[None]
    gain, inverse_gain = model.gains(torch.tensor([quality / 100 * (model.config.rates - 1)]))
    size = tile // stride
    y = (model.analyse(x) * gain)[:, :, MARGIN : MARGIN + rows * size, MARGIN : MARGIN + columns * size]

    low = torch.from_numpy(entropy.prior.first)[:, None, None]
    high = low + torch.from_numpy(entropy.prior.length)[:, None, None] - 1
    medians = model.medians[:, None, None]
    covered = y.shape[1], -(-lines // stride), -(-samples // stride)
    latent, means = np.zeros((2, *covered), np.float32)
    symbols, scale_index = np.zeros((2, *covered), np.int64)
    bits = 0.0
    for row in range(rows):
        for column in range(columns):
            tile_y = y[:, :, row * size : (row + 1) * size, column * size : (column + 1) * size]
            pixels = min(tile, lines - row * tile), min(tile, samples - column * tile)
            cells = [-(-side // hyper) for side in pixels]
            latents = [-(-side // stride) for side in pixels]
            z_hat = torch.clamp(torch.round(model.h_a(tile_y)[0] - medians), low, high)
            z_hat[:, cells[0] :] = 0
            z_hat[:, :, cells[1] :] = 0
            indices, mean_steps = run_reference(entropy.network, z_hat.numpy().astype(np.int64))
            tile_mean = mean_steps[:, : latents[0], : latents[1]] * np.float32(2.0**-MEAN_STEP_BITS)
            here = tile_y[:, :, : latents[0], : latents[1]]
            area = (
                slice(None),
                slice(row * size, row * size + latents[0]),
                slice(column * size, column * size + latents[1]),
            )
            latent[area], means[area] = here[0].numpy(), tile_mean
            symbols[area] = np.rint(here[0].numpy() - tile_mean)
            scale_index[area] = indices[:, : latents[0], : latents[1]]

            # What the float model would expect to pay for the same latents.
            z = z_hat[None].float() + medians
            scales, float_means = (v[..., : latents[0], : latents[1]] for v in model.scales_and_means(z))
            _, likelihood = model.gaussian_conditional(here, scales, float_means)
            _, z_likelihood = model.code_hyperlatent(z[..., : cells[0], : cells[1]])
            bits -= float(likelihood.log2().sum() + z_likelihood.log2().sum())
    mosaic = (symbols + means) * inverse_gain[0].numpy()
    padded = np.pad(mosaic, [(0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)], mode="edge").astype(np.float32)
    pixels_of = model.synthesise(torch.from_numpy(padded)[None])[0].numpy()
    crop = pixels_of[:, reach : reach + lines, reach : reach + samples]
    return ReferenceCoding(
        latent=latent,
        symbols=symbols,
        scale_index=scale_index,
        reconstruction=np.asarray(np.moveaxis(crop, 0, -1) + mean, np.float32),
        estimated_bits=bits,
    )
