"""Search of the error limit that meets a target rate, for comparisons at equal rates."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ccsds123.codec import Cube, compress
from ccsds123.parameters import ErrorLimit, ErrorLimits, Parameters
from ccsds123.violations import ParameterError


@dataclass(frozen=True, slots=True, kw_only=True)
class RateMatch:
    """Result of the search.

    Attributes:
        limit: absolute error limit A*; 0 if lossless coding reaches the target.
        parameters: parameters with this limit.
        octets: compressed image.
        ratio: D bits a sample over the bits of the compressed image, at least the target.
    """

    limit: int
    parameters: Parameters
    octets: bytes
    ratio: float


def match_ratio(cube: Cube, parameters: Parameters, target_ratio: float) -> RateMatch:
    """Return the smallest band-independent absolute error limit whose ratio reaches the target.

    Halving the interval takes about ten trials for 16-bit images. The size need not fall with every step of the limit.
    The limit just below the returned one was tried, and its file is too large.

    Args:
        cube: (line, sample, band).
        parameters: all but the error limits, which are replaced, periodic updating included.
        target_ratio: size of the image at D bits a sample over the size of the file.

    Raises:
        ParameterError: not even the largest limit that D allows reaches the target.
    """
    depth = min(parameters.dynamic_range - 1, 16)
    largest = (1 << depth) - 1
    tried: dict[int, RateMatch] = {}

    def reaches(limit: int) -> bool:
        absolute = ErrorLimit(bit_depth=max(limit.bit_length(), 1), values=((limit,),))
        trial = replace(parameters, error_limits=ErrorLimits(absolute=absolute) if limit else None)
        if limit == 0 and trial.sample_representatives is not None:
            trial = replace(trial, sample_representatives=replace(trial.sample_representatives, offset=0))
        octets = compress(cube, trial)
        ratio = cube.size * parameters.dynamic_range / (8 * len(octets))
        tried[limit] = RateMatch(limit=limit, parameters=trial, octets=octets, ratio=ratio)
        return ratio >= target_ratio

    if reaches(0):
        return tried[0]
    # Doubling first: the limits of interest are small, and a trial of a large limit is wasted time.
    low, high = 0, 1
    while not reaches(high):
        if high == largest:
            best = tried[largest].ratio
            raise ParameterError(f"a ratio of {target_ratio:g} is out of reach: the largest limit gives {best:.1f}")
        low, high = high, min(2 * high, largest)
    while high - low > 1:
        middle = (low + high) // 2
        if reaches(middle):
            high = middle
        else:
            low = middle
    return tried[high]
