"""Fixtures and facts of the codec that a contract class tests."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from coded_scenes import packets_of
from hypothesis import HealthCheck
from hyvic_runtime.codec.acquisition import Interleave
from hyvic_runtime.codec.bundle import Bundle
from hyvic_runtime.codec.row_encoder import AnyEncoder
from hyvic_runtime.codec.scene_decoder import AnyDecoder
from hyvic_runtime.families.registry import decoder_of, encoder_of, read_bundle
from hyvic_runtime.packets.space_packet import UnitKind
from hyvic_runtime.scene.scene import Scene
from scenes import ROOT, TILE, smooth_cube

AXES = {Interleave.BIP: (0, 1, 2), Interleave.BIL: (0, 2, 1), Interleave.BSQ: (2, 0, 1)}
FRAMING = (UnitKind.SCENE_HEADER, UnitKind.SCENE_END)
NO_DATA, SATURATED = 65535, 4095
OTHER_BUNDLE = ROOT / "tests" / "golden" / "stream" / "bundle"
PEAK = 10_000
ANY_HEALTH = {"deadline": None, "suppress_health_check": list(HealthCheck)}
Capture = pytest.CaptureFixture[str]


class CodecUnderTest:
    """Tests of one codec family, with a bundle of tiles of 32.

    Attributes:
        BUNDLE: name of the fixture of the bundle's folder.
        BANDS: number of bands of the scenes.
        ERROR: mean absolute error that a smooth scene stays below at the default quality, in digital numbers.
        FIDELITY_RISE: least rise of the fidelity from the lowest trained quality to the highest, in dB.
        STRIP_UNITS: units that a row of tiles has beside its tiles' own.
        MEMORY_SCENE: samples and bands of the strip with which memory is measured.
        MEMORY_STRIPS: strips that memory may grow by, whatever the length of a scene.
        files: names of every file of the bundle but the manifest.
    """

    BUNDLE: ClassVar[str]
    BANDS: ClassVar[int]
    ERROR: ClassVar[float] = 40
    FIDELITY_RISE: ClassVar[float] = 0.5
    STRIP_UNITS: ClassVar[tuple[UnitKind, ...]] = ()
    MEMORY_SCENE: ClassVar[tuple[int, int]] = (2 * TILE, 20)
    MEMORY_STRIPS: ClassVar[float] = 1
    files: ClassVar[tuple[str, ...]]

    @staticmethod
    def with_faults(encoder: AnyEncoder, tiles: set[int]) -> None:
        """Let the engine of an encoder of one worker fail on the tiles numbered in `tiles`."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, request: pytest.FixtureRequest) -> Path:
        return Path(request.getfixturevalue(cls.BUNDLE))

    @pytest.fixture(scope="class")
    @classmethod
    def bundle(cls, folder: Path) -> Bundle:
        return read_bundle(folder)

    @pytest.fixture(scope="class")
    @classmethod
    def encoder(cls, bundle: Bundle) -> AnyEncoder:
        return encoder_of(bundle)

    @pytest.fixture(scope="class")
    @classmethod
    def decoder(cls, bundle: Bundle) -> AnyDecoder:
        return decoder_of(bundle)

    @pytest.fixture
    def fresh(self, folder: Path) -> AnyEncoder:
        """Encoder that a test may damage; it has one worker, so that tiles reach the engine in order."""
        return encoder_of(read_bundle(folder), workers=1)

    @pytest.fixture(scope="class")
    @classmethod
    def small_stream(cls, encoder: AnyEncoder) -> bytes:
        return b"".join(packets_of(encoder, cls.cube(36, 40), packet_octets=300))

    @pytest.fixture(scope="class")
    @classmethod
    def row(cls, encoder: AnyEncoder) -> list[bytes]:
        """Packets of a row of three tiles, a unit a packet."""
        return packets_of(encoder, cls.cube(TILE, 3 * TILE), scene_id=1, packet_octets=65000)

    @classmethod
    def cube(cls, lines: int, samples: int, seed: int = 0) -> np.ndarray:
        return smooth_cube(lines, samples, cls.BANDS, seed)

    def rotated(self, lines: int = 40, samples: int = 70) -> tuple[Scene, np.ndarray]:
        """Make a scene as a map projection leaves it: a slanted swath in a rectangle; and say where it has data."""
        y, x = np.mgrid[:lines, :samples]
        valid = (x + 0.3 * y > 20) & (x + 0.3 * y < 72)
        cube = self.cube(lines, samples)
        cube[~valid] = NO_DATA
        return Scene(cube=cube, no_data=NO_DATA), valid

    def lines_without_end(self, encoder: AnyEncoder, lines: int) -> int:
        """Return the height of a scene whose end is lost: whole strides of latents."""
        stride = encoder.bundle.manifest.geometry.latent_stride
        return -(-lines // stride) * stride

    @staticmethod
    def reach(encoder: AnyEncoder) -> int:
        """Return how many pixels beyond a tile's border read the tile's latents."""
        geometry = encoder.bundle.manifest.geometry
        return max(geometry.latent_halo_before, geometry.latent_halo_after) * geometry.latent_stride


def split(stream: bytes) -> list[bytes]:
    """Split a sound stream into packets."""
    packets = []
    while stream:
        size = 7 + int.from_bytes(stream[4:6], "big")
        packets.append(stream[:size])
        stream = stream[size:]
    return packets
