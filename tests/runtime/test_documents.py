"""The interface control document is held against the code."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import numpy as np
from conftest import ROOT
from hyvic_runtime.bundle import read_bundle
from hyvic_runtime.scene import SUPPORTED_DTYPES
from hyvic_runtime.scene_header import SceneHeader, unpack_scene_header
from hyvic_runtime.space_packet import FORMAT_VERSION, Packetiser, Segment, Unit, UnitKind, parse_stream

DOCUMENT = (ROOT / "docs" / "packet-format.md").read_text(encoding="utf-8")
HEADER = SceneHeader(
    bundle_id=bytes(range(8)), lines=2, samples=3, mean_spectrum=np.array([100, 200, 300, 65535], np.uint16)
)


def test_the_examples_octets_are_the_encoders() -> None:
    example = re.search(r"## Example.*?```\n(.*?)```", DOCUMENT, re.DOTALL)
    assert example is not None
    expected = bytes.fromhex(example[1].replace("CRC", ""))
    unit = Unit(kind=UnitKind.SCENE_HEADER, scene=7, row=0, column=0, octets=HEADER.pack())
    (packet,) = Packetiser().packets(unit)
    assert packet[:-2] == expected
    (segment,) = parse_stream(packet)
    assert isinstance(segment, Segment)
    decoded = unpack_scene_header(segment.octets)
    assert (decoded.bundle_id, decoded.lines, decoded.samples) == (bytes(range(8)), 2, 3)
    assert decoded.mean_spectrum.tolist() == [100, 200, 300, 65535]


def test_the_documents_codes_are_the_codes() -> None:
    assert f"# Packet format, version {FORMAT_VERSION}" in DOCUMENT
    assert ", ".join(f"{code} {dtype}" for code, dtype in enumerate(SUPPORTED_DTYPES)) in DOCUMENT
    kinds = ", ".join(f"{kind.value} {kind.name.lower().replace('_', ' ')}" for kind in UnitKind)
    assert kinds.replace("hyperlatent", "hyper-latent") in DOCUMENT


def test_the_documents_decoder_decodes() -> None:
    """The coder's paragraph, followed to the letter, reads what the encoder wrote."""
    from hyvic_runtime.entropy_coder import EntropyCoder
    from hyvic_runtime.frequency_table import TOTAL, FrequencyTables

    tables = FrequencyTables(
        first=np.array([-1, 0], np.int32),
        length=np.array([3, 1], np.int32),
        frequencies=np.array([TOTAL // 4, TOTAL // 2, TOTAL // 4 - 1, 1, TOTAL - 9, 9], np.uint32),
    )
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 2, 200)
    symbols = np.where(rows == 0, rng.integers(-1, 2, 200), 0)
    symbols[17] = -300
    unit = EntropyCoder(tables).encode(symbols, rows)

    escapes = [int.from_bytes(unit[4 + 2 * i : 6 + 2 * i], "big", signed=True) for i in range(unit[3])]
    words = [int.from_bytes(unit[i : i + 4], "little") for i in range(4 + 2 * len(escapes), len(unit), 4)]
    state = (words.pop() << 32) + words.pop()
    decoded = {}
    for element in sorted(range(200), key=lambda i: int(rows[i])):
        row = tables.row(int(rows[element])).astype(int).tolist()
        q = state % 2**24
        position = next(i for i in range(len(row)) if q < sum(row[: i + 1]))
        state = row[position] * (state // 2**24) + q - sum(row[:position])
        if state < 2**32 and words:
            state = (state << 32) + words.pop()
        escaped = position == len(row) - 1
        decoded[element] = escapes.pop(0) if escaped else int(tables.first[rows[element]]) + position
    assert [decoded[i] for i in range(200)] == symbols.tolist()
    assert (state, words) == (0, [])


def test_the_documents_identity_is_the_bundles(tiny_bundle: Path) -> None:
    document = json.loads((tiny_bundle / "manifest.json").read_text())
    document_sha256, identity = document.pop("sha256"), read_bundle(tiny_bundle).identity.hex()
    del document["format_version"]
    assert _sha256(document) == document_sha256
    for name in ("provenance", "engines", "extras", "precision"):
        del document[name]
    for name in ("encoder.onnx", "encoder.onnx.data"):
        document["files"].pop(name, None)
    assert _sha256(document) == identity


def _sha256(entries: dict[str, object]) -> str:
    spelling = json.dumps(entries, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(spelling.encode()).hexdigest()
