"""Tests of the runtime need neither torch nor the packages that train and export."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from scenes import ROOT

NEEDS_TORCH = {"torch", "compressai", "onnx", "spox", "hyvic_train", "hyvic_export", "hyvic_compare", "tiny_models"}
FIXTURES = {"tiny_checkpoint", "tiny_joint_checkpoint", "tiny_context_checkpoint", "shipped_bundle", "indian_pines"}
ON_A_GPU = ROOT / "tests" / "runtime" / "engines" / "test_engine.py"
"""Builds an engine with the exporter, where a GPU is."""


@pytest.mark.parametrize("path", sorted((ROOT / "tests" / "runtime").rglob("*.py")), ids=lambda path: path.stem)
def test_a_test_of_the_runtime_runs_without_torch(path: Path) -> None:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.arg) and (node.arg in FIXTURES or node.arg.startswith("exported_")):
            found.add("torch")
    assert not found & NEEDS_TORCH - ({"hyvic_export"} if path == ON_A_GPU else set())
