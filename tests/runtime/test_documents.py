"""The interface control document is held against the code."""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hyvic_runtime.codec.scene_encoder import scene_packets
from hyvic_runtime.families.registry import read_bundle
from hyvic_runtime.packets.protection import REPLAY_WINDOW, SECURITY_OCTETS, PacketOpener
from hyvic_runtime.packets.scene_header import SceneHeader, unpack_scene_header
from hyvic_runtime.packets.space_packet import (
    FORMAT_VERSION,
    MAX_PACKET_OCTETS,
    MAX_PARTS,
    OVERHEAD_OCTETS,
    UNIT_HEADER_OCTETS,
    Packetiser,
    Segment,
    Unit,
    UnitKind,
    parse_stream,
)
from hyvic_runtime.scene.scene import SUPPORTED_DTYPES
from scenes import BANDS, ROOT, smooth_cube

if TYPE_CHECKING:
    from ccsdspy import PacketField

DOCUMENT = (ROOT / "docs" / "packet-format.md").read_text(encoding="utf-8")
HEADER = SceneHeader(
    bundle_id=bytes(range(8)), lines=2, samples=3, mean_spectrum=np.array([100, 200, 300, 65535], np.uint16)
)


@dataclass(frozen=True)
class Field:
    """A row of a table of the document."""

    bit: str
    bits: str
    name: str
    range: str
    example: str


def _fields(section: str) -> list[Field]:
    table = re.search(rf"## {section}\n\n(?:[^#]+\n\n)?\| bit .*?\n\| ---.*?\n(.*?)\n\n", DOCUMENT, re.DOTALL)
    assert table is not None
    return [Field(*(cell.strip() for cell in row.split("|")[1:6])) for row in table[1].splitlines()]


def _number(text: str) -> int:
    return int(text.replace(",", ""), 0)


def _fixed(fields: list[Field]) -> list[Field]:
    """Those before the one of variable length."""
    return [field for field in fields if field.bits.isdigit() and field.bit.isdigit()]


def _value(octets: bytes, field: Field) -> int:
    end = _number(field.bit) + _number(field.bits)
    return int.from_bytes(octets, "big") >> (8 * len(octets) - end) & ((1 << _number(field.bits)) - 1)


def _examples() -> list[bytes]:
    """The packet, and the same protected."""
    return [bytes.fromhex(block) for block in re.findall(r"```\n(.*?)```", DOCUMENT.split("## Example")[1], re.DOTALL)]


@pytest.mark.parametrize(("section", "start"), [("Packet", 0), ("Protected packets", 112), ("Scene header unit", 0)])
def test_the_documents_fields_follow_one_another(section: str, start: int) -> None:
    fields = _fixed(_fields(section))
    ends = [_number(field.bit) + _number(field.bits) for field in fields]
    assert [_number(field.bit) for field in fields] == [start, *ends[:-1]]
    variable = _fields(section)[len(fields)]
    assert _number(variable.bit) == ends[-1]


