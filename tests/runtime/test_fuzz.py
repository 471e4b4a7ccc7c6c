"""66,000 mutated, truncated and random streams: a scene or a DecodeError, soon, and in bounded memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz_decoder import BUNDLE, CONCEAL, RESEAL, TIMEOUT_S, WITH_KEY, decode_or_refuse, decoder_of_seeds, seeds
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scenes import ROOT

HYPOTHESIS_STREAMS = {"hyvic": 5_000, "adaptive": 1_000}
LIBFUZZER_STREAMS = {"hyvic": 30_000, "adaptive": 30_000}
"""Hypothesis knows the format and is slow; libFuzzer knows the code's branches and bounds time and memory itself."""


@pytest.fixture(scope="module", params=["hyvic", "adaptive"])
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def bundle(family: str, request: pytest.FixtureRequest) -> Path:
    return BUNDLE if family == "hyvic" else Path(request.getfixturevalue("tiny_adaptive_bundle"))


OPTIONS = [r | k | c for r in (0, RESEAL) for k in (0, WITH_KEY) for c in (0, CONCEAL)]


@st.composite
def damaged_streams(draw: st.DrawFn, streams: list[list[bytes]]) -> bytes:
    """A few blows at a stream: to octets, to packets, to its length."""
    packets = list(draw(st.sampled_from(streams)))
    for _ in range(draw(st.integers(0, 3))):
        index = draw(st.integers(0, len(packets) - 1))
        blow = draw(st.sampled_from(("octet", "drop", "copy", "swap", "garbage", "cut", "splice")))
        packet = packets[index]
        if blow == "octet":
            at = draw(st.integers(0, max(0, len(packet) - 1)))
            packets[index] = packet[:at] + draw(st.binary(min_size=1, max_size=4)) + packet[at + 1 :]
        elif blow == "drop" and len(packets) > 1:
            del packets[index]
        elif blow == "copy":
            packets.insert(draw(st.integers(0, len(packets))), packet)
        elif blow == "swap":
            other = draw(st.integers(0, len(packets) - 1))
            packets[index], packets[other] = packets[other], packet
        elif blow == "garbage":
            packets.insert(index, draw(st.binary(max_size=60)))
        elif blow == "cut":
            packets[index] = packet[: draw(st.integers(0, len(packet)))]
        else:
            other = packets[draw(st.integers(0, len(packets) - 1))]
            at = draw(st.integers(0, len(packet)))
            packets[index] = packet[:at] + other[at:]
    stream = b"".join(packets)
    return stream[: draw(st.one_of(st.just(len(stream)), st.integers(0, len(stream))))]


@pytest.mark.slow
def test_damaged_and_random_streams_are_decoded_or_refused(family: str, bundle: Path) -> None:
    outcomes = {True: 0, False: 0}
    decoder, damaged = decoder_of_seeds(bundle), damaged_streams(seeds(bundle))

    @given(st.one_of(damaged, damaged, damaged, st.binary(max_size=400)), st.data())
    @settings(
        max_examples=HYPOTHESIS_STREAMS[family],
        deadline=1000 * TIMEOUT_S,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def fuzz(stream: bytes, data: st.DataObject) -> None:
        outcomes[decode_or_refuse(decoder, stream, data.draw(st.sampled_from(OPTIONS)))] += 1

    fuzz()
    # Neither all refused, which would reach little, nor all decoded.
    assert sum(outcomes.values()) >= HYPOTHESIS_STREAMS[family]
    assert min(outcomes.values()) > HYPOTHESIS_STREAMS[family] // 20, outcomes


@pytest.mark.slow
def test_what_libfuzzer_makes_of_streams_is_decoded_or_refused(family: str, bundle: Path) -> None:
    pytest.importorskip("atheris")
    runs = str(LIBFUZZER_STREAMS[family])
    command = [sys.executable, str(ROOT / "tests" / "platform" / "fuzz_decoder.py"), runs, "1", str(bundle)]
    # libFuzzer limits the peak memory that Linux reports, and a process inherits its parent's: a shell's is small.
    done = subprocess.run(
        ["sh", "-c", '"$@"; exit $?', "sh", *command],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert f"Done {runs} runs" in done.stdout
