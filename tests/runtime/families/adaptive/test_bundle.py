from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from both_kernels import both_kernels
from faulty_engines import OffByOneEngine
from hyvic_runtime import kernels as runtime_kernels
from hyvic_runtime.cli import verify_bundle
from hyvic_runtime.codec.bundle_files import MANIFEST, REPORT, TABLE_FIRST, canonical_sha256, file_sha256, spelt
from hyvic_runtime.engines.selection import EngineKind
from hyvic_runtime.errors import BundleError, EngineError
from hyvic_runtime.families.adaptive.bundle import (
    CONFORMANCE,
    ROWS_OF_WEIGHTS,
    AdaptiveBundle,
    read_adaptive_bundle,
)
from hyvic_runtime.families.adaptive.conformance import check_network
from hyvic_runtime.families.adaptive.context_network import load_context_network
from hyvic_runtime.families.adaptive.contexts import CONTEXTS
from hyvic_runtime.families.adaptive.kernels import Kernels
from hyvic_runtime.families.adaptive.table_choice import ROWS
from hyvic_runtime.families.latent.bundle import HYPERDECODER, read_latent_bundle
from hyvic_runtime.families.registry import read_bundle
from hyvic_runtime.kernels import KernelKind

Document = dict[str, Any]


@pytest.fixture
def copy(tiny_adaptive_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_adaptive_bundle, tmp_path / "bundle"))


def _forge(folder: Path, change: Callable[[Document], object], version: int = 3) -> None:
    """Change a manifest and give it the right digest."""
    document = json.loads((folder / MANIFEST).read_text())
    del document["sha256"], document["format_version"]
    change(document)
    (folder / MANIFEST).write_bytes(spelt(version, document))


def test_a_bundle_is_read_by_its_family(tiny_adaptive_bundle: Path, tiny_bundle: Path) -> None:
    bundle = read_bundle(tiny_adaptive_bundle)
    assert isinstance(bundle, AdaptiveBundle)
    assert bundle.stream_id == bundle.identity[:8]
    assert len(bundle.tables.first) == ROWS
    assert bundle.conformance.shape[1] == CONTEXTS
    assert read_adaptive_bundle(tiny_adaptive_bundle).identity == bundle.identity
    with pytest.raises(BundleError, match="of the family adaptive, which has no latent"):
        read_latent_bundle(tiny_adaptive_bundle)
    with pytest.raises(BundleError, match="of the family hyvic, which is not scene-adaptive"):
        read_adaptive_bundle(tiny_bundle)


def test_weights_that_are_no_networks_are_refused(copy: Path) -> None:
    rows = np.load(copy / ROWS_OF_WEIGHTS)
    rows[0, 0] = 2**24
    np.save(copy / ROWS_OF_WEIGHTS, rows)
    _forge(copy, lambda document: document["files"].update({ROWS_OF_WEIGHTS: file_sha256(copy / ROWS_OF_WEIGHTS)}))
    with pytest.raises(BundleError, match=r"its weights are no network's \(a sum may reach \d+; less than 16777216"):
        read_bundle(copy)


def test_another_versions_contexts_are_refused(copy: Path) -> None:
    _forge(copy, lambda document: document.update(context_version=2))
    with pytest.raises(BundleError, match="knows contexts of version 2, this runtime makes version 1; use the release"):
        read_bundle(copy)


@pytest.mark.parametrize("version", [1, 2])
def test_the_family_has_one_format_version(copy: Path, version: int) -> None:
    _forge(copy, lambda document: None, version)
    with pytest.raises(BundleError, match="its entries are not this format's"):
        read_bundle(copy)


