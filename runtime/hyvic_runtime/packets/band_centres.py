"""Centres of bands, in a third of the octets that single precision takes.

Sensors' tables give centres to some thousandths of a nm, and neighbours lie about as far apart as those before them.
So packets carry whole picometres, which no calibration reaches, as differences of differences.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.errors import DecodeError
from hyvic_runtime.support.bounded_zlib import inflate

PM_PER_NM = 1000
MAX_PM = 2**29
"""0.5 mm. Differences of differences of smaller numbers fit 32 bits."""
LARGEST_CHANGE = 1e-5
"""That rounding may make to a centre, as a share of it: none from 50 nm on changes more."""
_OCTETS = 4


def pack_band_centres(centres: NDArray[np.float64]) -> bytes | None:
    """Octets of centres; None where rounding would change one too much.

    Args:
        centres: (band,) in nm.
    """
    picometres = np.rint(centres * PM_PER_NM)
    if (abs(picometres / PM_PER_NM - centres) > LARGEST_CHANGE * centres).any() or picometres.max() > MAX_PM:
        return None
    differences = np.diff(picometres.astype(np.int64), n=2, prepend=[0, 0]).astype(">i4")
    # The high octets of all first, which are mostly alike.
    return zlib.compress(differences.view(np.uint8).reshape(-1, _OCTETS).T.tobytes(), 9)


def unpack_band_centres(octets: bytes, bands: int) -> NDArray[np.float64]:
    """Inverse of `pack_band_centres`, (band,) in nm.

    Raises:
        DecodeError: the octets cannot be what it wrote for so many bands.
    """
    data = inflate(octets, most=_OCTETS * bands, of="a field of band centres")
    if len(data) != _OCTETS * bands:
        raise DecodeError(f"a field of band centres holds {len(data)} octets for {bands} bands")
    differences = np.frombuffer(data, np.uint8).reshape(_OCTETS, bands).T.copy().view(">i4")[:, 0]
    # Sums of sums of 2^16 numbers of 31 bits fit 63.
    picometres = differences.astype(np.int64).cumsum().cumsum()
    if not (picometres.min() > 0 and picometres.max() <= MAX_PM):
        raise DecodeError(f"band centres from {picometres.min()} to {picometres.max()} pm; 1 to {MAX_PM} are possible")
    return picometres / PM_PER_NM
