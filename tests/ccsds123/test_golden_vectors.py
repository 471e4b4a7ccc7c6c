from __future__ import annotations

import hashlib

import numpy as np
import pytest
from ccsds123.codec import compress, decompress
from ccsds123.header import read_header, write_header
from ccsds123.parameter_files import header_from_json, json_from_header
from ccsds123.predictor import map_samples
from ccsds123.raw_image import raw_from_cube
from golden_vectors import VECTORS, Vector
from reference_predictor import reference_mapped

each_vector = pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v.name)


def test_all_vectors_are_here() -> None:
    assert len(VECTORS) == 190


@each_vector
def test_encoder_gives_the_golden_bytes(vector: Vector) -> None:
    """Also at trust level D: our rule for options of equal length is theirs."""
    assert compress(vector.cube, vector.header.parameters) == vector.stream.read_bytes()


@each_vector
def test_decoder_gives_the_golden_reconstruction(vector: Vector) -> None:
    raw = raw_from_cube(decompress(vector.stream.read_bytes()), vector.header.parameters)
    assert hashlib.sha256(raw).hexdigest() == vector.facts["reconstruction_sha256"]


@each_vector
def test_mapped_quantizer_indices_are_the_golden_ones(vector: Vector) -> None:
    mapped = map_samples(vector.cube, vector.header.parameters)
    octets = np.moveaxis(mapped, 2, 0).astype(">u4").tobytes()
    assert hashlib.sha256(octets).hexdigest() == vector.facts["mapped_sha256"]


@each_vector
def test_header_is_written_and_read_bit_for_bit(vector: Vector) -> None:
    octets = vector.stream.read_bytes()[: vector.facts["header_octets"]]
    assert write_header(vector.header) == octets
    header, length = read_header(vector.stream.read_bytes())
    assert length == len(octets)
    assert write_header(header) == octets


@each_vector
def test_parameters_survive_their_file_format(vector: Vector) -> None:
    assert header_from_json(json_from_header(vector.header)) == vector.header


SMALL = [v for v in VECTORS if v.header.shape.size <= 400]


@pytest.mark.parametrize("vector", SMALL, ids=lambda v: v.name)
def test_plain_python_reference_gives_the_golden_indices(vector: Vector) -> None:
    mapped = reference_mapped(vector.cube, vector.header.parameters)
    octets = np.moveaxis(mapped, 2, 0).astype(">u4").tobytes()
    assert hashlib.sha256(octets).hexdigest() == vector.facts["mapped_sha256"]
