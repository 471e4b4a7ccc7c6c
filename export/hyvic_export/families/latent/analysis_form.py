"""How an analysis transform is written.

Its precision moves the encoder's choice of symbols and nothing else: whatever symbols it chooses, the decoder reads.
"""

from __future__ import annotations

from dataclasses import dataclass

from hyvic_export.graph_nodes import Floats
from hyvic_export.precision import Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvolutionPeaks:
    """Largest magnitudes on both sides of one strided convolution, each (N,), above zero."""

    inputs: Floats
    outputs: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisForm:
    """How the analysis is written.

    Attributes:
        precision: of its arithmetic.
        peaks: of every strided convolution, for int8.
        unsigned: whether int8 activations are written as uint8 about 128, which ONNX Runtime is fast at on x86, or as
            int8 about 0, which is all that TensorRT takes. The values are the same.
    """

    precision: Precision = Precision.FP32
    peaks: tuple[ConvolutionPeaks, ...] = ()
    unsigned: bool = True
