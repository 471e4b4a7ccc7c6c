"""Speed that the encoder graph could reach on Jetson Orin modules: a roofline estimate, not a measurement.

    python -m studies.roofline checkpoints/hyvic-s-202 > docs/jetson-roofline.md

Multiply–accumulates and octets are counted from the exported graph; shape inference gives every activation. Two times
bound a device that reaches the peaks of its data sheet (Williams et al., Roofline, CACM 2009):

- *separate*: every operator reads its inputs from memory and writes its outputs there, and takes the longer of its
  arithmetic and its traffic;
- *fused*: only the weights, the graph's inputs and its outputs move, beside all the arithmetic.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from hyvic_compare.markdown import markdown_table
from hyvic_export.exporter import bundle_from_checkpoint
from hyvic_export.precision import Precision
from hyvic_runtime.families.latent.bundle import ENCODER
from hyvic_runtime.scene.tile_grid import DEFAULT_TILE
from hyvic_train.checkpoint import save_checkpoint, weights
from hyvic_train.families.latent.checkpoint import load_checkpoint, model_from_config
from hyvic_train.families.latent.config import config_from_json
from numpy.typing import NDArray
from onnx import numpy_helper

from studies.harness import Findings, run_study, study_parser

ENMAP_SAMPLES_PER_S = 1000 * 224 / 4.4e-3
"""EnMAP's push-broom line: 1,000 pixels of 224 bands every 4.4 ms."""
PAPER_BANDS, PAPER_LATENT_CHANNELS, PAPER_HYPERLATENT_CHANNELS = 202, 1280, 768
"""The HyVIC paper's final model."""

VALUE_OCTETS = {Precision.FP32: 4, Precision.FP16: 2, Precision.INT8: 1}
"""Octets of a value in the analysis and the hyper-encoder; a value of the entropy path always has four."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A module by its data sheet.

    Attributes:
        name: name of the module.
        cuda_cores: number of cores, 128 in each multiprocessor.
        clock_hz: highest clock of the GPU.
        octets_per_s: rate of the memory.
        source: document that states these three figures.
    """

    name: str
    cuda_cores: int
    clock_hz: float
    octets_per_s: float
    source: str

    def macs_per_s(self, precision: Precision) -> float:
        """Return the dense peak: one float32 product a core and cycle; 1,024 fp16 or 2,048 int8 a multiprocessor.

        The fp16 and int8 numbers follow from NVIDIA's dense figures. The 20 int8 TOPS of the Orin Nano 8GB are 8
        multiprocessors at 625 MHz times 2,048 products; the 85 of the AGX Orin 64GB are 16 at 1.3 GHz.
        """
        a_cycle = {Precision.FP32: 128, Precision.FP16: 1024, Precision.INT8: 2048}[precision]
        return self.cuda_cores / 128 * a_cycle * self.clock_hz


