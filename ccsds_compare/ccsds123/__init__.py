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

from ccsds123.codec import compress as compress
from ccsds123.codec import decompress as decompress
from ccsds123.entropy_coders import ENTROPY_CODERS as ENTROPY_CODERS
from ccsds123.entropy_coders import BlockAdaptive as BlockAdaptive
from ccsds123.entropy_coders import EntropyCoder as EntropyCoder
from ccsds123.entropy_coders import Hybrid as Hybrid
from ccsds123.entropy_coders import SampleAdaptive as SampleAdaptive
from ccsds123.parameters import ErrorLimit as ErrorLimit
from ccsds123.parameters import ErrorLimits as ErrorLimits
from ccsds123.parameters import ImageShape as ImageShape
from ccsds123.parameters import LocalSum as LocalSum
from ccsds123.parameters import Parameters as Parameters
from ccsds123.parameters import Predictor as Predictor
from ccsds123.parameters import SampleRepresentatives as SampleRepresentatives
from ccsds123.parameters import WeightExponentOffsets as WeightExponentOffsets
from ccsds123.parameters import WeightInitialization as WeightInitialization
from ccsds123.rate import RateMatch as RateMatch
from ccsds123.rate import match_ratio as match_ratio
from ccsds123.violations import ParameterError as ParameterError
