"""Is the engine the model? Tiles through both, down to the last symbol.

The entropy path must be equal to the bit, and conformance vectors see to that. The analysis may not: it runs in another
order of summation or in fewer bits, so some latents cross a half and become another symbol. Here it is measured what
that does to symbols, bits and pixels; an export whose engine strays further than its precision explains fails.
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
from hyvic_runtime.engines.engine import OnnxRuntimeEngine
from hyvic_runtime.errors import EngineError
from hyvic_runtime.families.latent.bundle import LatentBundle
from hyvic_runtime.families.latent.decoder import LatentDecoder
from hyvic_runtime.families.latent.encoder import LatentRowEncoder
from hyvic_runtime.packets.quality import quality_code
from hyvic_runtime.scene.scene import Scene
from hyvic_runtime.support.metrics import Cube, psnr
from hyvic_train.families.latent.codec_model import CodecModel
from numpy.typing import NDArray

from hyvic_export.families.latent.entropy_model import EntropyModel
from hyvic_export.families.latent.reference_codec import ReferenceCoding, reference_coding
from hyvic_export.frequency_tables import table_bits
from hyvic_export.graph_files import save_graph
from hyvic_export.precision import Precision
from hyvic_export.sample_scenes import NamedScene

QUALITY = 100.0
"""The finest quantiser, where an analysis of fewer bits shows most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far an engine may be from the model.

    Attributes:
        symbols: share of symbols that differ.
        bits: share by which the stream grows.
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
    # Seven bits of each channel's peak: half a step in many latents. Symbols may well be others; what counts is what an
    # engineer would give for the speed.
    Precision.INT8: Tolerance(symbols=0.5, bits=2e-2, psnr_db=0.5),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """An engine beside the model in torch, on the same pixels.

    Attributes:
        scenes: names of what was coded.
        engine: what ran the graphs.
        quality: 0 … 100.
        symbols: how many there are.
        symbols_equal: share of them.
        largest_latent_difference: in quantiser steps.
        rms_latent_difference: likewise.
        bits, reference_bits: ideal code length of the symbols, the engine's and the model's.
        psnr_db, reference_psnr_db: over the model's peak.
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
        """Compare with what the precision explains.

        Raises:
            EngineError: it is more.
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
    model: CodecModel,
    entropy: EntropyModel,
    bundle: LatentBundle,
    latent_graph: onnx.ModelProto,
    scenes: Sequence[NamedScene],
) -> Parity:
    """Code scenes with a bundle's graphs in ONNX Runtime and with the model.

    Args:
        model: what was exported.
        entropy: its integer form.
        bundle: the export.
        latent_graph: the encoder graph of the same form that also gives `latent`.
        scenes: on the bundle's bands.
    """
    encoder, decoder = LatentRowEncoder(bundle), LatentDecoder(bundle)
    manifest = bundle.manifest
    with tempfile.TemporaryDirectory() as folder:
        save_graph(latent_graph, Path(folder) / "encoder.onnx")
        latents = OnnxRuntimeEngine(Path(folder) / "encoder.onnx")
    pairs = []
    for named in scenes:
        cube, mean = named.scene.cube, encoder.mean_spectrum(named.scene)
        reference = reference_coding(model, entropy, cube, mean, manifest.geometry, QUALITY)
        stream = encoder.stream(named.scene, quality=QUALITY if manifest.rates > 1 else None)
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
    """What the graphs make of a scene, in the reference's arrays."""
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
