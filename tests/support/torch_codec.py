"""A latent codec's stages in torch, in float64, with how far any library may be from them.

Every stage is compared by what the stage before it gave: ẑ and the symbols are what the encoder chose, so that one
latent at a half does not move all that follows.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from hyvic_export.families.latent.entropy_model import EntropyModel
from hyvic_export.families.latent.integer_network import run_reference
from hyvic_runtime.families.latent.decoder import LatentDecoder
from hyvic_runtime.families.latent.encoder import LatentRowEncoder
from hyvic_runtime.packets.quality import quality_code
from hyvic_runtime.packets.reassembly import receive
from hyvic_runtime.scene.scene import Scene
from hyvic_runtime.scene.tile_grid import Tile
from hyvic_train.families.latent.hyvic import HyVIC
from hyvic_train.integer_path import MEAN_STEP_BITS
from numpy.typing import NDArray
from rounding import FLOAT32, Bounded, check_rounded
from torch import Tensor, nn
from torch.nn.functional import conv2d
from torch_rounding import float_bound

MARGIN = 8
"""Latents on every side of a picture: more than any kernel reaches."""


def analysed(model: HyVIC, tile: Tensor, mean: Tensor) -> Tensor:
    """The latent y of a window and its mean, by the graph's operations: no other form of E rounds more.

    The graph takes the mean out after its first layer, which is linear: digital numbers are multiplied as they are, and
    the sum rounds by their size instead of by what they deviate from the mean.
    """
    first, *others = model.g_a
    peak = model.config.peak
    hidden: Tensor = first(tile / peak) - conv2d(mean / peak, first.weight)  # type: ignore[arg-type]
    for layer in others:
        # Without padding: a window's halo holds what every kernel reaches.
        is_convolution = isinstance(layer, nn.Conv2d)
        hidden = conv2d(hidden, layer.weight, layer.bias, stride=layer.stride) if is_convolution else layer(hidden)
    return hidden


def check_tile(
    model: HyVIC,
    entropy: EntropyModel,
    encoder: LatentRowEncoder,
    scene: Scene,
    tile: Tile,
    quality: float,
    whole_scene: NDArray[np.float32],
) -> float:
    """The encoder's ẑ and symbols of a tile are torch's, but where a value lies within its bound of a half.

    So are the latents that float32 gives of the scene as a whole, which has no tiles.

    Args:
        model: what was exported.
        entropy: integer form of the model.
        encoder: encoder under test.
        scene: scene.
        tile: tile of the scene.
        quality: 0 … 100.
        whole_scene: (M, line, sample) latents times their gain, of the scene analysed at once in torch.

    Returns:
        Share of the symbols that lie so near to a half that either neighbour is right.
    """
    double = copy.deepcopy(model).double()
    grid, mean, code = encoder.grid(scene), encoder.mean_spectrum(scene), quality_code(quality)
    geometry = grid.geometry
    inputs = {
        name: torch.from_numpy(values).double()
        for name, values in encoder.engine_inputs(scene, grid, tile, mean, code).items()
    }
    pixels, centre = (inputs[name].permute(0, 3, 1, 2) for name in ("tile", "mean_spectrum"))

    def latent() -> Tensor:
        return analysed(double, pixels, centre) * inputs["gain"]

    y = float_bound(latent)
    z = float_bound(lambda: double.h_a(latent()) - double.medians[:, None, None])
    coded = encoder.symbols(scene, grid, tile, mean, code)

    _, lines, samples = coded.symbols.shape
    line, sample = tile.row * geometry.latents, tile.column * geometry.latents
    seamless = whole_scene[None, :, line : line + lines, sample : sample + samples]
    assert (np.abs(seamless - y.exact[..., :lines, :samples]) <= y.bound).all()

    cells = coded.hyperlatent.shape[1:]
    low = entropy.prior.first[:, None, None].astype(np.float64)
    high = low + entropy.prior.length[:, None, None] - 1
    check_rounded(coded.hyperlatent[None], Bounded(z.exact[..., : cells[0], : cells[1]].clip(low, high), z.bound))

    whole = np.zeros((len(coded.hyperlatent), geometry.hyperlatents, geometry.hyperlatents), np.int64)
    whole[:, : cells[0], : cells[1]] = coded.hyperlatent
    walked = run_reference(entropy.network, whole, lambda part, scale_index, mean_steps: np.zeros_like(mean_steps))
    assert np.array_equal(coded.scale_index, walked.scale_index[:, :lines, :samples])
    predicted = walked.mean_steps[None, :, :lines, :samples] * 2.0**-MEAN_STEP_BITS
    residual = y.exact[..., :lines, :samples] - predicted
    # The difference is rounded once more, by its own size.
    last = 2 * FLOAT32 * np.abs(residual).max(axis=(0, 2, 3), keepdims=True)
    return check_rounded(coded.symbols[None], Bounded(residual, y.bound + last))


def decoded_latents(decoder: LatentDecoder, stream: bytes) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Symbols and latents of a whole stream, put together from its tiles.

    Args:
        decoder: decoder under test.
        stream: coded scene, whole.

    Returns:
        Both (M, line, sample), as far as they cover the scene; latents times their inverse gain.
    """
    received = receive(stream).scene()
    grid = decoder._grid(received.header)
    stride, size = grid.geometry.latent_stride, grid.geometry.latents
    shape = (
        decoder.bundle.manifest.latent_channels,
        -(-received.header.lines // stride),
        -(-received.header.samples // stride),
    )
    symbols, latents = np.zeros(shape, np.int64), np.full(shape, np.nan)
    for tile in grid:
        decoded = decoder.tile_latents(received.units, tile)
        assert decoded.problem is None
        lines, samples = decoded.symbols.shape[1:]
        line, sample = tile.row * size, tile.column * size
        area = (slice(None), slice(line, line + lines), slice(sample, sample + samples))
        symbols[area], latents[area] = decoded.symbols, decoded.latent
    return symbols, latents


@torch.no_grad()
def check_picture(
    model: HyVIC, decoder: LatentDecoder, stream: bytes, mean: NDArray[np.integer]
) -> NDArray[np.float64]:
    """The decoder's picture is torch's synthesis of the whole mosaic at once, rounded.

    Args:
        model: what was exported, with halos that hold what every kernel reaches.
        decoder: decoder under test.
        stream: coded scene, whole.
        mean: (band,) spectrum that the encoder subtracted.

    Returns:
        (band,) how far apart two libraries may be, in digital numbers, before they round.
    """
    double = copy.deepcopy(model).double()
    header = receive(stream).scene().header
    stride = decoder.bundle.manifest.geometry.latent_stride
    _, mosaic = decoded_latents(decoder, stream)
    padded = torch.from_numpy(np.pad(mosaic, [(0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)], mode="edge"))[None]
    centre = torch.from_numpy(mean.astype(np.float64))[:, None, None]
    inside = slice(MARGIN * stride, MARGIN * stride + header.lines)
    across = slice(MARGIN * stride, MARGIN * stride + header.samples)
    picture = float_bound(lambda: (double.synthesise(padded) + centre)[..., inside, across])
    cube = decoder.decode(stream).scene.cube
    limits = np.iinfo(cube.dtype)
    exact = np.moveaxis(picture.exact[0], 0, -1).clip(limits.min, limits.max)
    bound: NDArray[np.float64] = picture.bound[0, :, 0, 0]
    assert (np.abs(cube - exact) <= 0.5 + bound).all()
    return bound