def test_a_latents_manifest_does_not_pass_for_this_format(tiny_bundle: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    _forge(copy, lambda document: None, version=3)
    with pytest.raises(BundleError, match="its entries are not this format's"):
        read_bundle(copy)
    _forge(copy, lambda document: document.update(family="adaptive"), version=3)
    with pytest.raises(BundleError, match="its entries are not this format's"):
        read_bundle(copy)


@pytest.mark.parametrize(
    "change",
    [
        {"tile": 48},
        {"tile": 0},
        {"tile": 128.0},
        {"scales": None},
        {"context_version": True},
        {"peak": "10000"},
        {"engines": {}},
        {"files": {}},
        {"extras": {"thesis.txt": ""}},
        {"conformance": 3},
        {"conformance": [1]},
        {"provenance": {"command": None}},
    ],
)
def test_a_manifest_of_wrong_types_is_refused_even_with_a_right_digest(copy: Path, change: Document) -> None:
    _forge(copy, lambda document: document.update(change))
    with pytest.raises(BundleError, match="not a manifest of this version"):
        read_bundle(copy)


@pytest.mark.parametrize("field", ["scales", "fractions", "contexts"])
def test_counts_that_are_not_the_contexts_versions_are_refused(copy: Path, field: str) -> None:
    _forge(copy, lambda document: document.update({field: document[field] - 1}))
    with pytest.raises(BundleError, match="do not fit the manifest"):
        read_bundle(copy)


@pytest.mark.parametrize(
    ("name", "cut"),
    [(TABLE_FIRST, lambda a: a[:-1]), (CONFORMANCE, lambda a: a[1:]), (CONFORMANCE, lambda a: a[:, 1:])],
)
def test_arrays_that_do_not_fit_the_manifest_are_refused(
    copy: Path, name: str, cut: Callable[[np.ndarray], np.ndarray]
) -> None:
    np.save(copy / name, cut(np.load(copy / name)))
    _forge(copy, lambda document: document["files"].update({name: file_sha256(copy / name)}))
    with pytest.raises(BundleError, match=r"do not fit the manifest|lengths disagree|wrong shape"):
        read_bundle(copy)


def test_identity_is_what_a_stream_is_decoded_with(copy: Path) -> None:
    bundle = read_adaptive_bundle(copy)
    document = json.loads((copy / MANIFEST).read_text())
    for name in ("format_version", "sha256", "provenance", "engines", "extras"):
        del document[name]
    assert bundle.identity == canonical_sha256(document)
    (copy / REPORT).unlink()
    _forge(copy, lambda document: document.update(extras={}, provenance={"command": "another"}))
    assert read_adaptive_bundle(copy).identity == bundle.identity
    _forge(copy, lambda document: document.update(tile=64))
    assert read_adaptive_bundle(copy).identity != bundle.identity


@pytest.mark.parametrize("output", ["scale_index", "mean_steps", "gain"])
def test_an_engine_that_is_wrong_in_one_element_is_refused(tiny_adaptive_bundle: Path, output: str) -> None:
    bundle = read_adaptive_bundle(tiny_adaptive_bundle)
    engine = load_context_network(bundle)
    check_network(bundle, engine)
    with pytest.raises(BundleError, match=r"broken engine fails conformance vector 0 of \d"):
        check_network(bundle, OffByOneEngine(engine, output))


@pytest.mark.parametrize("kind", [EngineKind.TENSORRT, EngineKind.TENSORRT_RTX])
def test_tensorrt_is_refused_in_one_line(tiny_adaptive_bundle: Path, kind: EngineKind) -> None:
    with pytest.raises(EngineError, match=f"native code or ONNX Runtime alone; choose another --engine than {kind}"):
        load_context_network(read_adaptive_bundle(tiny_adaptive_bundle), kind)


def test_verify_bundle_runs_network_and_coder(tiny_adaptive_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify_bundle([str(tiny_adaptive_bundle), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    bundle = read_adaptive_bundle(tiny_adaptive_bundle)
    assert result["identity"] == bundle.identity.hex()
    assert (result["family"], result["tile"]) == ("adaptive", 32)
    assert result["conformance_vectors"] == len(bundle.conformance)
    assert result["engine"] == load_context_network(bundle).describe()
    assert verify_bundle([str(tiny_adaptive_bundle)]) == 0
    assert "conformance vectors exactly, and" in capsys.readouterr().out


def test_verify_bundle_refuses_a_network_that_the_digests_are_not_of(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _forge(copy, lambda document: document["conformance"].reverse())
    assert verify_bundle([str(copy)]) == 1
    assert "fails conformance vector 0" in capsys.readouterr().err


def test_verify_bundle_refuses_tables_that_the_coders_digest_is_not_of(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _forge(copy, lambda document: document.update(coder_sha256="0" * 64))
    assert verify_bundle([str(copy)]) == 1
    assert "does not code the tables of the bundle as the exporter did" in capsys.readouterr().err


def test_native_code_runs_no_graph(tiny_bundle: Path) -> None:
    with pytest.raises(EngineError, match="has graphs, which no native code runs; choose another --engine than native"):
        read_latent_bundle(tiny_bundle).load_engine(HYPERDECODER, EngineKind.NATIVE)


def test_without_a_compiler_the_reference_is_chosen_with_a_warning(
    tiny_adaptive_bundle: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(runtime_kernels, "why_not_native", lambda: "No module named '_native'")
    runtime_kernels._warn.cache_clear()
    bundle = read_adaptive_bundle(tiny_adaptive_bundle)
    network = load_context_network(bundle)
    assert network.describe().startswith("ONNX Runtime")
    assert network.kernels.kind is KernelKind.REFERENCE
    assert bundle.entropy_coder().describe().startswith("constriction")
    (told,) = caplog.messages
    assert re.search(r"without its C code \(No module named '_native'\): .* times as long, .* install gcc and", told)
    for engine, kind in ((EngineKind.NATIVE, None), (None, KernelKind.NATIVE)):
        with pytest.raises(EngineError, match=r"installed without its C code .* or choose reference kernels"):
            load_context_network(bundle, engine, kernels=kind)


@both_kernels
def test_kernels_are_chosen_by_name(
    tiny_adaptive_bundle: Path, kernels: Kernels, capsys: pytest.CaptureFixture[str]
) -> None:
    kind = kernels.kind
    assert verify_bundle([str(tiny_adaptive_bundle), "--kernels", kind, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["kernels"] == kind
    native = kind is KernelKind.NATIVE
    assert result["engine"].startswith("native code" if native else "ONNX Runtime")
    assert result["entropy_coder"].startswith("the runtime's own C coder" if native else "constriction")
    assert verify_bundle([str(tiny_adaptive_bundle), "--kernels", kind]) == 0
    assert f"{kind} kernels" in capsys.readouterr().out


def test_native_engine_with_reference_kernels_is_refused(tiny_adaptive_bundle: Path) -> None:
    bundle = read_adaptive_bundle(tiny_adaptive_bundle)
    with pytest.raises(EngineError, match="engine native needs native kernels; choose engine onnxruntime"):
        load_context_network(bundle, EngineKind.NATIVE, kernels=KernelKind.REFERENCE)
