"""The encoder graph in ONNX Runtime beside this machine's float32 matrix-product rate, measured in the same run.

    python tests/benchmarks/bench_graph.py [--runs 15] [--tile 128] [--paper] [--json]

A multiply–accumulate counts as two operations. Rates are of the multiply–accumulates alone: what element-wise
arithmetic, layouts and quantisers cost shows as a lower share. The matrix product is ONNX Runtime's own, of 2048 × 2048
by 2048 × 2048.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import spox.opset.ai.onnx.v17 as op
import torch
from bench_encoder import CHECKPOINT, WARM_UP, alternating, processor
from hyvic_export.families.latent.analysis_form import AnalysisForm
from hyvic_export.families.latent.entropy_model import entropy_model
from hyvic_export.families.latent.graphs import encoder_graph
from hyvic_export.families.registry import exportable
from hyvic_export.graph_files import save_graph
from hyvic_export.precision import Precision
from hyvic_runtime.engines.engine import OnnxRuntimeEngine
from hyvic_runtime.scene.tile_grid import TileGeometry, geometry_of
from hyvic_train.families.latent.checkpoint import load_checkpoint
from hyvic_train.families.latent.hyvic import HyVIC
from hyvic_train.families.latent.model_config import HyVICConfig
from spox import Tensor, argument, build
from studies.roofline import PAPER_HYPERLATENT_CHANNELS, PAPER_LATENT_CHANNELS

PRODUCT = 2048


def analysis_alone(model: HyVIC, geometry: TileGeometry, form: AnalysisForm) -> onnx.ModelProto:
    window, bands = geometry.window, model.config.bands
    tile = argument(Tensor(np.float32, ("tile", window, window, bands)))
    mean = argument(Tensor(np.float32, ("tile", 1, 1, bands)))
    return build(
        {"tile": tile, "mean_spectrum": mean}, {"latent": exportable(model).analysis(tile, mean, geometry, form)}
    )


def matrix_product() -> onnx.ModelProto:
    left = argument(Tensor(np.float32, ("tile", PRODUCT)))
    right = np.random.default_rng(0).standard_normal((PRODUCT, PRODUCT), np.float32)
    return build({"left": left}, {"product": op.matmul(left, op.const(right))})


def inputs_of(graph: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Seeded pixels, ones for gains and masks; a batch of one tile, or the rows of the matrix product."""
    rng = np.random.default_rng(1)
    inputs = {}
    for value in graph.graph.input:
        shape = [dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim]
        if value.name == "left":
            shape[0] = PRODUCT
        ones = value.name in ("gain", "hyperlatent_mask")
        inputs[value.name] = np.ones(shape, np.float32) if ones else rng.uniform(0, 3000, shape).astype(np.float32)
    return inputs


def multiply_accumulates(path: Path) -> int:
    """Of the convolutions and matrix products of a saved graph, for one tile or the rows of the matrix product."""
    graph = onnx.shape_inference.infer_shapes(onnx.load(path)).graph
    shapes = {weight.name: tuple(weight.dims) for weight in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        shapes[value.name] = tuple(dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim)
    total = 0
    for node in graph.node:
        if node.op_type in ("Conv", "MatMul"):
            weight = shapes[node.input[1]]
            total += math.prod(shapes[node.output[0]]) * math.prod(weight[1:] if node.op_type == "Conv" else weight[:1])
    return total


def side(graph: onnx.ModelProto, folder: Path) -> tuple[int, Callable[[], object]]:
    save_graph(graph, folder / "g.onnx")
    engine, inputs = OnnxRuntimeEngine(folder / "g.onnx"), inputs_of(graph)
    return multiply_accumulates(folder / "g.onnx"), lambda: engine.run(inputs)


def measured(model: HyVIC, tile: int, runs: int) -> dict[str, Any]:
    config = model.config
    geometry = geometry_of(tile=tile, kernel_size=config.kernel_size, spatial_stages=config.spatial_stages)
    entropy = entropy_model(exportable(model))
    pixels = torch.rand(1, config.bands, 64, 64, generator=torch.Generator().manual_seed(0)) * 3000
    int8 = AnalysisForm(precision=Precision.INT8, peaks=exportable(model).calibrated_peaks([pixels]))
    graphs = {}
    for form in (AnalysisForm(), int8):
        graphs[f"analysis, {form.precision}"] = analysis_alone(model, geometry, form)
        graphs[f"encoder, {form.precision}"] = encoder_graph(exportable(model), entropy, geometry, form)
    graphs["matrix product"] = matrix_product()
    macs, seconds = {}, {}
    # One after another: the idle threads of several sessions spin, and take the cores from the one that runs.
    for name, graph in graphs.items():
        with tempfile.TemporaryDirectory() as folder:
            macs[name], run = side(graph, Path(folder))
        seconds |= alternating({name: run}, runs)
    macs["matrix product"] = PRODUCT**3
    rates = {name: 2e-9 * macs[name] / statistics.median(times) for name, times in seconds.items()}
    return {
        name: {
            "gmac": macs[name] / 1e9,
            "ms": {key: 1000 * f(times) for key, f in (("min", min), ("median", statistics.median), ("max", max))},
            "gflop_per_s": rates[name],
            "share_of_matrix_product": rates[name] / rates["matrix product"],
        }
        for name, times in seconds.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--tile", type=int, default=128, help="side of the tile (default: 128)")
    parser.add_argument("--paper", action="store_true", help="also the paper's (1280, 768), untrained: some minutes")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    models = {CHECKPOINT.name: load_checkpoint(CHECKPOINT).model}
    if arguments.paper:
        torch.manual_seed(0)
        widths = {"latent_channels": PAPER_LATENT_CHANNELS, "hyperlatent_channels": PAPER_HYPERLATENT_CHANNELS}
        models["(1280, 768), untrained"] = paper = HyVIC(HyVICConfig(bands=202, **widths)).eval()
        paper.calibrate(torch.rand(1, 202, 64, 64) * 3000)
    result = {name: measured(model, arguments.tile, arguments.runs) for name, model in models.items()}
    machine = f"{processor()}, {os.cpu_count()} cores"
    if arguments.json:
        print(json.dumps({"machine": machine, "tile": arguments.tile, "runs": arguments.runs, "models": result}))
        return
    print(f"{machine}; tile {arguments.tile}; {arguments.runs} runs after {WARM_UP}")
    for name, rows in result.items():
        print(f"  {name}")
        for graph, row in rows.items():
            low, median, high = row["ms"].values()
            print(
                f"    {graph:<16}{row['gmac']:7.2f} GMAC{median:9.1f} ms  ({low:.1f} … {high:.1f})"
                f"{row['gflop_per_s']:7.0f} GFLOP/s{row['share_of_matrix_product']:8.0%} of the matrix product"
            )


if __name__ == "__main__":
    main()
