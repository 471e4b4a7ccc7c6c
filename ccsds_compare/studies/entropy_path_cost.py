"""Cost of bit-exactness: a scene's bits, step by step from the float entropy model to the stream.

python -m studies.entropy_path_cost SCENE --checkpoint CHECKPOINT... --out TABLE.md
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from hyvic_export.families.latent.distributions import gaussians
from hyvic_export.families.latent.entropy_model import EntropyModel, entropy_model
from hyvic_export.families.latent.integer_network import run_reference, scale_table
from hyvic_export.families.registry import exportable
from hyvic_export.frequency_tables import table_bits
from hyvic_export.integer_layer import Integers
from hyvic_runtime.entropy.unit_coder import SYMBOL_MAX, SYMBOL_MIN, EntropyCoder
from hyvic_runtime.families.latent.hyperlatent import hyperlatent_rows
from hyvic_runtime.scene.files import read_scene
from hyvic_runtime.scene.scene import Scene, mean_spectrum, resample_bands
from hyvic_train.families.latent.checkpoint import LatentCheckpoint, load_checkpoint
from hyvic_train.integer_path import MEAN_STEP_BITS, SCALE_COUNT

from studies import harness

MAX_SIDE = 128
"""Pixels of the crop that is coded, from the scene's first line and sample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntropyPathCost:
    """Bits of one crop at one rate level; each attribute adds one step to the one before.

    Attributes:
        checkpoint: name of its folder.
        level: rate level.
        float_model: −log2 p(ŷ, ẑ) by the float model.
        integer_path: bits with σ and μ from the integer network: activations of eight bits, 64 values of σ, μ in
            sixteenths.
        tables: bits with integer frequencies and escapes.
        stream: bits that the entropy coder wrote.
    """

    checkpoint: str
    level: int
    float_model: float
    integer_path: float
    tables: float
    stream: float

    @property
    def lost(self) -> float:
        """Additional bits of the stream, as a share of the float model's estimate."""
        return self.stream / self.float_model - 1


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write the table; 0 done, 1 failed with one line, 2 wrong usage."""
    parser = harness.study_parser(
        "entropy_path_cost",
        "Bits that the integer entropy path, the frequency tables and the coder add to the float model's estimate.",
        "scene.npz --checkpoint checkpoints/hyvic-s-202 --out table.md",
    )
    parser.add_argument("scene", type=Path, metavar="SCENE", help="scene, with wavelengths if a checkpoint has them")
    parser.add_argument(
        "--checkpoint", type=Path, nargs="+", required=True, metavar="DIR", help="folders that train-model wrote"
    )
    return harness.run_study(parser, argv, _study, extra="export")


def _study(arguments: argparse.Namespace) -> harness.Findings:
    scene = read_scene(arguments.scene)
    costs = []
    for folder in harness.progress(arguments.checkpoint, "checkpoint"):
        checkpoint = load_checkpoint(folder)
        entropy = entropy_model(exportable(checkpoint.model))
        digital_numbers = _crop(scene, checkpoint)
        levels = range(checkpoint.config.model.rates)
        costs += [entropy_path_cost(folder.name, checkpoint, entropy, digital_numbers, level) for level in levels]
    document = {"costs": [asdict(cost) | {"lost": cost.lost} for cost in costs]}
    return harness.Findings(document=document, text=markdown(costs))


def _crop(scene: Scene, checkpoint: LatentCheckpoint) -> torch.Tensor:
    """Return digital numbers as the model takes them, (1, band, line, sample)."""
    wavelengths = checkpoint.config.data.wavelengths
    if wavelengths is not None:
        scene = resample_bands(scene, np.array(wavelengths))
    cell = checkpoint.config.model.cell
    lines, samples = (min(side, MAX_SIDE) // cell * cell for side in scene.cube.shape[:2])
    cube = scene.cube[:lines, :samples].astype(np.float32)
    if checkpoint.config.data.remove_mean_spectrum:
        cube -= mean_spectrum(scene).astype(np.float32)
    return torch.from_numpy(np.moveaxis(cube, -1, 0).copy())[None]


@torch.no_grad()
def entropy_path_cost(
    name: str, checkpoint: LatentCheckpoint, entropy: EntropyModel, digital_numbers: torch.Tensor, level: int
) -> EntropyPathCost:
    """Code one crop.

    Args:
        name: name of the checkpoint.
        checkpoint: float model.
        entropy: integer form of its entropy model.
        digital_numbers: (1, band, line, sample).
        level: rate level, 0 … rates − 1.
    """
    model = checkpoint.model
    gain, _ = model.gains(torch.tensor([float(level)]))
    y = model.analyse(digital_numbers) * gain
    z_hat, z_likelihoods = model.code_hyperlatent(model.h_a(y))
    quantised = model.quantise(y, z_hat)
    y_likelihoods = model.latent_likelihoods(quantised.symbols, quantised.scales)
    z_bits = _bits(z_likelihoods)

    low, high = (v[:, None, None] for v in (entropy.prior.first, entropy.prior.first + entropy.prior.length - 1))
    hyperlatent = np.clip(np.rint(z_hat[0].numpy() - model.medians.numpy()[:, None, None]).astype(np.int64), low, high)

    def code(part: int, scale_index: Integers, mean_steps: Integers) -> Integers:
        of = np.split(y[0].numpy(), len(entropy.network.parts))[part]
        residual = np.rint(of - mean_steps * np.float32(2.0**-MEAN_STEP_BITS))
        return np.asarray(np.clip(residual, SYMBOL_MIN, SYMBOL_MAX), np.int64)

    coded = run_reference(entropy.network, hyperlatent, code)
    symbols, scale_index = coded.symbols, coded.scale_index
    row_scales = torch.from_numpy(scale_table()[scale_index]).float()
    exact = model.latent_likelihoods(torch.from_numpy(symbols).float(), row_scales)

    units = (
        (symbols.ravel(), scale_index.ravel()),
        (hyperlatent.ravel(), hyperlatent_rows(hyperlatent.shape, SCALE_COUNT)),
    )
    coder = EntropyCoder(entropy.tables)
    return EntropyPathCost(
        checkpoint=name,
        level=level,
        float_model=_bits(y_likelihoods) + z_bits,
        integer_path=_bits(exact) + z_bits,
        tables=sum(table_bits(entropy.tables, values, rows) for values, rows in units),
        stream=sum(8.0 * len(coder.encode(values, rows)) for values, rows in units),
    )


def _bits(likelihoods: torch.Tensor) -> float:
    return float(-likelihoods.double().log2().sum())


def markdown(costs: Sequence[EntropyPathCost]) -> str:
    """Return a table with a row for each checkpoint and rate level, then the cost of the tables alone."""
    rows = (
        (
            cost.checkpoint,
            str(cost.level),
            f"{cost.float_model:,.0f}",
            *(f"{100 * (bits / cost.float_model - 1):+.3f} %" for bits in (cost.integer_path, cost.tables)),
            f"{100 * cost.lost:+.3f} %",
        )
        for cost in costs
    )
    headings = ("checkpoint", "rate level", "float model, bits", "integer network", "and tables", "and coder: lost")
    tables = (
        (str(index), f"{scale:.3f}", f"{row.entropy_bits():.5f}", f"{row.excess_bits():.1e}")
        for index, (scale, row) in enumerate(zip(scale_table(), gaussians(scale_table()), strict=True))
    )
    table_headings = ("scale index", "σ, quantiser steps", "entropy, bits a symbol", "the table's excess")
    return harness.table(headings, rows) + "\n" + harness.table(table_headings, tables, words=0)


if __name__ == "__main__":
    sys.exit(main())
