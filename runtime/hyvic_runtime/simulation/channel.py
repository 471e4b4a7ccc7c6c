"""What happens to packets between the satellite and the ground: waiting, loss, bit errors, another order.

    made ──▶ queue ──contacts──▶ sent ──outages──▶ ──Gilbert–Elliott──▶ ──bit errors──▶ ──reordering──▶ arrived

Times are simulated seconds from the first line's begin. Everything random comes from one seed, and each effect has
a generator of its own, so that switching one on leaves the others' draws as they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """A time in which everything sent is lost.

    Attributes:
        start_s, seconds: when and how long.
    """

    start_s: float
    seconds: float

    def __post_init__(self) -> None:
        _check_window("an outage", self.start_s, self.seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """A time in which the ground can be reached.

    Attributes:
        start_s, seconds: when and how long.
        octets: its budget, sent at an even rate over its time.
    """

    start_s: float
    seconds: float
    octets: int

    def __post_init__(self) -> None:
        _check_window("a contact", self.start_s, self.seconds)
        if self.octets < 1:
            raise ValueError(f"a contact's budget is {self.octets} octets; at least one is needed")


def _check_window(what: str, start_s: float, seconds: float) -> None:
    if not (0 <= start_s < np.inf and 0 < seconds < np.inf):
        raise ValueError(f"{what} of {seconds:g} s at {start_s:g} s cannot be; use seconds from the first line's begin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A downlink.

    Attributes:
        packet_loss: share of packets that are lost, 0..1.
        mean_burst: mean length of a run of lost packets, at least 1; None: packets are lost independently.
        bit_error_rate: probability that a bit arrives inverted, 0..1.
        reorder: places by which a packet may arrive late.
        outages: when all is lost.
        contacts: when packets can be sent, in order of time; none: at once and without limit.
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
                raise ValueError(f"mean burst {self.mean_burst:g} is no length of at least one packet")
            if self.packet_loss * (1 + self.mean_burst) > self.mean_burst:
                raise ValueError(
                    f"a loss of {self.packet_loss:g} in bursts of {self.mean_burst:g} leaves no gaps between them; "
                    f"bursts of {self.packet_loss:g} / {1 - self.packet_loss:g} packets or longer are possible"
                )
        if self.reorder < 0:
            raise ValueError(f"packets cannot arrive {self.reorder} places late")
        for before, after in zip(self.contacts, self.contacts[1:], strict=False):
            if after.start_s < before.start_s + before.seconds:
                raise ValueError(f"the contact at {after.start_s:g} s begins before the one before it ends")


class Fate(StrEnum):
    """What became of a packet."""

    ARRIVED = "arrived"
    DAMAGED = "damaged"
    """It arrived with bit errors."""
    LOST = "lost"
    IN_OUTAGE = "in outage"
    NOT_SENT = "not sent"
    """No contact had room for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """Packets after the channel.

    Attributes:
        fates: of every packet, in the order they were made.
        sent_s: when its last bit left, (packet,); not a number where it was not sent.
        packets: what arrived, in the order of arrival.
    """

    fates: tuple[Fate, ...]
    sent_s: NDArray[np.float64]
    packets: tuple[bytes, ...]


def passage(packets: Sequence[bytes], made_s: NDArray[np.float64], channel: Channel, seed: int) -> Passage:
    """Send packets through a channel.

    Args:
        packets: in the order they were made.
        made_s: when, (packet,), never falling.
        channel: what they pass.
        seed: of everything random.
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
    places = order_rng.integers(0, channel.reorder, len(arrived), endpoint=True)
    # Behind the packet that many places on, before the next.
    order = np.argsort(2 * (np.arange(len(arrived)) + places) + (places > 0), kind="stable")
    return Passage(fates=tuple(fates), sent_s=sent_s, packets=tuple(arrived[index] for index in order))


def lost_packets(count: int, loss: float, mean_burst: float | None, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which packets are lost, (packet,).

    The Gilbert–Elliott chain with a good state that loses nothing and a bad state that loses all (E. N. Gilbert,
    Capacity of a Burst-Noise Channel, 1960): it leaves the bad state with probability 1 / mean burst, and enters it
    so that its share of time is the loss. With equal chances in both states packets are lost independently.
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
    """The packet with every bit inverted with that probability."""
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
    """When the last bit of each packet leaves, (packet,), not a number for what no contact had room for.

    Packets leave in the order they were made. One that does not fit what is left of a contact waits for the next.
    """
    if not contacts:
        return made_s.copy()
    sent_s = np.full(len(octets), np.nan)
    contact, free_s = 0, contacts[0].start_s
    for index, (ready_s, size) in enumerate(zip(made_s, octets, strict=True)):
        while contact < len(contacts):
            window = contacts[contact]
            end_s = max(ready_s, free_s, window.start_s) + size * window.seconds / window.octets
            # A millionth of a packet's time, for rounding: a budget of exactly its packets is enough.
            if end_s <= window.start_s + window.seconds * (1 + 1e-6 * size / window.octets):
                sent_s[index] = free_s = end_s
                break
            contact += 1
        else:
            break
    return sent_s
