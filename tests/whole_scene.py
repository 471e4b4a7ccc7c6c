"""The model's own quantised reconstruction of a whole scene, in torch and without tiles' seams.

Independent of the runtime's tiling: analysis runs over the mirrored scene at once, synthesis over the mosaic
of all latents at once. Only the entropy path is per tile, as the stream's independence demands.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from hyvic_export.frequency_tables import factorised_tables
from hyvic_export.integer_network import integer_network, run_reference
from hyvic_runtime.tile_grid import TileGeometry
from hyvic_train.hyvic import HyVIC
from hyvic_train.integer_path import MEAN_STEP_BITS


@dataclass(frozen=True)
class WholeScene:
    symbols: np.ndarray  # (M, line, sample)
    mosaic: np.ndarray  # (M, line, sample)
    reconstruction: np.ndarray  # (band, line, sample), digital numbers, not rounded
    estimated_bits: float  # the float entropy model's, for the symbols and hyper-latents that are coded


@torch.no_grad()
def code_whole_scene(model: HyVIC, cube: np.ndarray, geometry: TileGeometry, *, quality: float = 50) -> WholeScene:
    lines, samples, _ = cube.shape
    tile, stride, hyper = geometry.tile, geometry.latent_stride, geometry.hyper_stride
    rows, columns = -(-lines // tile), -(-samples // tile)
    reach = 8 * stride  # more than any halo, in whole latents
    pad = [(reach, rows * tile - lines + reach), (reach, columns * tile - samples + reach), (0, 0)]
    mean_spectrum = np.rint(cube.mean(axis=(0, 1))).astype(np.float32)
    x = torch.from_numpy(np.moveaxis(np.pad(cube - mean_spectrum, pad, mode="reflect"), -1, 0).astype(np.float32))[None]
    gain, inverse_gain = model.gains(torch.tensor([quality / 100 * (model.config.rates - 1)]))
    y = (model.analyse(x) * gain)[:, :, 8 : 8 + rows * tile // stride, 8 : 8 + columns * tile // stride]

    prior = factorised_tables(model)
    low = torch.from_numpy(prior.first)[:, None, None]
    high = low + torch.from_numpy(prior.length)[:, None, None] - 1
    network = integer_network(model, np.maximum(np.abs(low), np.abs(high)).numpy().ravel().astype(np.int64))

    channels, size = y.shape[1], tile // stride
    height, width = -(-lines // stride), -(-samples // stride)
    symbols, means = np.zeros((2, channels, height, width), np.float32)
    bits = 0.0
    for row in range(rows):
        for column in range(columns):
            tile_y = y[:, :, row * size : (row + 1) * size, column * size : (column + 1) * size]
            covered = min(tile, lines - row * tile), min(tile, samples - column * tile)
            cells = [-(-c // hyper) for c in covered]
            latents = [-(-c // stride) for c in covered]
            z_hat = torch.clamp(torch.round(model.h_a(tile_y))[0], low, high)
            z_hat[:, cells[0] :] = 0
            z_hat[:, :, cells[1] :] = 0
            _, mean_steps = run_reference(network, z_hat.numpy().astype(np.int64))
            mean = torch.from_numpy(mean_steps[:, : latents[0], : latents[1]] * 2.0**-MEAN_STEP_BITS)
            here = tile_y[0, :, : latents[0], : latents[1]]
            tile_symbols = torch.round(here - mean.float())
            area = (
                slice(None),
                slice(row * size, row * size + latents[0]),
                slice(column * size, column * size + latents[1]),
            )
            symbols[area], means[area] = tile_symbols, mean

            # What the float model would expect to pay for the same latents.
            scales, float_means = model.scales_and_means(z_hat[None].float())
            scales = scales[..., : latents[0], : latents[1]]
            float_means = float_means[..., : latents[0], : latents[1]]
            _, likelihood = model.gaussian_conditional(here[None], scales, float_means)
            _, z_likelihood = model.eval().code_hyperlatent(z_hat[None, :, : cells[0], : cells[1]].float())
            bits -= float(likelihood.log2().sum() + z_likelihood.log2().sum())
    mosaic = (symbols + means) * inverse_gain[0].numpy()
    halo = 8
    padded = np.pad(mosaic, [(0, 0), (halo, halo), (halo, halo)], mode="edge")
    full = model.synthesise(torch.from_numpy(padded)[None])[0].numpy()
    crop = full[:, halo * stride : halo * stride + lines, halo * stride : halo * stride + samples]
    crop = crop + mean_spectrum[:, None, None]
    return WholeScene(symbols=symbols, mosaic=mosaic, reconstruction=crop, estimated_bits=bits)
