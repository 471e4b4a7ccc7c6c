"""What a comparison records of one codec on one scene at one target."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TILE = 32
"""Side in pixels of the squares whose PSNR is taken on its own: several of even a scene of 100 × 100."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """How good a reconstruction is.

    Attributes:
        psnr_db: seed paper, eq. 5; inf where it is exact.
        ssim: mean over the bands, eq. 8.
        spectral_angle_deg: mean over the pixels, eq. 7.
        max_abs_error: in digital numbers.
        band_psnr_db: of every band on its own, over the scene's peak.
        tile_psnr_db: of every whole tile of TILE × TILE pixels, all bands together.
    """

    psnr_db: float
    ssim: float
    spectral_angle_deg: float
    max_abs_error: int
    band_psnr_db: tuple[float, ...]
    tile_psnr_db: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What coding took, in a process that did nothing else.

    Seconds are the processor's, of all threads together: what one core takes, whatever else the machine does.

    Attributes:
        encode_s: from the scene in memory to the stream in memory, rate search included.
        decode_s: and back.
        peak_memory_mb: resident, above what the process held before it loaded what the codec needs beside its library,
            such as a model's weights; None where the system does not tell.
        processor: name of what it ran on.
    """

    encode_s: float
    decode_s: float
    peak_memory_mb: float | None
    processor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One point, or the reason why there is none.

    Attributes:
        scene: its name.
        codec: its name.
        target_ratio: what was asked for; None for a codec that has no target (lossless).
        octets: of the stream, all side information included; None where there is none.
        compression_ratio: that it has (eq. 4), on the scene's bit depth.
        rate_bpppc: bits a pixel and channel.
        fidelity: of the decoded cube.
        cost: of coding.
        seen: the codec was trained on this scene.
        gap: why there is no stream, in a line; None where there is one.
    """

    scene: str
    codec: str
    target_ratio: float | None
    octets: int | None = None
    compression_ratio: float | None = None
    rate_bpppc: float | None = None
    fidelity: Fidelity | None = None
    cost: Cost | None = None
    seen: bool = False
    gap: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Exhibit:
    """What the report shows of a cube, original or decoded.

    Attributes:
        true_colour: (line, sample, 3) uint8, stretched as the original is.
        error: (line, sample) float32, root mean square over the bands in digital numbers; None of an original.
        spectra: (pixel, band), of the pixels that the report follows.
    """

    true_colour: NDArray[np.uint8]
    error: NDArray[np.float32] | None
    spectra: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ComparedScene:
    """A scene as the report names it.

    Attributes:
        name: of its file.
        sensor: or None where nothing tells.
        shape: lines, samples, bands.
        peak: that PSNR is taken over.
        bit_depth: that ratios are taken on.
        wavelengths: band centres in nm, or None.
        pixels: (pixel, 2) line and sample of those whose spectra are shown.
        original: what they look like.
        prepared: what was done to it before any codec saw it, in a sentence; None: nothing.
    """

    name: str
    sensor: str | None
    shape: tuple[int, int, int]
    peak: float
    bit_depth: int
    wavelengths: NDArray[np.float64] | None
    pixels: NDArray[np.intp]
    original: Exhibit
    prepared: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Comparison:
    """Everything the report is made of.

    Attributes:
        scenes: in the order of the command line.
        codecs: names, in the order of legends.
        ratios: targets.
        measurements: of every scene, codec and target.
        exhibits: of some of them, by scene, codec and target.
        command: the exact command line.
        environment: library and machine names to versions.
        notes: sentences that a reader of the figures must know.
        ours: names of the codecs that the comparison is about; the report says where each wins and loses.
    """

    scenes: tuple[ComparedScene, ...]
    codecs: tuple[str, ...]
    ratios: tuple[float, ...]
    measurements: tuple[Measurement, ...]
    exhibits: dict[tuple[str, str, float | None], Exhibit]
    command: str
    environment: dict[str, str]
    notes: tuple[str, ...] = ()
    ours: tuple[str, ...] = ()
