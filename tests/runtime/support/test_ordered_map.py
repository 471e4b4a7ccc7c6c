from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from both_kernels import both_kernels
from hyvic_runtime.codec.scene_encoder import scene_packets
from hyvic_runtime.errors import DecodeError
from hyvic_runtime.families.adaptive.kernels import Kernels
from hyvic_runtime.families.latent.bundle import LatentBundle
from hyvic_runtime.families.latent.decoder import LatentDecoder
from hyvic_runtime.families.latent.encoder import LatentRowEncoder
from hyvic_runtime.families.registry import read_bundle
from hyvic_runtime.packets.space_packet import Packetiser
from hyvic_runtime.scene.scene import Scene
from hyvic_runtime.support.ordered_map import ordered_map
from scenes import ROOT, smooth_cube


@pytest.fixture(scope="module")
def bundle() -> LatentBundle:
    return read_bundle(ROOT / "tests" / "golden" / "stream" / "bundle")


@pytest.fixture(scope="module")
def packets(bundle: LatentBundle) -> list[bytes]:
    """Of a scene of 30 tiles, of which some have marks."""
    cube = smooth_cube(90, 70, bands=6)
    cube[20:30, 10:40] = 0
    tiles = scene_packets(LatentRowEncoder(bundle), Scene(cube=cube, no_data=0), Packetiser(packet_octets=120))
    return [packet for packets in tiles for packet in packets]


def _tile_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("in-order")]


def test_results_come_in_order_whatever_finishes_first() -> None:
    def work(number: int) -> int:
        time.sleep(0.002 * (number % 3))
        return number

    assert list(ordered_map(work, range(40), workers=4)) == list(range(40))


def test_no_more_is_begun_than_workers_and_as_many_wait() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        while taken < 100:
            taken += 1
            yield taken

    for result in ordered_map(lambda item: item, items(), workers=3):
        assert taken - result < 2 * 3


def test_an_item_that_fails_stops_the_rest() -> None:
    done = []

    def work(number: int) -> None:
        if number == 5:
            raise DecodeError("five")
        done.append(number)

    with pytest.raises(DecodeError, match="five"):
        list(ordered_map(work, range(1000), workers=2))
    assert len(done) < 20
    assert not _tile_threads()


@both_kernels
@pytest.mark.parametrize("loss", [0, 7])
def test_many_workers_give_the_pixels_of_one(
    bundle: LatentBundle, packets: list[bytes], loss: int, kernels: Kernels
) -> None:
    stream = b"".join(packet for index, packet in enumerate(packets) if not loss or index % loss != 3)
    serial = LatentDecoder(bundle, workers=1).decode(stream, conceal=True)
    parallel = LatentDecoder(bundle, workers=5, kernels=kernels.kind)
    for _ in range(3):
        decoded = parallel.decode(stream, conceal=True)
        assert np.array_equal(decoded.scene.cube, serial.scene.cube)
        assert np.array_equal(decoded.quality, serial.quality)


def test_the_first_lost_tile_is_named_whatever_worker_meets_it(bundle: LatentBundle, packets: list[bytes]) -> None:
    octets = bytearray(b"".join(packets))
    for packet in (10, 30, 50):
        octets[sum(map(len, packets[:packet])) + 20] ^= 1
    said = set()
    for workers in (1, 3, 8):
        with pytest.raises(DecodeError) as raised:
            LatentDecoder(bundle, workers=workers).decode(bytes(octets))
        said.add(str(raised.value))
    assert len(said) == 1


def test_progress_rises_by_one_tile(bundle: LatentBundle, packets: list[bytes]) -> None:
    calls: list[tuple[int, int]] = []
    LatentDecoder(bundle, workers=4).decode(b"".join(packets), progress=lambda *call: calls.append(call))
    assert calls == [(done, 30) for done in range(1, 31)]


def test_an_interruption_leaves_no_thread_and_a_decoder_that_works(bundle: LatentBundle, packets: list[bytes]) -> None:
    decoder = LatentDecoder(bundle, workers=4)
    whole = decoder.decode(b"".join(packets)).scene.cube

    def interrupt(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decoder.decode(b"".join(packets), progress=interrupt)
    assert not _tile_threads()
    assert np.array_equal(decoder.decode(b"".join(packets)).scene.cube, whole)


def test_times_are_those_of_all_workers(bundle: LatentBundle, packets: list[bytes]) -> None:
    decoder = LatentDecoder(bundle, workers=4)
    begun = time.perf_counter()
    decoder.decode(b"".join(packets))
    seconds = time.perf_counter() - begun
    assert 0 < decoder.times.engine_s + decoder.times.entropy_coder_s + decoder.times.packets_s < 4 * seconds
