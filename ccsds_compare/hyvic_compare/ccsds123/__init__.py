"""CCSDS 123.0-B-2: low-complexity lossless and near-lossless compression of multi- and hyperspectral images.

    from hyvic_compare.ccsds123 import Parameters, compress, decompress

    octets = compress(cube, Parameters(dynamic_range=16))       # cube: (line, sample, band)
    assert (decompress(octets) == cube).all()

The whole standard, encoder and decoder; its clauses and equations are cited where they are followed.
"""

from hyvic_compare.ccsds123.codec import compress, decompress
from hyvic_compare.ccsds123.parameters import Parameters
from hyvic_compare.ccsds123.rate import match_ratio

__all__ = ["Parameters", "compress", "decompress", "match_ratio"]
