"""Report on a reconstructed scene: a folder with figures as JSON, pictures, and a page of both."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from hyvic_compare.spectral_axis import SpectralAxis
from hyvic_runtime.scene.scene import TRUE_COLOUR_NM, Scene, nearest_bands
from hyvic_runtime.support.atomic_file import replacing_folder
from hyvic_runtime.support.metrics import compression_ratio, psnr, rate_bpppb, spectral_angle, ssim
from hyvic_runtime.support.report_page import preformatted, report_page, table
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INK, _ACCENT = "#22313f", "#c0392b"
_SHOWN_ERRORS = 99.9
"""Percentile of the pixels' errors that the colours of the map reach."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """Rate and distortion of one coded scene (seed paper, eq. 4, 5, 7, 8).

    Attributes:
        compression_ratio: bits of the raw scene over bits of the stream, packet headers included.
        rate_bpppc: bits per pixel per channel.
        psnr_db: PSNR over the sensor's range.
        ssim: mean over bands.
        spectral_angle_deg: mean over pixels.
        largest_error: largest error of any sample, in digital numbers.
        octets: length of the stream.
        packets: number of packets that carry it.
    """

    compression_ratio: float
    rate_bpppc: float
    psnr_db: float
    ssim: float
    spectral_angle_deg: float
    largest_error: int
    octets: int
    packets: int


def measure(original: Scene, decoded: Scene, packet_octets: Sequence[int], peak: float) -> Measures:
    """Compare a scene with its reconstruction.

    Args:
        original: scene that was encoded.
        decoded: reconstruction.
        packet_octets: length of every packet, headers included.
        peak: largest digital number of the sensor.
    """
    a, b, octets = original.cube, decoded.cube, sum(packet_octets)
    return Measures(
        compression_ratio=compression_ratio(a.size, original.bit_depth, octets),
        rate_bpppc=rate_bpppb(a.size, octets),
        psnr_db=psnr(a, b, peak),
        ssim=ssim(a, b, peak),
        spectral_angle_deg=spectral_angle(a, b),
        largest_error=int(np.abs(a.astype(np.int64) - b).max()),
        octets=octets,
        packets=len(packet_octets),
    )


def write_report(
    folder: Path,
    *,
    title: str,
    note: str,
    original: Scene,
    decoded: Scene,
    packet_octets: Sequence[int],
    peak: float,
    stage_seconds: Mapping[str, float],
    commands: Sequence[str],
) -> Measures:
    """Write `report.json`, `true-colour.png`, `spectra.png`, `packets.png` and `index.html`, all or none.

    Args:
        folder: folder to create or replace.
        title: title of the page.
        note: sentence under the title: the source of the scene, and whether the model has seen it.
        original: scene that was encoded.
        decoded: reconstruction.
        packet_octets: length of every packet, headers included.
        peak: largest digital number of the sensor.
        stage_seconds: time by stage.
        commands: commands that were run, as a user would type them.
    """
    measures = measure(original, decoded, packet_octets, peak)
    figures = {
        "true-colour.png": _true_colour_figure(original, decoded),
        "spectra.png": _spectra_figure(original, decoded),
        "packets.png": _packets_figure(packet_octets),
    }
    document = {"title": title, "note": note, **asdict(measures), "stage_seconds": dict(stage_seconds)}
    with replacing_folder(folder, contents=(*figures, "report.json", "index.html")) as partial:
        for name, figure in figures.items():
            figure.savefig(partial / name)
        (partial / "report.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        page = _page(title, note, measures, stage_seconds, commands, list(figures))
        (partial / "index.html").write_text(page, encoding="utf-8")
    return measures


def _true_colour_figure(original: Scene, decoded: Scene) -> Figure:
    from matplotlib.figure import Figure

    bands = nearest_bands(TRUE_COLOUR_NM, original.cube.shape[2], original.wavelengths)
    before = original.cube[..., bands].astype(np.float64)
    low, high = np.percentile(before, (2, 98), axis=(0, 1))
    span = np.maximum(high - low, 1)

    figure = Figure(figsize=(13.5, 4.6), dpi=110, layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    for axes, cube, name in ((left, original.cube, "Original"), (middle, decoded.cube, "Decoded")):
        axes.imshow(np.clip((cube[..., bands] - low) / span, 0, 1), interpolation="nearest")
        axes.set_title(f"{name}, true colour")
    error = np.sqrt(np.mean((original.cube.astype(np.float64) - decoded.cube) ** 2, axis=2))
    # One broken sample of the sensor would leave one colour for all others.
    highest = np.percentile(error, _SHOWN_ERRORS)
    image = right.imshow(error, cmap="inferno", vmin=0, vmax=highest, interpolation="nearest")
    right.set_title("Root-mean-square error over bands")
    figure.colorbar(image, ax=right, label="digital numbers", shrink=0.85, extend="max")
    for axes in (left, middle, right):
        axes.set_xlabel("sample")
    left.set_ylabel("line")
    return figure


def _pixels_to_show(original: Scene, decoded: Scene) -> dict[str, tuple[int, int]]:
    """Choose pixels: the brightest, the greenest, one of median error, and the one with the largest error."""
    cube = original.cube.astype(np.float64)
    red, infrared = np.moveaxis(cube[..., nearest_bands((660, 860), cube.shape[2], original.wavelengths)], -1, 0)
    greenness = (infrared - red) / np.maximum(infrared + red, 1)
    brightness = cube.mean(axis=2)
    error = ((cube - decoded.cube) ** 2).mean(axis=2)

    def place(values: NDArray[np.float64]) -> tuple[int, int]:
        line, sample = np.unravel_index(int(values.argmax()), values.shape)
        return int(line), int(sample)

    return {
        "brightest": place(brightness),
        "greenest (NDVI)": place(greenness),
        "median error": place(-np.abs(error - np.median(error))),
        "largest error": place(error),
    }


def _spectra_figure(original: Scene, decoded: Scene) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.5, 7), dpi=110, layout="constrained")
    grid = figure.subplots(2, 2)
    spectral = SpectralAxis.of(original.wavelengths, original.cube.shape[2])
    for axes, (name, (line, sample)) in zip(grid.flat, _pixels_to_show(original, decoded).items(), strict=True):
        for cube, colour, width, label in (
            (original.cube, _INK, 2.4, "original"),
            (decoded.cube, _ACCENT, 1.1, "decoded"),
        ):
            axes.plot(spectral.x, spectral.line(cube[line, sample]), color=colour, linewidth=width, label=label)
        axes.set_title(f"Pixel {line}, {sample}: {name}")
        axes.set_ylabel("digital number")
        axes.set_xlabel(spectral.label)
        axes.grid(alpha=0.25)
        axes.legend(frameon=False)
    return figure


def _packets_figure(packet_octets: Sequence[int]) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(9, 3.6), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.hist(packet_octets, bins=min(40, max(8, len(packet_octets) // 2)), color=_INK, edgecolor="white")
    axes.set_title(f"{len(packet_octets)} packets, {sum(packet_octets):,} octets")
    axes.set_xlabel("packet length in octets, headers included")
    axes.set_ylabel("packets")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _page(
    title: str,
    note: str,
    measures: Measures,
    stage_seconds: Mapping[str, float],
    commands: Sequence[str],
    pictures: Sequence[str],
) -> str:
    shown = {
        "compression ratio": f"{measures.compression_ratio:.1f}",
        "bits per pixel per channel": f"{measures.rate_bpppc:.4f}",
        "PSNR": f"{measures.psnr_db:.2f} dB",
        "SSIM": f"{measures.ssim:.4f}",
        "spectral angle": f"{measures.spectral_angle_deg:.2f}°",
        "largest error": f"{measures.largest_error:,} DN",
        f"in {measures.packets} packets": f"{measures.octets:,} octets",
    }
    return report_page(
        title=title,
        note=note,
        figures=shown,
        pictures=pictures,
        sections={
            "Time": table({name: f"{1000 * seconds:.1f} ms" for name, seconds in stage_seconds.items()}),
            "Commands": preformatted(commands),
        },
    )
