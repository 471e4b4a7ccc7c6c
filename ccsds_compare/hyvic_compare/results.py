"""Results of a comparison: measurements, previews and scenes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hyvic_runtime.codec.seen_scenes import Seen
from numpy.typing import NDArray

TILE = 32
"""Side in pixels of the squares that have a PSNR of their own: several even in a scene of 100 × 100."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Distortion:
    """Measures of a reconstruction.

    Attributes:
        psnr_db: seed paper, eq. 5; inf if every sample is exact.
        ssim: mean over the bands, eq. 8.
        spectral_angle_deg: mean over the pixels, eq. 7.
        max_abs_error: largest error in digital numbers.
        band_psnr_db: PSNR of every band on its own, over the scene's peak.
        tile_psnr_db: PSNR of every whole tile of TILE × TILE pixels, all bands together.
    """

    psnr_db: float
    ssim: float
    spectral_angle_deg: float
    max_abs_error: int
    band_psnr_db: tuple[float, ...]
    tile_psnr_db: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Time and memory of coding, in a process that did nothing else.

    Seconds are processor time of all threads together: the time that one core takes, whatever else the machine does.

    Attributes:
        encode_s: seconds from the scene in memory to the stream in memory, rate search included.
        decode_s: seconds from the stream back to the cube.
        peak_memory_mb: resident memory above the amount before the codec loaded its data, such as a model's weights;
            None if the system does not tell.
        processor: name of the processor.
    """

    encode_s: float
    decode_s: float
    peak_memory_mb: float | None
    processor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One codec on one scene at one target: a point, or the reason why there is no point.

    Attributes:
        scene: name of the scene.
        codec: name of the codec.
        target_ratio: ratio that was asked for, or None for a codec without a target (lossless).
        octets: length of the stream, all side information included, or None if there is no stream.
        compression_ratio: ratio of the stream (eq. 4), on the scene's bit depth.
        rate_bpppc: bits per pixel and channel.
        fidelity: measures of the decoded cube.
        cost: time and memory.
        training: part that the scene had in the codec's training.
        gap: line that says why there is no stream, or None.
    """

    scene: str
    codec: str
    target_ratio: float | None
    octets: int | None = None
    compression_ratio: float | None = None
    rate_bpppc: float | None = None
    fidelity: Distortion | None = None
    cost: Cost | None = None
    training: Seen = Seen.NO
    gap: str | None = None

    @property
    def seen(self) -> bool:
        """True if the codec was trained on this scene."""
        return self.training is Seen.TRAINED


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Preview:
    """Preview of a cube, original or decoded.

    Attributes:
        true_colour: (line, sample, 3) uint8, stretched as the original.
        error: (line, sample) float32, root mean square over the bands in digital numbers; None for an original.
        spectra: (pixel, band), spectra of the pixels that the report follows.
    """

    true_colour: NDArray[np.uint8]
    error: NDArray[np.float32] | None
    spectra: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ComparedScene:
    """Scene of a comparison.

    Attributes:
        name: name of its file.
        sensor: name of its sensor, or None if unknown.
        shape: lines, samples, bands.
        peak: largest digital number, for PSNR.
        bit_depth: bits a sample, for compression ratios.
        wavelengths: band centres in nm, or None.
        pixels: (pixel, 2) line and sample of the pixels whose spectra are shown.
        original: preview of the scene.
        content_sha256: hash of its pixels as its file holds them, before any change.
        prepared: sentence that says how it was changed before coding, or None if it was not.
    """

    name: str
    sensor: str | None
    shape: tuple[int, int, int]
    peak: float
    bit_depth: int
    wavelengths: NDArray[np.float64] | None
    pixels: NDArray[np.intp]
    original: Preview
    content_sha256: str
    prepared: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Comparison:
    """Everything that the report is made of.

    Attributes:
        scenes: scenes in the order of the command line.
        codecs: names in the order of legends.
        ratios: target ratios.
        measurements: measurements of every scene, codec and target.
        previews: previews of some measurements, by scene, codec and target.
        command: exact command line.
        environment: library and machine names to versions.
        notes: sentences that a reader of the figures must know.
        ours: names of the codecs that the comparison is about; the report says where each wins and loses.
    """

    scenes: tuple[ComparedScene, ...]
    codecs: tuple[str, ...]
    ratios: tuple[float, ...]
    measurements: tuple[Measurement, ...]
    previews: dict[tuple[str, str, float | None], Preview]
    command: str
    environment: dict[str, str]
    notes: tuple[str, ...] = ()
    ours: tuple[str, ...] = ()
