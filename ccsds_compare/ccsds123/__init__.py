"""CCSDS 123.0-B-2: low-complexity lossless and near-lossless compression of multi- and hyperspectral images.

The whole standard, encoder and decoder; its clauses and equations are cited where they are followed.

>>> import numpy as np
>>> cube = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)  # (line, sample, band)
>>> octets = compress(cube, Parameters(dynamic_range=16))
>>> bool((decompress(octets) == cube).all())
True

Near-lossless, each sample within ±3:

>>> limits = ErrorLimits(absolute=ErrorLimit(bit_depth=4, values=((3,),)))
>>> near = decompress(compress(cube, Parameters(error_limits=limits, entropy_coder=Hybrid())))
>>> int(abs(near.astype(int) - cube).max()) <= 3
True
"""

from ccsds123.codec import compress, decompress
from ccsds123.entropy_coders import ENTROPY_CODERS, BlockAdaptive, EntropyCoder, Hybrid, SampleAdaptive
from ccsds123.parameters import (
    ErrorLimit,
    ErrorLimits,
    ImageShape,
    LocalSum,
    Parameters,
    Predictor,
    SampleRepresentatives,
    WeightExponentOffsets,
    WeightInitialization,
)
from ccsds123.rate import RateMatch, match_ratio
from ccsds123.violations import ParameterError

__all__ = [
    "ENTROPY_CODERS",
    "BlockAdaptive",
    "EntropyCoder",
    "ErrorLimit",
    "ErrorLimits",
    "Hybrid",
    "ImageShape",
    "LocalSum",
    "ParameterError",
    "Parameters",
    "Predictor",
    "RateMatch",
    "SampleAdaptive",
    "SampleRepresentatives",
    "WeightExponentOffsets",
    "WeightInitialization",
    "compress",
    "decompress",
    "match_ratio",
]
