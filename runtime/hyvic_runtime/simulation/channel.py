"""Simulates the channel between satellite and ground: waiting, loss, bit errors and reordering of packets.

    made ──▶ queue ──contacts──▶ sent ──outages──▶ ──Gilbert–Elliott──▶ ──bit errors──▶ ──reordering──▶ arrived

Times are simulated seconds from the start of the first line. One seed gives all random numbers. Each effect has its own
random generator, so switching one effect on does not change the draws of the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """Period in which every packet sent is lost.

    Attributes:
        start_s: start of the period.
        seconds: length of the period.
    """

    start_s: float
    seconds: float

    def __post_init__(self) -> None:
        _check_window("an outage", self.start_s, self.seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """Period in which the satellite can send packets.

    Attributes:
        start_s: start of the period.
        seconds: length of the period.
        octets: budget of the contact, sent at a constant rate over the period.
    """

    start_s: float
    seconds: float
    octets: int

    def __post_init__(self) -> None:
        _check_window("a contact", self.start_s, self.seconds)
        if self.octets < 1:
            raise ValueError(f"the budget of a contact is {self.octets} octets; at least 1 is needed")


def _check_window(name: str, start_s: float, seconds: float) -> None:
    if not (0 <= start_s < np.inf and 0 < seconds < np.inf):
        raise ValueError(
            f"{name} of {seconds:g} s at {start_s:g} s is impossible; give seconds from the start of the first line"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """Properties of a downlink.

    Attributes:
        packet_loss: share of lost packets, 0..1.
        mean_burst: mean length of a run of lost packets, at least 1; None if packets are lost independently.
        bit_error_rate: probability that a bit arrives inverted, 0..1.
        reorder: largest number of positions by which a packet may arrive late.
        outages: periods in which every packet is lost.
        contacts: periods in which packets can be sent, in order of time; empty for sending at once and without limit.
    """

    packet_loss: float = 0.0
    mean_burst: float | None = None
    bit_error_rate: float = 0.0
    reorder: int = 0
    outages: tuple[Outage, ...] = ()
    contacts: tuple[Contact, ...] = ()

    def __post_init__(self) -> None:
        for name, value in (("packet loss", self.packet_loss), ("bit error rate", self.bit_error_rate)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} {value:g} is outside 0..1")
        if self.mean_burst is not None:
            if not 1 <= self.mean_burst < np.inf:
                raise ValueError(f"the mean burst is {self.mean_burst:g} packets; at least 1 is needed")
            if self.packet_loss * (1 + self.mean_burst) > self.mean_burst:
                raise ValueError(
                    f"a loss of {self.packet_loss:g} in bursts of {self.mean_burst:g} packets leaves no gaps between "
                    f"bursts; the mean burst must be at least {self.packet_loss:g} / {1 - self.packet_loss:g}"
                )
        if self.reorder < 0:
            raise ValueError(f"reorder is {self.reorder}; a packet cannot arrive a negative number of positions late")
        for before, after in zip(self.contacts, self.contacts[1:], strict=False):
            if after.start_s < before.start_s + before.seconds:
                raise ValueError(f"the contact at {after.start_s:g} s begins before the contact before it ends")


class Fate(StrEnum):
    """Result of sending one packet."""

    ARRIVED = "arrived"
    DAMAGED = "damaged"
    """The packet arrived with bit errors."""
    LOST = "lost"
    IN_OUTAGE = "in outage"
    NOT_SENT = "not sent"
    """No contact had room for the packet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """Packets after the channel.

    Attributes:
        fates: fate of each packet, in the order in which the packets were made.
        sent_s: time at which the last bit of each packet left, (packet,); NaN for a packet that was not sent.
        packets: packets that arrived, in the order of arrival.
    """

    fates: tuple[Fate, ...]
    sent_s: NDArray[np.float64]
    packets: tuple[bytes, ...]


