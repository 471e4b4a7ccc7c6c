"""The channel against its definitions. Seeds are fixed, so bounds of five standard deviations never fail by chance."""

from __future__ import annotations

import numpy as np
import pytest
from hyvic_runtime.simulation.channel import (
    Channel,
    Contact,
    Fate,
    Outage,
    lost_packets,
    passage,
    sending_times,
    with_bit_errors,
)

COUNT = 200_000


@pytest.mark.parametrize("mean_burst", [None, 1.5, 4.0, 20.0])
@pytest.mark.parametrize("loss", [0.001, 0.01, 0.1, 0.3])
def test_loss_and_burst_length_are_those_asked_for(loss: float, mean_burst: float | None) -> None:
    lost = lost_packets(COUNT, loss, mean_burst, np.random.default_rng(1))
    length = 1 / (1 - loss) if mean_burst is None else mean_burst
    # A two-state chain with eigenvalue e: the mean of n states has variance p (1 - p) (1 + e) / (1 - e) / n.
    eigenvalue = 1 - 1 / length - loss / ((1 - loss) * length)
    deviation = np.sqrt(loss * (1 - loss) * (1 + eigenvalue) / (1 - eigenvalue) / COUNT)
    assert abs(lost.mean() - loss) < 5 * deviation

    edges = np.diff(np.concatenate([[0], lost.astype(np.int8), [0]]))
    runs = np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)
    # Run lengths are geometric with mean L and variance L (L - 1).
    deviation = np.sqrt(length * (length - 1) / len(runs))
    assert abs(runs.mean() - length) < 5 * deviation + 1e-12


def test_losses_without_bursts_are_independent() -> None:
    lost = lost_packets(COUNT, 0.2, None, np.random.default_rng(2))
    correlation = np.corrcoef(lost[:-1], lost[1:])[0, 1]
    assert abs(correlation) < 5 / np.sqrt(COUNT)


def test_a_larger_independent_loss_contains_the_smaller() -> None:
    few, many = (lost_packets(5000, p, None, np.random.default_rng(3)) for p in (0.01, 0.1))
    assert few.sum() < many.sum()
    assert not (few & ~many).any()


def test_all_or_nothing_is_lost_at_the_ends() -> None:
    assert not lost_packets(100, 0, 3, np.random.default_rng(0)).any()
    assert lost_packets(100, 1, None, np.random.default_rng(0)).all()


@pytest.mark.parametrize("rate", [1e-4, 1e-2, 0.5])
def test_bits_are_inverted_at_the_rate(rate: float) -> None:
    packet = bytes(COUNT)
    flipped = int(np.unpackbits(np.frombuffer(with_bit_errors(packet, rate, np.random.default_rng(4)), np.uint8)).sum())
    bits = 8 * COUNT
    assert abs(flipped - rate * bits) < 5 * np.sqrt(bits * rate * (1 - rate))


def test_every_bit_is_inverted_at_rate_one() -> None:
    assert with_bit_errors(b"\x0f\xa5", 1.0, np.random.default_rng(0)) == b"\xf0\x5a"


def _packets(count: int) -> list[bytes]:
    return [index.to_bytes(4, "big") for index in range(count)]


@pytest.mark.parametrize("places", [1, 7])
def test_packets_arrive_late_by_no_more_places_than_allowed(places: int) -> None:
    passed = passage(_packets(1000), np.zeros(1000), Channel(reorder=places), 5)
    order = [int.from_bytes(packet, "big") for packet in passed.packets]
    assert sorted(order) == list(range(1000))
    assert 0 < max(position - number for position, number in enumerate(order)) <= places


def test_packets_wait_for_contacts_and_their_budgets() -> None:
    contacts = (Contact(start_s=10, seconds=10, octets=1000), Contact(start_s=100, seconds=1, octets=500))
    made = np.array([0.0, 12.0, 12.0, 12.0, 13.0])
    # At 100 octets/s: 10 to 13; 13 to 18; 300 octets do not fit the rest, nor overtake; at 500 octets/s.
    sent = sending_times(made, [300, 500, 300, 100, 200], contacts)
    assert sent[:4].tolist() == pytest.approx([13, 18, 100.6, 100.8])
    assert np.isnan(sent[4])


def test_a_budget_of_exactly_its_packets_is_enough() -> None:
    contact = Contact(start_s=0.1, seconds=0.3, octets=77 * 13)
    assert not np.isnan(sending_times(np.zeros(13), [77] * 13, [contact])).any()
    assert np.isnan(sending_times(np.zeros(14), [77] * 14, [contact])).sum() == 1


def test_what_is_sent_in_an_outage_is_lost() -> None:
    channel = Channel(outages=(Outage(start_s=2, seconds=3),))
    passed = passage(_packets(8), np.arange(8.0), channel, 0)
    assert [fate is Fate.IN_OUTAGE for fate in passed.fates] == [False, False, True, True, True, False, False, False]
    assert len(passed.packets) == 5


def test_a_seed_gives_one_passage_and_effects_do_not_disturb_each_other() -> None:
    packets, made = _packets(2000), np.zeros(2000)
    plain = passage(packets, made, Channel(packet_loss=0.1), 9)
    assert passage(packets, made, Channel(packet_loss=0.1), 9).packets == plain.packets
    assert passage(packets, made, Channel(packet_loss=0.1), 10).fates != plain.fates
    noisy = passage(packets, made, Channel(packet_loss=0.1, bit_error_rate=1e-2, reorder=3), 9)
    lost = [[fate is Fate.LOST for fate in passed.fates] for passed in (plain, noisy)]
    assert lost[0] == lost[1]
    assert noisy.fates.count(Fate.DAMAGED) > 0


def test_channels_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match=r"packet loss 1\.5 is outside 0\.\.1"):
        Channel(packet_loss=1.5)
    with pytest.raises(ValueError, match="bit error rate nan"):
        Channel(bit_error_rate=float("nan"))
    with pytest.raises(ValueError, match=r"mean burst is 0\.5 packets"):
        Channel(mean_burst=0.5)
    with pytest.raises(ValueError, match=r"leaves no gaps between bursts; the mean burst must be at least 0\.9 / 0\.1"):
        Channel(packet_loss=0.9, mean_burst=2)
    with pytest.raises(ValueError, match="begins before the contact before it ends"):
        Channel(contacts=(Contact(start_s=0, seconds=2, octets=9), Contact(start_s=1, seconds=2, octets=9)))
    with pytest.raises(ValueError, match="an outage of 0 s"):
        Outage(start_s=1, seconds=0)
    with pytest.raises(ValueError, match="budget of a contact is 0 octets"):
        Contact(start_s=1, seconds=1, octets=0)
    with pytest.raises(ValueError, match="reorder is -1"):
        Channel(reorder=-1)
