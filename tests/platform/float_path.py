"""The entropy path as codecs usually have it, in float32: what the integer network stands in for."""

from __future__ import annotations

import numpy as np
import onnx
import spox.opset.ai.onnx.v17 as op
from hyvic_export.families.latent.integer_network import scale_table
from hyvic_export.families.latent.layer_nodes import written
from hyvic_runtime.entropy.ans import ans_coder
from hyvic_runtime.entropy.frequency_table import FrequencyTables
from hyvic_train.families.latent.hyvic import HyVIC
from numpy.typing import NDArray
from spox import Tensor, Var, argument, build


def float_hyperdecoder(model: HyVIC, cells: int) -> onnx.ModelProto:
    """D^H of a model that predicts log2 σ, with the nodes of the bundle's hyper-decoder and the model's own weights.

    Input: `hyperlatent` (tile, N, line, sample). Outputs, float32: `scale` σ and `mean` μ, (tile, M, line, sample).
    """
    z_hat = argument(Tensor(np.float32, ("tile", model.config.hyperlatent_channels, cells, cells)))
    x: Var = z_hat
    for layer in model.h_s:
        x = written(x, layer)
    log2_scale, mean = op.split(x, axis=1, outputs_count=2)
    scale = op.pow(op.const(np.float32(2)), log2_scale)
    return build({"hyperlatent": z_hat}, {"scale": scale, "mean": mean})


def table_rows(scale: NDArray[np.float32]) -> NDArray[np.intp]:
    """Row of the first scale in the table that is no smaller, as CompressAI's `build_indexes` chooses."""
    return np.searchsorted(scale_table().astype(np.float32)[:-1], scale)


def distance_to_edge(scale: NDArray[np.float32]) -> float:
    """Smallest relative distance of any σ from where its row changes."""
    edges = scale_table().astype(np.float32)[:-1].astype(np.float64)
    above = np.searchsorted(edges, scale.ravel())
    neighbours = edges[np.clip([above - 1, above], 0, len(edges) - 1)]
    return float(np.abs(scale.ravel() / neighbours - 1).min())


def wrong_share(tables: FrequencyTables, unit: bytes, rows: NDArray[np.intp], symbols: NDArray[np.int32]) -> float:
    """Share of the symbols that differ when an entropy-coded unit is read to its end under other rows.

    Args:
        tables: of both.
        unit: what `EntropyCoder.encode` made of `symbols`.
        rows: to read it with, 1-D.
        symbols: 1-D. One that reads as an escape counts as right, because what it stands for is not looked up.
    """
    words_at = 4 + 2 * int.from_bytes(unit[:4], "big")
    words = np.frombuffer(unit, "<u4", offset=words_at).astype(np.uint32)
    order = np.argsort(rows, kind="stable")
    positions, _ = ans_coder(tables).decode(words, np.bincount(rows, minlength=len(tables.first)))
    grouped = rows[order]
    escaped = positions == tables.length[grouped]
    return float(((positions + tables.first[grouped] != symbols[order]) & ~escaped).mean())