def passage(packets: Sequence[bytes], made_s: NDArray[np.float64], channel: Channel, seed: int) -> Passage:
    """Send packets through a channel.

    Args:
        packets: packets in the order in which they were made.
        made_s: time at which each packet was made, (packet,), never falling.
        channel: properties of the channel.
        seed: seed of all random numbers.
    """
    loss_rng, error_rng, order_rng = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3))
    sent_s = sending_times(made_s, [len(packet) for packet in packets], channel.contacts)
    lost = lost_packets(len(packets), channel.packet_loss, channel.mean_burst, loss_rng)
    fates, arrived = [], []
    for packet, time, is_lost in zip(packets, sent_s, lost, strict=True):
        if np.isnan(time):
            fates.append(Fate.NOT_SENT)
        elif any(outage.start_s <= time < outage.start_s + outage.seconds for outage in channel.outages):
            fates.append(Fate.IN_OUTAGE)
        elif is_lost:
            fates.append(Fate.LOST)
        else:
            received = with_bit_errors(packet, channel.bit_error_rate, error_rng)
            fates.append(Fate.ARRIVED if received == packet else Fate.DAMAGED)
            arrived.append(received)
    delays = order_rng.integers(0, channel.reorder, len(arrived), endpoint=True)
    # A packet with delay d arrives directly after the packet that was made d positions later.
    order = np.argsort(2 * (np.arange(len(arrived)) + delays) + (delays > 0), kind="stable")
    return Passage(fates=tuple(fates), sent_s=sent_s, packets=tuple(arrived[index] for index in order))


def lost_packets(count: int, loss: float, mean_burst: float | None, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return which packets are lost, (packet,).

    A Gilbert–Elliott chain has a good state that loses no packet and a bad state that loses every packet (E. N.
    Gilbert, Capacity of a Burst-Noise Channel, 1960). The chain leaves the bad state with probability 1 / mean burst.
    The probability to enter the bad state makes its share of time equal to the loss. If both states have the same
    probability of a loss next, packets are lost independently.
    """
    if loss in {0, 1}:
        return np.full(count, bool(loss))
    stay = loss if mean_burst is None else 1 - 1 / mean_burst
    enter = loss if mean_burst is None else loss / ((1 - loss) * mean_burst)
    lost = np.empty(count, np.bool_)
    bad = False
    for index, draw in enumerate(rng.random(count)):
        bad = bool(draw < (loss if index == 0 else stay if bad else enter))
        lost[index] = bad
    return lost


def with_bit_errors(packet: bytes, rate: float, rng: np.random.Generator) -> bytes:
    """Return the packet after inverting each bit with probability `rate`."""
    flips = int(rng.binomial(8 * len(packet), rate))
    if not flips:
        return packet
    octets = np.frombuffer(packet, np.uint8).copy()
    bits = rng.choice(8 * len(packet), flips, replace=False)
    np.bitwise_xor.at(octets, bits // 8, (1 << (bits % 8)).astype(np.uint8))
    return octets.tobytes()


def sending_times(
    made_s: NDArray[np.float64], octets: Sequence[int], contacts: Sequence[Contact]
) -> NDArray[np.float64]:
    """Return the time at which the last bit of each packet leaves, (packet,); NaN if no contact has room for it.

    Packets leave in the order in which they were made. A packet that does not fit into the rest of a contact waits for
    the next contact.
    """
    if not contacts:
        return made_s.copy()
    sent_s = np.full(len(octets), np.nan)
    contact, free_s = 0, contacts[0].start_s
    for index, (ready_s, size) in enumerate(zip(made_s, octets, strict=True)):
        while contact < len(contacts):
            window = contacts[contact]
            end_s = max(ready_s, free_s, window.start_s) + size * window.seconds / window.octets
            # Allow a millionth of the time of a packet for rounding, so that a contact holds exactly its budget.
            if end_s <= window.start_s + window.seconds * (1 + 1e-6 * size / window.octets):
                sent_s[index] = free_s = end_s
                break
            contact += 1
        else:
            break
    return sent_s
