"""Single patches before and after coding: true colour (seed paper, Fig. 8) and spectra (Fig. 9)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hyvic_train.evaluation.codecs import Codec, Point
from hyvic_train.evaluation.measures import Measures, measured
from hyvic_train.families.latent.figures import true_colour

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SPECTRA_RATIO = 256
"""Compression ratio that the spectra of Fig. 9 are compared near, of samples of 16 bits."""
_COLUMNS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A patch as one codec reconstructs it.

    Attributes:
        codec: name of the codec.
        point: its operating point.
        cube: (band, line, sample) digital numbers, decoded.
        measures: rate and distortion.
    """

    codec: str
    point: Point
    cube: NDArray[np.float32]
    measures: Measures

    @property
    def ratio(self) -> float:
        """Compression ratio of samples of 16 bits."""
        return self.measures.compression_ratio(16)


def examples(cube: NDArray[np.float32], codecs: Sequence[Codec]) -> Iterator[Example]:
    """Code a patch (band, line, sample) with every codec at every point."""
    for codec in codecs:
        for point, (bits, decoded) in zip(codec.points, codec.coded(cube, codec.points), strict=True):
            measures = measured(cube, decoded, bits, codec.peak)
            yield Example(codec=codec.name, point=point, cube=decoded, measures=measures)


def picture_figure(
    name: str, cube: NDArray[np.float32], found: Sequence[Example], wavelengths: Sequence[float] | None
) -> Figure:
    """Draw a patch and its reconstructions in true colour, stretched alike.

    Args:
        name: name of the patch.
        cube: (band, line, sample) digital numbers.
        found: its reconstructions.
        wavelengths: band centres in nm; None: unknown.
    """
    from matplotlib.figure import Figure

    titled = [("original", cube)]
    for example in found:
        m = example.measures
        title = (
            f"{example.codec}, {example.point.label}\nCR {example.ratio:.0f}, {m.psnr_db:.2f} dB, "
            f"SSIM {m.ssim_gaussian:.4f}, {m.spectral_angle_deg:.2f}°"
        )
        titled.append((title, example.cube))
    rows = math.ceil(len(titled) / _COLUMNS)
    columns = min(_COLUMNS, len(titled))
    figure = Figure(figsize=(3.2 * columns, 3.6 * rows), dpi=110, layout="constrained")
    figure.suptitle("\n".join(wrap(name, 36 * columns)), fontsize=8)
    every = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (title, picture) in zip(every, titled, strict=False):
        axes.imshow(true_colour(picture, wavelengths, stretched_as=cube))
        axes.set_title("\n".join(line for part in title.split("\n") for line in wrap(part, 44)), fontsize=7)
    for axes in every:
        axes.axis("off")
    return figure


def spectra_figure(
    name: str, cube: NDArray[np.float32], found: Sequence[Example], wavelengths: Sequence[float] | None
) -> Figure:
    """Plot the spectrum of the middle pixel as each codec has it at its point nearest SPECTRA_RATIO.

    Args:
        name: name of the patch.
        cube: (band, line, sample) digital numbers.
        found: its reconstructions.
        wavelengths: band centres in nm; None: unknown.
    """
    from matplotlib.figure import Figure

    line, sample = (size // 2 for size in cube.shape[1:])
    centres = np.arange(len(cube), dtype=np.float64) if wavelengths is None else np.array(wavelengths)
    order = np.argsort(centres)
    figure = Figure(figsize=(9, 4), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.plot(centres[order], cube[order, line, sample], "k-", lw=1.4, label="original")
    nearest: dict[str, Example] = {}
    for example in found:
        best = nearest.get(example.codec)
        if best is None or _distance(example) < _distance(best):
            nearest[example.codec] = example
    for example in nearest.values():
        label = f"{example.codec}, {example.point.label}: CR {example.ratio:.0f}"
        axes.plot(centres[order], example.cube[order, line, sample], lw=1, label=label)
    axes.set_title("\n".join(wrap(f"{name}, pixel {line}, {sample}", 110)), fontsize=8)
    axes.set(xlabel="band" if wavelengths is None else "wavelength, nm", ylabel="digital number")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    return figure


def _distance(example: Example) -> float:
    return abs(math.log(example.ratio / SPECTRA_RATIO))
