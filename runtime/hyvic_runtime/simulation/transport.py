"""How a simulation hands packets from the channel to the decoder: in memory, by a file, or by UDP on this machine."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

LOOPBACK = "127.0.0.1"
MAX_DATAGRAM_OCTETS = 65_507
"""65,535 without the headers of UDP and IPv4."""
TIMEOUT_S = 5.0


class Transport(StrEnum):
    """The ways."""

    MEMORY = "memory"
    FILE = "file"
    UDP = "udp"


def carried(packets: Sequence[bytes], transport: Transport) -> bytes:
    """The packets as a stream, after they went that way.

    Raises:
        ValueError: a packet is longer than a datagram.
        OSError: the way failed.
    """
    if transport is Transport.FILE:
        return _by_file(packets)
    if transport is Transport.UDP:
        return b"".join(_by_udp(packets))
    return b"".join(packets)


def _by_file(packets: Sequence[bytes]) -> bytes:
    with tempfile.TemporaryDirectory(prefix="hyvic-downlink-") as folder:
        path = Path(folder) / "packets"
        with path.open("wb") as stream:
            stream.writelines(packets)
        return path.read_bytes()


def _by_udp(packets: Sequence[bytes]) -> list[bytes]:
    """A packet a datagram, each awaited before the next is sent: loopback drops what its buffer cannot hold."""
    longest = max(map(len, packets), default=0)
    if longest > MAX_DATAGRAM_OCTETS:
        raise ValueError(f"a packet of {longest} octets fits no datagram; at most {MAX_DATAGRAM_OCTETS} are possible")
    received = []
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        receiver.bind((LOOPBACK, 0))
        sender.bind((LOOPBACK, 0))
        # Both ends connected: what another process sends to the port is not received.
        sender.connect(receiver.getsockname())
        receiver.connect(sender.getsockname())
        receiver.settimeout(TIMEOUT_S)
        for packet in packets:
            sender.send(packet)
            try:
                received.append(receiver.recv(MAX_DATAGRAM_OCTETS))
            except TimeoutError:
                raise OSError(
                    f"a datagram to {LOOPBACK} did not arrive within {TIMEOUT_S:g} s; use --transport file"
                ) from None
    return received
