"""Cost of exactness: code lengths of the integer network and its tables, compared with the model's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from hyvic_runtime.engines.selection import EngineKind, load_engine
from hyvic_runtime.families.adaptive.bundle import CONTEXT_NETWORK, AdaptiveBundle
from hyvic_runtime.families.adaptive.coding_order import Block
from hyvic_runtime.families.adaptive.conformance import check_network
from hyvic_runtime.families.adaptive.strip_basis import SpectralBasis
from hyvic_runtime.families.adaptive.table_choice import ESCAPE_OCTETS, tables_and_offsets
from hyvic_runtime.scene.files import read_scene
from hyvic_train.families.adaptive.coefficients import Details, Rows, project, spectral_basis, visit_rows
from hyvic_train.families.adaptive.context_model import ContextModel
from hyvic_train.families.adaptive.validation import at_every_step, rows_bits

from hyvic_export.frequency_tables import table_bits
from hyvic_export.scene_sample import sample_of


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeLength:
    """Code length of the coefficients of one source at one quantiser step.

    Attributes:
        of: name of the source and the step.
        coefficients: number of coefficients.
        bits: ideal code length under the table rows that the engine chooses.
        reference_bits: ideal code length under the model in floating point.
    """

    of: str
    coefficients: int
    bits: float
    reference_bits: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """Comparison of an engine with the model in torch, on equal contexts.

    Attributes:
        engine: description of the engine that ran the network.
        code_lengths: code lengths for every scene, or for noise, at every quantiser step.
    """

    engine: str
    code_lengths: tuple[CodeLength, ...]


@torch.no_grad()
def measured_parity(model: ContextModel, bundle: AdaptiveBundle, scenes: Sequence[Path], components: int) -> Parity:
    """Code the details of scenes with a bundle in ONNX Runtime and with the model.

    Args:
        model: model that was exported.
        bundle: bundle of the model.
        scenes: files; without files, noise as smooth as scenes takes their place.
        components: largest number of components of a scene.

    Raises:
        BundleError: the engine does not compute the network exactly.
        SceneError: a scene cannot be read.
    """
    engine = load_engine(bundle.folder / CONTEXT_NETWORK, EngineKind.ONNXRUNTIME)
    check_network(bundle, engine)

    def code_length(of: str, tile: Details) -> CodeLength:
        bits: list[float] = []
        reference_bits: list[float] = []

        def measure(rows: Rows, block: Block) -> None:
            outputs = engine.run({"contexts": rows.contexts[None, :, None]})
            scale_index, mean_steps, gain = (outputs[name].ravel() for name in ("scale_index", "mean_steps", "gain"))
            indices, shifts = tables_and_offsets(scale_index, mean_steps, gain, rows.prediction)
            bits.append(table_bits(bundle.tables, rows.values.astype(np.int32) - shifts, indices, ESCAPE_OCTETS))
            reference_bits.append(float(rows_bits(model, rows).sum(dtype=torch.float64)))

        visit_rows(tile, measure)
        return CodeLength(of=of, coefficients=tile.count, bits=sum(bits), reference_bits=sum(reference_bits))

    tile = bundle.manifest.tile
    sources = chain.from_iterable(_of_scene(path, tile, components) for path in scenes) if scenes else _of_noise()
    return Parity(
        engine=engine.describe(),
        code_lengths=tuple(code_length(of, tile) for of, tile in sources),
    )


def _of_scene(path: Path, side: int, components: int) -> Iterator[tuple[str, Details]]:
    """Yield the details of a scene's first tile at every quantiser step of a validation."""
    cube = np.moveaxis(sample_of(read_scene(path), side).cube, -1, 0).astype(np.float32)
    basis = spectral_basis(cube, components)
    for step, tile in at_every_step(project(basis, cube), basis):
        yield f"{path.name}, step {step:g}", tile


def _of_noise() -> Iterator[tuple[str, Details]]:
    """Yield the details of planes whose amplitudes fall with frequency and from component to component."""
    lines, components = 64, 16
    frequency = np.hypot(np.fft.fftfreq(lines)[:, None], np.fft.rfftfreq(lines))
    frequency[0, 0] = 1
    white = np.random.default_rng(0).normal(size=(components, lines, lines))
    planes = np.fft.irfft2(np.fft.rfft2(white) / frequency, s=(lines, lines))
    spread = np.asarray(1000 * np.exp2(-np.arange(components) / 2), np.float64)
    planes *= (spread / planes.std(axis=(1, 2)))[:, None, None]
    mean, vectors = np.zeros(components), np.eye(components)
    basis = SpectralBasis(pixels=lines * lines, mean=mean, vectors=vectors, deviations=spread)
    for step, tile in at_every_step(planes.astype(np.float32), basis):
        yield f"noise, step {step:g}", tile