def test_the_documents_ranges_are_the_packetisers() -> None:
    fields = {field.name: field for field in _fields("Packet")}
    (low, high) = map(_number, fields["packet data length"].range.split(" … "))
    segment = [_number(bits) // 8 for bits in fields["segment"].bits.split(" … ")]
    assert segment[0] + OVERHEAD_OCTETS == low + 7
    assert segment[1] + OVERHEAD_OCTETS == high + 7 == MAX_PACKET_OCTETS
    assert _number(fields["segment"].bit) // 8 + 2 == OVERHEAD_OCTETS


def test_the_examples_octets_are_the_encoders() -> None:
    unit = Unit(kind=UnitKind.SCENE_HEADER, scene=7, row=0, column=0, octets=HEADER.pack())
    time = datetime(2026, 1, 1, 12, 34, 56, 789_000, tzinfo=UTC)
    (packet,) = Packetiser(clock=lambda: time).packets(unit)
    assert packet == _examples()[0]
    (segment,) = parse_stream(packet)
    assert isinstance(segment, Segment)
    assert segment.time == time
    decoded = unpack_scene_header(segment.octets)
    assert (decoded.bundle_id, decoded.lines, decoded.samples) == (bytes(range(8)), 2, 3)
    assert decoded.mean_spectrum is not None
    assert decoded.mean_spectrum.tolist() == [100, 200, 300, 65535]


def test_the_examples_values_stand_at_the_documents_offsets() -> None:
    packet = _examples()[0]
    fields = _fields("Packet")
    *fixed, segment, crc = fields
    assert [_value(packet, field) for field in fixed] == [_number(field.example) for field in fixed]
    assert int.from_bytes(packet[-2:], "big") == _number(crc.example)
    unit = packet[_number(segment.bit) // 8 : -2]
    *fixed, mean = _fields("Scene header unit")
    assert [_value(unit, field) for field in fixed] == [_number(field.example) for field in fixed]
    assert np.frombuffer(unit, ">u2", offset=_number(mean.bit) // 8).tolist() == [100, 200, 300, 65535]


def test_the_documents_decryption_opens_the_protected_example() -> None:
    """The section's paragraphs, followed to the letter, with HKDF of RFC 5869 written out."""
    plain, packet = _examples()
    *fixed, encrypted, mac, crc = _fields("Protected packets")
    index, salt, number = ((_number(field.example), _number(field.bits) // 8) for field in fixed)
    assert [_value(packet, field) for field in fixed] == [value for value, _ in (index, salt, number)]
    assert packet[-18:-2].hex() == mac.example.removeprefix("0x")
    assert int.from_bytes(packet[-2:], "big") == _number(crc.example)

    info = b"hyvic packet" + index[0].to_bytes(2, "big")
    extracted = hmac.digest(salt[0].to_bytes(salt[1], "big"), bytes(range(32)), "sha256")
    session_key = hmac.digest(extracted, info + b"\x01", "sha256")
    headers, rest = packet[: _number(encrypted.bit) // 8], packet[_number(encrypted.bit) // 8 : -2]
    assert AESGCM(session_key).decrypt(number[0].to_bytes(12, "big"), rest, headers) == plain[14:-2]

    (segment,) = parse_stream(packet, PacketOpener(bytes(range(32))))
    assert isinstance(segment, Segment)
    least, most = (_number(bits) // 8 for bits in encrypted.bits.split(" … "))
    assert least == UNIT_HEADER_OCTETS + 1
    assert most == MAX_PACKET_OCTETS - OVERHEAD_OCTETS - SECURITY_OCTETS + UNIT_HEADER_OCTETS
    assert f"the last {REPLAY_WINDOW:,} up to" in " ".join(DOCUMENT.split())


def test_a_parser_that_knows_nothing_of_us_finds_the_same_fields(tiny_bundle: Path) -> None:
    """ccsdspy, told the document's tables and nothing else, against the runtime's own parser."""
    ccsdspy = pytest.importorskip("ccsdspy", reason="no parser to compare with")
    from ccsdspy.constants import BITS_PER_BYTE
    from hyvic_runtime.families.latent.encoder import LatentRowEncoder
    from hyvic_runtime.scene.scene import Scene

    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    packetiser = Packetiser(apid=77, packet_octets=300, clock=lambda: noon)
    encoder = LatentRowEncoder(read_bundle(tiny_bundle))
    stream = b"".join(
        p for ps in scene_packets(encoder, Scene(cube=smooth_cube(70, 70, BANDS)), packetiser) for p in ps
    )
    segments = [item for item in parse_stream(stream) if isinstance(item, Segment)]
    assert len(segments) > 20

    primary_header_bits = 48
    *fixed, _, crc = _fields("Packet")
    described = [f for f in fixed if _number(f.bit) >= primary_header_bits]
    layout: list[PacketField] = [
        ccsdspy.PacketField(name=f.name, data_type="uint", bit_length=_number(f.bits)) for f in described
    ]
    layout.append(ccsdspy.PacketArray(name="segment", data_type="uint", bit_length=BITS_PER_BYTE, array_shape="expand"))
    layout.append(ccsdspy.PacketField(name=crc.name, data_type="uint", bit_length=_number(crc.bits)))
    found = ccsdspy.VariableLength(layout).load(io.BytesIO(stream), include_primary_header=True)

    columns = {
        "CCSDS_VERSION_NUMBER": [0] * len(segments),
        "CCSDS_PACKET_TYPE": [0] * len(segments),
        "CCSDS_SECONDARY_FLAG": [1] * len(segments),
        "CCSDS_APID": [77] * len(segments),
        "CCSDS_SEQUENCE_COUNT": list(range(len(segments))),
        "CCSDS_SEQUENCE_FLAG": [
            3 if s.count == 1 else 1 if s.index == 0 else 2 if s.index == s.count - 1 else 0 for s in segments
        ],
        "days": [(s.time - datetime(1958, 1, 1, tzinfo=UTC)).days for s in segments],
        "milliseconds of the day": [12 * 3600 * 1000] * len(segments),
        "format version": [FORMAT_VERSION] * len(segments),
        "unit kind": [s.kind for s in segments],
        "scene": [s.scene for s in segments],
        "tile row": [s.row for s in segments],
        "tile column": [s.column for s in segments],
        "segment index": [s.index for s in segments],
        "segment count": [s.count for s in segments],
    }
    assert {name: found[name].tolist() for name in columns} == columns
    assert [bytes(octets.astype(np.uint8)) for octets in found["segment"]] == [s.octets for s in segments]


def test_the_documents_codes_are_the_codes() -> None:
    assert f"# Packet format, version {FORMAT_VERSION}" in DOCUMENT
    assert ", ".join(f"{code} {dtype}" for code, dtype in enumerate(SUPPORTED_DTYPES)) in DOCUMENT
    kinds = ", ".join(f"{kind.value} {kind.name.lower().replace('_', ' ')}" for kind in UnitKind)
    assert kinds in DOCUMENT
    parts = {part: _kind_octet(part) for part in range(MAX_PARTS)}
    bounds = re.search(r"part i of kind 15 \+ i, (\d+) … (\d+);", DOCUMENT)
    assert bounds is not None
    (least, most) = map(int, bounds.groups())
    assert parts == {0: UnitKind.TILE_REFINEMENT, **{part: 15 + part for part in range(1, MAX_PARTS)}}
    assert (parts[1], parts[MAX_PARTS - 1]) == (least, most)
    assert [field.range for field in _fields("Packet") if field.name == "unit kind"] == [f"0 … {most}"]


def _kind_octet(part: int) -> int:
    """Where the document says that the unit kind stands."""
    unit = Unit(kind=UnitKind.TILE_REFINEMENT, scene=0, row=0, column=0, octets=b"x", part=part)
    (packet,) = Packetiser().packets(unit)
    (kind,) = (field for field in _fields("Packet") if field.name == "unit kind")
    (segment,) = parse_stream(packet)
    assert isinstance(segment, Segment)
    assert (segment.kind, segment.part) == (UnitKind.TILE_REFINEMENT, part)
    return _value(packet, kind)


def test_the_documents_decoder_decodes() -> None:
    """The coder's paragraph, followed to the letter, reads what the encoder wrote."""
    from hyvic_runtime.entropy.frequency_table import TOTAL, FrequencyTables
    from hyvic_runtime.entropy.unit_coder import EntropyCoder

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
    assert document.pop("slices") == 0
    for name in ("encoder.onnx", "encoder.onnx.data"):
        document["files"].pop(name, None)
    assert _sha256(document) == identity


def _sha256(entries: dict[str, object]) -> str:
    spelling = json.dumps(entries, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(spelling.encode()).hexdigest()