DEVICES = (
    Device(
        name="Orin Nano 8GB",
        cuda_cores=1024,
        clock_hz=625e6,
        octets_per_s=68e9,
        source="NVIDIA, Jetson Orin Nano Series Data Sheet",
    ),
    Device(
        name="Orin Nano 8GB Super",
        cuda_cores=1024,
        clock_hz=1020e6,
        octets_per_s=102e9,
        source="NVIDIA, Jetson Orin Nano Super Developer Kit Data Sheet",
    ),
    Device(
        name="Orin NX 16GB",
        cuda_cores=1024,
        clock_hz=918e6,
        octets_per_s=102.4e9,
        source="NVIDIA, Jetson Orin NX Series Data Sheet; its DLA is not counted",
    ),
    Device(
        name="AGX Orin 64GB",
        cuda_cores=2048,
        clock_hz=1300e6,
        octets_per_s=204.8e9,
        source="NVIDIA, Jetson AGX Orin Series Data Sheet; its DLA is not counted",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorCost:
    """One node of a graph, for one tile.

    Attributes:
        macs: multiply–accumulates of its products; element-wise arithmetic is not counted.
        zeros: number of these whose weight is zero.
        weights: elements of its constants.
        activations: elements that it reads and writes.
        exact: whether it lies in the entropy path, which stays float32.
    """

    macs: int
    zeros: int
    weights: int
    activations: int
    exact: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphCost:
    """A graph for one tile.

    Attributes:
        operators: its nodes.
        boundary: elements of its inputs and outputs, float32 or int32.
    """

    operators: tuple[OperatorCost, ...]
    boundary: int

    @property
    def macs(self) -> int:
        """Multiply–accumulates."""
        return sum(operator.macs for operator in self.operators)

    def octets(self, precision: Precision) -> tuple[int, int]:
        """Return octets of weights, and of activations if every operator reads and writes its own."""
        weights = sum(operator.weights * _width(operator, precision) for operator in self.operators)
        return weights, sum(operator.activations * _width(operator, precision) for operator in self.operators)

    def separate_s(self, device: Device, precision: Precision) -> float:
        """Return the seconds if no operator is fused with another."""
        return sum(
            max(
                operator.macs / device.macs_per_s(_precision(operator, precision)),
                (operator.weights + operator.activations) * _width(operator, precision) / device.octets_per_s,
            )
            for operator in self.operators
        )

    def fused_s(self, device: Device, precision: Precision) -> float:
        """Return the seconds if only weights, inputs and outputs move."""
        arithmetic = sum(
            operator.macs / device.macs_per_s(_precision(operator, precision)) for operator in self.operators
        )
        weight_octets, _ = self.octets(precision)
        return max(arithmetic, (weight_octets + 4 * self.boundary) / device.octets_per_s)


def _precision(operator: OperatorCost, precision: Precision) -> Precision:
    return Precision.FP32 if operator.exact else precision


def _width(operator: OperatorCost, precision: Precision) -> int:
    return VALUE_OCTETS[_precision(operator, precision)]


def graph_cost(model: onnx.ModelProto) -> GraphCost:
    """Count the operators of a graph for one tile."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    sizes = {
        value.name: [dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim]
        for value in (*inferred.input, *inferred.value_info, *inferred.output)
    }
    constants = {constant.name: numpy_helper.to_array(constant) for constant in inferred.initializer}
    return GraphCost(
        operators=tuple(_operator_costs(inferred, sizes, constants)),
        boundary=sum(math.prod(sizes[value.name]) for value in (*inferred.input, *inferred.output)),
    )


def _operator_costs(
    graph: onnx.GraphProto, sizes: dict[str, list[int]], constants: dict[str, NDArray[Any]]
) -> Iterator[OperatorCost]:
    exact = _hyperlatent_sources(graph)
    for node in graph.node:
        output = math.prod(sizes[node.output[0]])
        macs, zeros = 0, 0
        if node.op_type == "Conv":
            macs = output * constants[node.input[1]][0].size
        elif node.op_type == "MatMul":
            macs = output * sizes[node.input[0]][-1]
        if macs and node.input[1] in constants:
            weight = constants[node.input[1]]
            zeros = macs // weight.size * (weight.size - np.count_nonzero(weight))
        follows = not exact.isdisjoint(node.input)
        if follows:
            exact.update(node.output)
        yield OperatorCost(
            macs=macs,
            zeros=zeros,
            weights=sum(constants[name].size for name in node.input if name in constants),
            activations=sum(math.prod(sizes[name]) for name in (*node.input, *node.output) if name in sizes),
            exact=follows,
        )


def _hyperlatent_sources(graph: onnx.GraphProto) -> set[str]:
    """Return the name of ẑ before its conversion to integers; everything computed from it is the entropy path.

    For other graphs than an encoder's, the set is empty.
    """
    producers = {output: node for node in graph.node for output in node.output}
    name = "hyperlatent"
    if name not in producers:
        return set()
    while producers[name].op_type in ("Identity", "Cast"):
        (name,) = producers[name].input
    return {name}


def main(argv: Sequence[str] | None = None) -> int:
    """Print the estimate as Markdown; 0 done, 1 failed with one line, 2 wrong usage."""
    parser = study_parser(
        "roofline",
        "Estimate the encoder's speed on Jetson Orin modules from its graph and their data sheets.",
        "checkpoints/hyvic-s-202 > docs/jetson-roofline.md",
        out=False,
    )
    parser.add_argument(
        "checkpoints", type=Path, nargs="*", metavar="CHECKPOINT", help="models to estimate beside the paper's"
    )
    return run_study(parser, argv, _study, extra="export")


def _study(arguments: argparse.Namespace) -> Findings:
    with tempfile.TemporaryDirectory() as scratch:
        paper = Path(scratch) / "paper"
        _save_paper_model(paper)
        costs = {}
        for checkpoint in (*arguments.checkpoints, paper):
            bundle_from_checkpoint(checkpoint, Path(scratch) / "bundle")
            config = load_checkpoint(checkpoint).config.model
            name = "the paper's, untrained" if checkpoint == paper else checkpoint.name
            title = f"{name} (M {config.latent_channels}, N {config.hyperlatent_channels}, {config.bands} bands)"
            graph = onnx.load(Path(scratch) / "bundle" / ENCODER)
            costs[title] = (graph_cost(graph), DEFAULT_TILE**2 * config.bands)
    rates = {
        title: {
            device.name: {
                precision.value: [
                    samples / seconds(device, precision) / 1e6 for seconds in (cost.separate_s, cost.fused_s)
                ]
                for precision in Precision
            }
            for device in DEVICES
        }
        for title, (cost, samples) in costs.items()
    }
    return Findings(document={"estimated_msamples_per_s": rates}, text=markdown(costs))


def _save_paper_model(folder: Path) -> None:
    """Save a model of the paper's size with random weights; only the size counts."""
    config = config_from_json(
        {
            "model": {
                "bands": PAPER_BANDS,
                "latent_channels": PAPER_LATENT_CHANNELS,
                "hyperlatent_channels": PAPER_HYPERLATENT_CHANNELS,
            },
            "optimisation": {"lmbda": 1e-4, "steps": 1},
        }
    )
    torch.manual_seed(0)
    model = model_from_config(config.model).eval()
    model.calibrate(torch.rand(1, PAPER_BANDS, 64, 64) * config.model.peak)
    save_checkpoint(folder, weights(model), config, 1, {})


_HEAD = """# Roofline estimate for Jetson Orin

**Every rate on this page is an estimate from data sheets. None was measured: nothing here ran on a Jetson.** An engine
is slower than its bound, by how much is not known here; a model whose bound lies below the sensor is ruled out. EnMAP
delivers {enmap:.0f} MSamples/s (1,000 pixels × 224 bands every 4.4 ms).

Made by `PYTHONPATH=ccsds_compare python -m studies.roofline`. Multiply–accumulates and octets are those of the
exported encoder graph for one tile of {tile}² pixels and its halo. Element-wise arithmetic, launches,
copies between processor and GPU and the entropy coder are not counted.
The fp16 and int8 columns take the whole analysis transform and hyper-encoder in
that precision, as far as a model could be taken; `export-engine` lowers less (the hyper-encoder and the last layer
stay float32, and in int8 all but the strided convolutions), so what it builds lies between a column and fp32. The
entropy path is float32 on CUDA cores in every column, as the engines are built (TF32 off).

- *separate*: every operator reads its inputs from memory and writes its outputs there, and takes the longer of its
  arithmetic and its traffic;
- *fused*: only weights, inputs and outputs move, beside all the arithmetic. Nothing without sparsity or a shorter
  algorithm can be faster.

## Devices

{devices}

Peaks are in 10¹² operations a second, a multiply–accumulate being two, derived from cores and clock: one float32, 8
fp16 and 16 int8 multiply–accumulates a core and cycle, without sparsity. They agree with the dense figures that NVIDIA
states: 20 and 33 int8 TOPS of the Orin Nano, 5.3 fp32 TFLOPS and half of 170 sparse int8 TOPS of the AGX Orin's GPU.
"""


def markdown(costs: dict[str, tuple[GraphCost, int]]) -> str:
    """Return the page.

    Args:
        costs: name of a model, to its encoder's cost and the number of samples in a tile.
    """
    headings = ("module", "CUDA cores", "GPU", "memory", "fp32", "fp16 dense", "int8 dense")
    devices = (
        (
            device.name,
            f"{device.cuda_cores:,}",
            f"{device.clock_hz / 1e6:,.0f} MHz",
            f"{device.octets_per_s / 1e9:.1f} GB/s",
            *(f"{2 * device.macs_per_s(precision) / 1e12:.1f}" for precision in Precision),
            device.source,
        )
        for device in DEVICES
    )
    peaks = markdown_table((*headings, "source of cores, clock and memory"), devices, left=(0, 7))
    page = _HEAD.format(enmap=ENMAP_SAMPLES_PER_S / 1e6, tile=DEFAULT_TILE, devices=peaks)
    return page + "".join(section(title, cost, samples) for title, (cost, samples) in costs.items())


def section(title: str, cost: GraphCost, samples: int) -> str:
    """Return the part of the page on one model."""
    weight_octets, activation_octets = cost.octets(Precision.FP32)
    exact = sum(operator.macs for operator in cost.operators if operator.exact) / cost.macs
    rows = []
    for device in DEVICES:
        cells = []
        for precision in Precision:
            bounds = [samples / seconds(device, precision) for seconds in (cost.separate_s, cost.fused_s)]
            rates = " … ".join(_short(bound / 1e6) for bound in bounds)
            multiples = " … ".join(_short(bound / ENMAP_SAMPLES_PER_S) for bound in bounds)
            cells.append(f"{rates} ({multiples})")
        rows.append((device.name, *cells))
    return f"""
## {title}

{cost.macs / 1e9:.2f} · 10⁹ multiply–accumulates a tile ({cost.macs / samples:,.0f} a sample), {exact:.0%} of them in \
the entropy path.
In float32, {weight_octets / 1e6:.1f} MB of weights move, and {activation_octets / 1e6:,.0f} MB of activations where \
operators are separate or {4 * cost.boundary / 1e6:.1f} MB where they are fused.

Estimated MSamples/s, separate … fused (multiples of EnMAP's rate):

{markdown_table(("module", *(precision.value for precision in Precision)), rows)}
"""


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


if __name__ == "__main__":
    raise SystemExit(main())
