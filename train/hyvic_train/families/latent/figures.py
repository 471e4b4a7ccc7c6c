"""Pictures of a run for TensorBoard: rate and distortion, and a validation scene before and after coding."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np
import torch
from hyvic_runtime.scene.scene import TRUE_COLOUR_NM, nearest_bands
from numpy.typing import NDArray

from hyvic_train.data.cubes import TrainingCube
from hyvic_train.data.measured import SINGLE_SCENES, middle
from hyvic_train.families.latent.codec_model import CodecModel
from hyvic_train.families.latent.validation import OperatingPoint

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SPECTRA = 3


def rate_distortion_figure(points: Sequence[OperatingPoint], peak: float) -> Figure:
    """Plot every rate level: a line for each scene, or mean and deviation of PSNR over the dots of many scenes.

    Compression ratios are of 16-bit samples; the mean's is that of the mean rate.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), dpi=110, layout="constrained")
    axes = figure.subplots()
    scenes = points[0].scenes
    few = len(scenes) <= SINGLE_SCENES
    for name in scenes:
        results = [point.scenes[name] for point in points]
        ratios, decibels = [r.compression_ratio for r in results], [r.psnr(peak) for r in results]
        if few:
            axes.plot(ratios, decibels, "o-", label="\n".join(wrap(name, 40)))
        else:
            axes.plot(ratios, decibels, ".", color="0.75", ms=3)
    if not few:
        psnr = [point.psnr(peak) for point in points]
        axes.errorbar(
            [point.compression_ratio for point in points],
            [p.mean for p in psnr],
            [p.deviation for p in psnr],
            fmt="o-",
            capsize=3,
            label=f"mean ± deviation of {len(scenes)} scenes",
        )
    axes.set(xscale="log", xlabel="compression ratio", ylabel="PSNR, dB")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return figure


@torch.no_grad()
def reconstruction_figures(
    model: CodecModel, scene: TrainingCube, level: int, wavelengths: Sequence[float] | None
) -> tuple[Figure, Figure]:
    """Draw one scene at one rate level: true colour before and after, and the spectra of a few pixels."""
    from matplotlib.figure import Figure

    x = model.batch_of(middle(scene.cube, model.config.cell))
    after = model(x, x.new_full((1,), level)).reconstruction[0].cpu().numpy()
    before = x[0].cpu().numpy()

    picture = Figure(figsize=(9, 4.9), dpi=110, layout="constrained")
    picture.suptitle("\n".join(wrap(scene.name, 80)))
    for axes, cube, title in zip(picture.subplots(1, 2), (before, after), ("original", "reconstruction"), strict=True):
        axes.imshow(true_colour(cube, wavelengths, stretched_as=before))
        axes.set_title(title)
        axes.axis("off")

    spectra = Figure(figsize=(9, 3.6), dpi=110, layout="constrained")
    axes = spectra.subplots()
    centres = np.arange(len(before), dtype=np.float64) if wavelengths is None else np.array(wavelengths)
    order = np.argsort(centres)
    for index, share in enumerate(np.linspace(0.2, 0.8, _SPECTRA)):
        line, sample = (int(share * size) for size in before.shape[1:])
        axes.plot(centres[order], before[order, line, sample], f"C{index}-", lw=1, label=f"pixel {line}, {sample}")
        axes.plot(centres[order], after[order, line, sample], f"C{index}--", lw=1)
    axes.set(xlabel="band" if wavelengths is None else "wavelength, nm", ylabel="digital number (dashed: decoded)")
    axes.legend()
    return picture, spectra


def true_colour(
    cube: NDArray[np.float32], wavelengths: Sequence[float] | None, *, stretched_as: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return a cube (band, line, sample) as a picture (line, sample, 3) in 0 … 1.

    Args:
        cube: digital numbers.
        wavelengths: band centres in nm; None: unknown.
        stretched_as: cube whose percentiles 2 and 98 of each colour become 0 and 1.
    """
    bands = nearest_bands(TRUE_COLOUR_NM, len(cube), None if wavelengths is None else np.array(wavelengths))
    low, high = np.percentile(stretched_as[bands], (2, 98), axis=(1, 2))[..., None, None]
    picture: NDArray[np.float32] = np.moveaxis(np.clip((cube[bands] - low) / np.maximum(high - low, 1), 0, 1), 0, -1)
    return picture
