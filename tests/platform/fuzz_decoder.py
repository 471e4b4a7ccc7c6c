"""Feed the decoder what libFuzzer makes of a stream, guided by the code that each input reaches.

python tests/platform/fuzz_decoder.py RUNS [SEED [BUNDLE]]

An input is an octet of options and a stream of the bundle, by default the golden one. An error that is not documented,
a run of TIMEOUT_S or a process of more than MEMORY_MB of the bundle's family ends it with a status other than 0.
tests/runtime/test_fuzz.py runs it, and uses what stands here with hypothesis.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import fastcrc
import numpy as np
from hyvic_runtime.codec.scene_encoder import scene_packets

if TYPE_CHECKING:
    from hyvic_runtime.codec.row_encoder import AnyEncoder
    from hyvic_runtime.codec.scene_decoder import AnyDecoder

BUNDLE = Path(__file__).parents[1] / "golden" / "stream" / "bundle"
KEY = bytes(range(32))
RESEAL, WITH_KEY, CONCEAL = 1, 2, 4
MEMORY_MB = {"hyvic": 256, "adaptive": 512}
"""Of the whole process; libraries and bundle take about 100. A scene-adaptive bundle's tiles are larger, and the header
says of how many bands they are."""
TIMEOUT_S = 10
MAX_OCTETS = 1024


def seeds(bundle: Path = BUNDLE) -> list[list[bytes]]:
    """Packets of a scene of two tiles, the same protected, of an engine that fails on the first, and of two scenes."""
    from hyvic_runtime.families.adaptive.encoder import AdaptiveRowEncoder
    from hyvic_runtime.families.registry import encoder_of, read_bundle
    from hyvic_runtime.packets.protection import PacketProtector
    from hyvic_runtime.packets.space_packet import Packetiser
    from hyvic_runtime.scene.scene import Scene

    encoder = encoder_of(read_bundle(bundle), workers=1)
    tile = encoder.bundle.manifest.geometry.tile
    cube = np.random.default_rng(0).integers(0, 4000, (5, tile + 1, 6)).astype(np.uint16)
    small = (2, 64)  # of the failing engine's scene: lines, and what its numbers are divided by, to fit MAX_OCTETS
    if isinstance(encoder, AdaptiveRowEncoder):
        cube, small = cube[:3, :, :3] // 64, (2, 1)  # likewise; of less there would be nothing to ask the engine
    found = []
    for protector, fails in ((None, False), (PacketProtector(KEY), False), (None, True)):
        if fails:
            cube = cube[: small[0]] // small[1]
            _let_fail_once(encoder)
        packetiser = Packetiser(packet_octets=100, protector=protector)
        tiles = scene_packets(encoder, Scene(cube=cube), packetiser, scene_id=1)
        found.append([packet for packets in tiles for packet in packets])
    scenes = [scene_packets(encoder, Scene(cube=cube[:, :9]), Packetiser(), scene_id=scene_id) for scene_id in (1, 2)]
    turns = zip(*([packet for packets in tiles for packet in packets] for tiles in scenes), strict=True)
    return [*found, [packet for turn in turns for packet in turn]]


def _let_fail_once(encoder: AnyEncoder) -> None:
    """Let the encoder's engine fail on what it is asked next."""
    from hyvic_runtime.engines.engine import Engine
    from hyvic_runtime.errors import EngineError
    from hyvic_runtime.families.adaptive.context_network import OnnxContextNetwork
    from hyvic_runtime.families.adaptive.encoder import AdaptiveRowEncoder
    from hyvic_runtime.families.latent.encoder import LatentRowEncoder

    class FailsOnce:
        def __init__(self, engine: Engine) -> None:
            self._engine, self._failed = engine, False

        def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            if not self._failed:
                self._failed = True
                raise EngineError("the device is gone")
            return self._engine.run(inputs)

        def describe(self) -> str:
            return self._engine.describe()

    if isinstance(encoder, AdaptiveRowEncoder):
        encoder._tiles = replace(encoder._tiles, network=OnnxContextNetwork(FailsOnce(encoder._tiles.network)))
    else:
        assert isinstance(encoder, LatentRowEncoder)
        encoder._engine = FailsOnce(encoder._engine)


def decoder_of_seeds(bundle: Path = BUNDLE) -> AnyDecoder:
    """What decodes them."""
    from hyvic_runtime.families.registry import decoder_of, read_bundle

    return decoder_of(read_bundle(bundle))


def decode_or_refuse(decoder: AnyDecoder, stream: bytes, options: int) -> bool:
    """Whether a stream gave a scene, or several. Any error but DecodeError is the decoder's fault, and leaves here."""
    from hyvic_runtime.errors import DecodeError

    if options & RESEAL:
        stream = b"".join(map(_resealed, _packets_of(stream)))
    received = decoder.receive(stream, key=KEY if options & WITH_KEY else None)
    decoded = 0
    for scene_id in received.scenes or [None]:
        with suppress(DecodeError):
            decoder.reconstruct(received, scene_id, conceal=bool(options & CONCEAL))
            decoded += 1
    return decoded > 0


def _packets_of(stream: bytes) -> list[bytes]:
    """Cut where the lengths of the primary headers say, the last piece being what is left."""
    packets, position = [], 0
    while position < len(stream):
        octets = 7 + int.from_bytes(stream[position + 4 : position + 6], "big")
        packets.append(stream[position : position + octets])
        position += octets
    return packets


def _resealed(packet: bytes) -> bytes:
    """With a CRC that fits, so that what lies behind that check is reached."""
    return packet[:-2] + fastcrc.crc16.ibm_3740(packet[:-2]).to_bytes(2, "big") if len(packet) > 2 else packet


def main(runs: int, seed: int, bundle: Path) -> None:
    """Run libFuzzer."""
    import atheris

    with atheris.instrument_imports(include=["hyvic_runtime"]):
        decoder = decoder_of_seeds(bundle)

    def one_input(octets: bytes) -> None:
        if octets:
            decode_or_refuse(decoder, octets[1:], octets[0])

    with tempfile.TemporaryDirectory(prefix="hyvic-fuzz-") as corpus:
        for number, packets in enumerate(seeds(bundle)):
            for options in range(8):
                (Path(corpus) / f"{number}-{options}").write_bytes(bytes([options]) + b"".join(packets))
        memory_mb = MEMORY_MB[decoder.bundle.manifest.family]
        limits = (f"-timeout={TIMEOUT_S}", f"-rss_limit_mb={memory_mb}", f"-max_len={MAX_OCTETS}")
        atheris.Setup([sys.argv[0], f"-runs={runs}", f"-seed={seed}", *limits, "-len_control=0", corpus], one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main(
        int(sys.argv[1]),
        int(sys.argv[2]) if len(sys.argv) > 2 else 1,
        Path(sys.argv[3]) if len(sys.argv) > 3 else BUNDLE,
    )
