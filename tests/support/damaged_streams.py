"""Streams damaged at random, and what a decoder may make of them."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hyvic_runtime.codec.quality_map import Quality
from hyvic_runtime.errors import DecodeError
from hyvic_runtime.families.latent.decoder import LatentDecoder


def check_marks_of_damage(decoder: LatentDecoder, stream: bytes, data: st.DataObject, longest: int) -> None:
    """Replace up to four stretches of a sound stream: it is refused, or what is called exact is."""
    whole = decoder.decode(stream).scene.cube
    damaged = bytearray(stream)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(damaged) - 1))
        damaged[start : start + data.draw(st.integers(0, longest))] = data.draw(st.binary(max_size=20))
    try:
        decoded = decoder.decode(bytes(damaged), conceal=True)
    except DecodeError:
        return
    exact = decoded.quality == Quality.EXACT
    assert np.array_equal(decoded.scene.cube[exact], whole[exact])
