"""Comparison of the engine with the model on tiles, down to the last symbol.

The entropy path must be equal to the bit; conformance vectors check it. The analysis may differ: it runs in another
order of summation or in fewer bits, so some latents cross a half and become another symbol. This module measures the
effect on symbols, bits and pixels. The export fails if an engine differs more than its precision explains.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from hyvic_runtime.codec.scene_encoder import scene_stream
from hyvic_runtime.engines.engine import OnnxRuntimeEngine
from hyvic_runtime.errors import EngineError
from hyvic_runtime.families.latent.bundle import ENCODER, LatentBundle
from hyvic_runtime.families.latent.decoder import LatentDecoder
from hyvic_runtime.families.latent.encoder import LatentRowEncoder
from hyvic_runtime.packets.quality import quality_code
from hyvic_runtime.scene.scene import Scene
from hyvic_runtime.support.metrics import Cube, psnr
from hyvic_train.families.latent.codec_model import CodecModel
from numpy.typing import NDArray

from hyvic_export.families.latent.entropy_model import EntropyModel
from hyvic_export.families.latent.exportable import Exportable
from hyvic_export.families.latent.graphs import with_latent
from hyvic_export.families.latent.reference_codec import ReferenceCoding, reference_coding
from hyvic_export.families.latent.sample_scenes import NamedScene
from hyvic_export.frequency_tables import table_bits
from hyvic_export.graph_files import save_graph
from hyvic_export.precision import Precision

QUALITY = 100.0
"""Quality of the finest quantiser, where an analysis of fewer bits shows most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """Largest allowed difference of an engine from the model.

    Attributes:
        symbols: share of symbols that differ.
        bits: relative growth of the stream.
        psnr_db: loss of PSNR.
    """

    symbols: float
    bits: float
    psnr_db: float


