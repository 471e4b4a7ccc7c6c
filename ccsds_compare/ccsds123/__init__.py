"""CCSDS 123.0-B-2: low-complexity lossless and near-lossless compression of multi- and hyperspectral images.

    from ccsds123 import Parameters, compress, decompress

    octets = compress(cube, Parameters(dynamic_range=16))       # cube: (line, sample, band)
    assert (decompress(octets) == cube).all()

    limits = ErrorLimits(absolute=ErrorLimit(bit_depth=4, values=((3,),)))
    near = decompress(compress(cube, Parameters(error_limits=limits, entropy_coder=Hybrid())))  # each sample within ±3

The whole standard, encoder and decoder; its clauses and equations are cited where they are followed.
"""

from ccsds123.codec import compress, decompress
from ccsds123.parameters import (
    BlockAdaptive,
    ErrorLimit,
    ErrorLimits,
    Hybrid,
    ParameterError,
    Parameters,
    Predictor,
    SampleAdaptive,
)
from ccsds123.rate import match_ratio

__all__ = [
    "BlockAdaptive",
    "ErrorLimit",
    "ErrorLimits",
    "Hybrid",
    "ParameterError",
    "Parameters",
    "Predictor",
    "SampleAdaptive",
    "compress",
    "decompress",
    "match_ratio",
]
