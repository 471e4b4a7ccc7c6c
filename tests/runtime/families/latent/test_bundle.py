from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from faulty_engines import OffByOneEngine
from hyvic_runtime.codec.bundle_files import MANIFEST, canonical_sha256
from hyvic_runtime.engines.engine import OnnxRuntimeEngine
from hyvic_runtime.errors import BundleError, EngineError
from hyvic_runtime.families.latent.conformance import check_encoder, check_entropy_path
from hyvic_runtime.families.latent.entropy_path import EntropyPath, load_entropy_path
from hyvic_runtime.families.registry import read_bundle


@pytest.fixture
def copy(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


def test_another_versions_bundle_is_said_to_be_one(copy: Path) -> None:
    document = json.loads((copy / MANIFEST).read_text())
    document["format_version"] = 99
    (copy / MANIFEST).write_text(json.dumps(document))
    with pytest.raises(BundleError, match="bundle format 99, this runtime reads 1 to 3"):
        read_bundle(copy)


def test_a_bundle_of_the_version_before_is_the_same_codec_in_this_one(copy: Path) -> None:
    bundle = read_bundle(copy)
    document = json.loads((copy / MANIFEST).read_text())
    del document["sha256"], document["format_version"], document["slices"]
    before = {"format_version": 1, "sha256": canonical_sha256(document).hex(), **document}
    (copy / MANIFEST).write_text(json.dumps(before, indent=1) + "\n")
    assert read_bundle(copy).manifest == bundle.manifest
    assert read_bundle(copy).identity == bundle.identity


def test_a_bundle_of_the_version_before_knows_no_slices(copy: Path) -> None:
    document = json.loads((copy / MANIFEST).read_text())
    del document["sha256"], document["format_version"]
    before = {"format_version": 1, "sha256": canonical_sha256(document).hex(), **document}
    (copy / MANIFEST).write_text(json.dumps(before, indent=1) + "\n")
    with pytest.raises(BundleError, match="its entries are not this format's"):
        read_bundle(copy)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("scales", None),
        ("rates", 0),
        ("latent_channels", 10**9),
        ("mean_step_bits", -1),
        ("mean_step_bits", 2.5),
        ("files", None),
        ("wavelengths", [1, 2]),
        ("peak", float("inf")),
        ("provenance", 3),
        ("geometry", {"tile": 32}),
        ("mean_spectrum", "yes"),
        ("slices", 65),
        ("slices", 3),
        ("slices", 5),
        ("slices", False),
    ],
)
def test_a_manifest_of_wrong_types_is_refused_even_with_a_right_digest(copy: Path, field: str, value: object) -> None:
    document = json.loads((copy / MANIFEST).read_text())
    document[field] = value
    del document["sha256"], document["format_version"]
    forged = {"format_version": 2, "sha256": canonical_sha256(document).hex(), **document}
    (copy / MANIFEST).write_text(json.dumps(forged, indent=1) + "\n")
    with pytest.raises(BundleError, match="not a manifest of this version"):
        read_bundle(copy)


@pytest.mark.parametrize("octets", [b"[" * 100_000, b"", b"\xff", b"[]", b"{}"])
def test_a_manifest_that_is_no_document_is_refused(copy: Path, octets: bytes) -> None:
    (copy / MANIFEST).write_bytes(octets)
    with pytest.raises(BundleError, match="was altered or damaged"):
        read_bundle(copy)


@pytest.mark.parametrize("output", ["scale_index", "mean_steps"])
def test_an_engine_that_is_wrong_in_one_element_is_refused(tiny_bundle: Path, output: str) -> None:
    bundle = read_bundle(tiny_bundle)
    engine = OnnxRuntimeEngine(tiny_bundle / "hyperdecoder.onnx")
    check_entropy_path(bundle, EntropyPath(bundle, engine))
    with pytest.raises(BundleError, match="broken engine fails conformance vector 0 of 9"):
        check_entropy_path(bundle, EntropyPath(bundle, OffByOneEngine(engine, output)))


def test_an_encoder_that_disagrees_with_the_decoder_is_refused(tiny_bundle: Path) -> None:
    bundle = read_bundle(tiny_bundle)
    engine = load_entropy_path(bundle)
    encoder = OnnxRuntimeEngine(tiny_bundle / "encoder.onnx")
    check_encoder(bundle, encoder, engine)
    with pytest.raises(BundleError, match="disagree in 1 of"):
        check_encoder(bundle, OffByOneEngine(encoder, "scale_index"), engine)


def test_a_file_that_is_no_graph_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "g.onnx").write_bytes(b"not a graph")
    with pytest.raises(EngineError, match="refuses it") as caught:
        OnnxRuntimeEngine(tmp_path / "g.onnx")
    assert "\n" not in str(caught.value)