TOLERANCES = {
    # Sums of some thousand products in another order move a latent by some 1e-6 of the largest, which reach a thousand
    # steps: about one latent in a thousand of those, and fewer of the others, lies that close to a half. If one symbol
    # in a thousand adds a whole squared step to an error of 1/12, PSNR falls by 0.05 dB; and if each costs half a bit
    # more where a symbol takes one, the stream grows by 5e-4.
    Precision.FP32: Tolerance(symbols=1e-3, bits=5e-4, psnr_db=0.05),
    # Eleven bits instead of twenty-four: 2^13 times the movement, in the largest latents up to a step.
    Precision.FP16: Tolerance(symbols=0.05, bits=2e-3, psnr_db=0.05),
    # Seven bits of each channel's peak: half a step in many latents. Many symbols may differ; the bounds say how much
    # rate and quality the speed may cost.
    Precision.INT8: Tolerance(symbols=0.5, bits=2e-2, psnr_db=0.5),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """Comparison of an engine with the model in torch, on equal pixels.

    Attributes:
        scenes: names of the scenes.
        engine: description of the engine that ran the graphs.
        quality: quality of the coding, 0 … 100.
        symbols: number of symbols.
        symbols_equal: share of equal symbols.
        largest_latent_difference: largest difference of a latent, quantiser steps.
        rms_latent_difference: root mean square of the differences, quantiser steps.
        bits, reference_bits: ideal code length of the engine's and of the model's symbols.
        psnr_db, reference_psnr_db: PSNR of engine and model, over the model's peak.
    """

    scenes: tuple[str, ...]
    engine: str
    quality: float
    symbols: int
    symbols_equal: float
    largest_latent_difference: float
    rms_latent_difference: float
    bits: float
    reference_bits: float
    psnr_db: float
    reference_psnr_db: float

    def check(self, precision: Precision) -> None:
        """Compare the differences with the tolerance of a precision.

        Raises:
            EngineError: a difference is larger.
        """
        tolerance = TOLERANCES[precision]
        differing, growth = 1 - self.symbols_equal, self.bits / self.reference_bits - 1
        loss = 0.0 if math.isinf(self.psnr_db) else self.reference_psnr_db - self.psnr_db
        if differing > tolerance.symbols or growth > tolerance.bits or loss > tolerance.psnr_db:
            raise EngineError(
                f"{self.engine} in {precision} is not the model: {differing:.3%} of the symbols differ, bits grow by "
                f"{growth:.3%}, PSNR falls by {loss:.3f} dB; {tolerance.symbols:.1%}, {tolerance.bits:.2%} and "
                f"{tolerance.psnr_db:g} dB are tolerated. Use a finer precision, or more scenes to calibrate with"
            )


def measured_parity(
    exportable: Exportable[CodecModel], entropy: EntropyModel, bundle: LatentBundle, scenes: Sequence[NamedScene]
) -> Parity:
    """Code scenes with a bundle's graphs in ONNX Runtime and with the model.

    Args:
        exportable: model that was exported.
        entropy: integer form of its entropy model.
        bundle: bundle of the model.
        scenes: scenes on the bundle's bands.
    """
    encoder, decoder = LatentRowEncoder(bundle), LatentDecoder(bundle)
    manifest = bundle.manifest
    with tempfile.TemporaryDirectory() as folder:
        save_graph(with_latent(onnx.load(bundle.folder / ENCODER)), Path(folder) / ENCODER)
        latents = OnnxRuntimeEngine(Path(folder) / ENCODER)
    pairs = []
    for named in scenes:
        cube, mean = named.scene.cube, encoder.mean_spectrum(named.scene)
        reference = reference_coding(exportable, entropy, cube, mean, manifest.geometry, QUALITY)
        stream = scene_stream(encoder, named.scene, quality=QUALITY if manifest.rates > 1 else None)
        picture = decoder.decode(stream).scene.cube
        pairs.append((_engine_coding(encoder, latents, named.scene, reference, picture), reference))
    difference = _of_all(abs(ours.latent - theirs.latent) for ours, theirs in pairs).astype(np.float64)
    symbols = [_of_all(coding.symbols for coding in side) for side in zip(*pairs, strict=True)]
    indices = [_of_all(coding.scale_index for coding in side) for side in zip(*pairs, strict=True)]
    bits = [table_bits(entropy.tables, *side) for side in zip(symbols, indices, strict=True)]
    originals = _of_all(named.scene.cube for named in scenes)
    limits = np.iinfo(originals.dtype)
    pictures = [
        _of_all(np.rint(coding.reconstruction).clip(limits.min, limits.max) for coding in side)
        for side in zip(*pairs, strict=True)
    ]
    quality_db = [psnr(originals[:, None], picture[:, None], manifest.peak) for picture in pictures]
    return Parity(
        scenes=tuple(named.name for named in scenes),
        engine=encoder.engine_name,
        quality=QUALITY,
        symbols=symbols[0].size,
        symbols_equal=float(np.mean(symbols[0] == symbols[1])),
        largest_latent_difference=float(difference.max()),
        rms_latent_difference=float(np.sqrt(np.mean(difference**2))),
        bits=bits[0],
        reference_bits=bits[1],
        psnr_db=quality_db[0],
        reference_psnr_db=quality_db[1],
    )


def _engine_coding(
    encoder: LatentRowEncoder, latents: OnnxRuntimeEngine, scene: Scene, reference: ReferenceCoding, picture: Cube
) -> ReferenceCoding:
    """Code a scene with the graphs, and return arrays like the reference's."""
    ours = replace(
        reference,
        latent=np.empty_like(reference.latent),
        symbols=np.empty_like(reference.symbols),
        scale_index=np.empty_like(reference.scale_index),
        reconstruction=picture.astype(np.float32),
    )
    grid, mean, code = encoder.grid(scene), encoder.mean_spectrum(scene), quality_code(QUALITY)
    for tile in grid:
        coded = encoder.symbols(scene, grid, tile, mean, code)
        y = latents.run(encoder.engine_inputs(scene, grid, tile, mean, code))["latent"][0]
        _, lines, samples = coded.symbols.shape
        line, sample = tile.row * grid.geometry.latents, tile.column * grid.geometry.latents
        area = (slice(None), slice(line, line + lines), slice(sample, sample + samples))
        ours.symbols[area], ours.scale_index[area] = coded.symbols, coded.scale_index
        ours.latent[area] = y[:, :lines, :samples]
    return ours


def _of_all(arrays: Iterable[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate([array.ravel() for array in arrays])
