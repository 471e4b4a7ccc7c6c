"""ONNX graphs as files: one file, or weights in a second file where one is too small."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import external_data_helper

MAX_WEIGHT_OCTETS = 2**31 - 2**24
"""Largest weights of a graph in one file. protobuf ends at 2 GiB; the nodes need far less than the rest."""


def save_graph(graph: onnx.ModelProto, path: Path) -> None:
    """Write a graph, and check the file as a reader finds it, with inferred shapes.

    Weights beyond MAX_WEIGHT_OCTETS go into `path` + ".data". A graph always gives the same files.

    Args:
        graph: graph to write; its weights change place.
        path: ONNX file to write.
    """
    _constants_to_initializers(graph)
    if sum(len(weight.raw_data) for weight in graph.graph.initializer) > MAX_WEIGHT_OCTETS:
        external_data_helper.convert_model_to_external_data(graph, location=f"{path.name}.data")
    onnx.save(graph, path)
    onnx.checker.check_model(str(path), full_check=True)


def _constants_to_initializers(graph: onnx.ModelProto) -> None:
    """Turn constants into initialisers, because only initialisers may lie outside the file."""
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
