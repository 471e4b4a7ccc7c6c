"""What it changes that a joint codec's transforms see windows of a scene instead of all of it.

python tests/benchmarks/bench_windows.py CHECKPOINT SCENE

Codes a scene in torch at the finest rate, in windows of several tiles and halos, and in one window of all; prints what
PSNR and the float model's bits differ by. The entropy path has the whole scene each time.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from hyvic_export.families.latent.reference_codec import _by_window
from hyvic_runtime.scene.files import read_scene
from hyvic_runtime.scene.scene import mean_spectrum, resample_bands
from hyvic_runtime.support.metrics import psnr
from hyvic_train.families.latent.checkpoint import load_checkpoint
from hyvic_train.families.latent.codec_model import CodecModel
from numpy.typing import NDArray

WHOLE = 64
"""Mirrored pixels around the scene where all of it is one window."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("scene", type=Path)
    arguments = parser.parse_args()
    checkpoint, scene = load_checkpoint(arguments.checkpoint), read_scene(arguments.scene)
    if scene.wavelengths is not None and checkpoint.config.data.wavelengths is not None:
        scene = resample_bands(scene, np.array(checkpoint.config.data.wavelengths))
    cell = checkpoint.model.config.cell
    side = min(scene.cube.shape[:2]) // (2 * cell) * 2 * cell
    mean = mean_spectrum(scene) if checkpoint.config.data.remove_mean_spectrum else 0
    cube = (scene.cube[:side, :side] - mean).astype(np.float32)
    whole_db, whole_bits = coded(checkpoint.model, cube, side, WHOLE)
    print(f"{side} × {side} pixels as a whole: {whole_db:.4f} dB, {whole_bits:,.0f} bits")
    for tile in (cell, 2 * cell):
        for halo in (0, cell, 2 * cell):
            db, bits = coded(checkpoint.model, cube, tile, halo)
            print(
                f"tiles of {tile}, halo {halo}: {db - whole_db:+.4f} dB, {bits / whole_bits - 1:+.3%} bits", flush=True
            )


@torch.no_grad()
def coded(model: CodecModel, cube: NDArray[np.float32], tile: int, halo: int) -> tuple[float, float]:
    """PSNR and bits of a scene of whole tiles."""
    stride = model.config.hyper_stride // 4
    mirrored = np.pad(cube, [(halo, halo), (halo, halo), (0, 0)], mode="reflect")
    x = torch.from_numpy(np.ascontiguousarray(np.moveaxis(mirrored, -1, 0)))[None]
    gain, inverse_gain = model.gains(torch.tensor([float(model.config.rates - 1)]))
    y = _by_window(model.analyse, x, (tile, tile), (halo, halo)) * gain
    quantised = model.quantise(y, model._rounded(model.h_a(y)))
    bits = -float(model.latent_likelihoods(quantised.symbols, quantised.scales).log2().sum())
    pad = [halo // stride] * 4
    y_hat = torch.nn.functional.pad(quantised.y_hat * inverse_gain, pad, mode="replicate")
    picture = _by_window(model.synthesise, y_hat, (tile // stride,) * 2, (halo // stride,) * 2)[0].numpy()
    return psnr(cube, np.moveaxis(picture, 0, -1), model.config.peak), bits


if __name__ == "__main__":
    main()
