"""Packs band centres into a third of the octets that single precision takes.

Sensor tables give band centres to a few thousandths of a nm, and the spacing of neighbouring bands changes slowly.
So packets carry whole picometres, which are finer than any calibration, and code them as second differences:

    centres (nm) ──round to pm──▶ second differences (int32) ──bytes by significance──▶ zlib
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.errors import DecodeError
from hyvic_runtime.support.bounded_zlib import inflate

PM_PER_NM = 1000
MAX_PM = 2**29
"""0.5 mm. Second differences of centres up to this value fit 32 bits."""
LARGEST_CHANGE = 1e-5
"""Largest relative change of a centre by rounding; a centre of 50 nm or more never changes by more."""
_OCTETS = 4


def pack_band_centres(centres: NDArray[np.float64]) -> bytes | None:
    """Return the packed centres, or None if rounding changes a centre by more than LARGEST_CHANGE.

    Args:
        centres: (band,) in nm.

    >>> centres = 400 + 7.25 * np.arange(224)
    >>> packed = pack_band_centres(centres)
    >>> len(packed) < 4 * len(centres) / 3
    True
    >>> bool((unpack_band_centres(packed, bands=224) == centres).all())
    True
    """
    picometres = np.rint(centres * PM_PER_NM)
    if (abs(picometres / PM_PER_NM - centres) > LARGEST_CHANGE * centres).any() or picometres.max() > MAX_PM:
        return None
    differences = np.diff(picometres.astype(np.int64), n=2, prepend=[0, 0]).astype(">i4")
    # All most significant octets stand first: nearly all of them are equal, so zlib codes them in a few bits.
    return zlib.compress(differences.view(np.uint8).reshape(-1, _OCTETS).T.tobytes(), 9)


def unpack_band_centres(octets: bytes, bands: int) -> NDArray[np.float64]:
    """Return the centres that `pack_band_centres` packed, (band,) in nm.

    Raises:
        DecodeError: the octets are not the packed centres of this number of bands.
    """
    data = inflate(octets, most=_OCTETS * bands, of="a field of band centres")
    if len(data) != _OCTETS * bands:
        raise DecodeError(
            f"a field of band centres holds {len(data)} octets; {bands} bands need {_OCTETS * bands} octets"
        )
    differences = np.frombuffer(data, np.uint8).reshape(_OCTETS, bands).T.copy().view(">i4")[:, 0]
    # Double sums of 2^16 numbers of 31 bits fit 63 bits.
    picometres = differences.astype(np.int64).cumsum().cumsum()
    if not (picometres.min() > 0 and picometres.max() <= MAX_PM):
        raise DecodeError(f"band centres lie at {picometres.min()}..{picometres.max()} pm; 1..{MAX_PM} are valid")
    return picometres / PM_PER_NM
