"""ONNX graphs to files: in one where that is possible, weights beside it where it is not."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import external_data_helper

MAX_WEIGHT_OCTETS = 2**31 - 2**24
"""Weights of a graph in one file. protobuf ends at 2 GiB; the nodes need far less than what is left of it."""


def save_graph(graph: onnx.ModelProto, path: Path) -> None:
    """Write a graph and check the file as a reader finds it, shapes inferred.

    Weights beyond MAX_WEIGHT_OCTETS go into `path` + ".data". Both files are the same for the same graph.

    Args:
        graph: changed into what is written.
        path: ONNX file to write.
    """
    _constants_to_initializers(graph)
    if sum(len(weight.raw_data) for weight in graph.graph.initializer) > MAX_WEIGHT_OCTETS:
        external_data_helper.convert_model_to_external_data(graph, location=f"{path.name}.data")
    onnx.save(graph, path)
    onnx.checker.check_model(str(path), full_check=True)


def _constants_to_initializers(graph: onnx.ModelProto) -> None:
    """Only initialisers may lie outside the file."""
    others = []
    for node in graph.graph.node:
        if node.op_type == "Constant":
            weight = graph.graph.initializer.add()
            weight.CopyFrom(node.attribute[0].t)
            weight.name = node.output[0]
        else:
            others.append(node)
    del graph.graph.node[:]
    graph.graph.node.extend(others)
