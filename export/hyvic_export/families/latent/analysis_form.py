"""Form of the analysis transform in a graph.

Its precision changes only the encoder's choice of symbols; the decoder reads any symbols.
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
    """Form of the analysis in a graph.

    Attributes:
        precision: precision of its arithmetic.
        peaks: peaks of every strided convolution, for int8.
        unsigned: True: int8 activations are written as uint8 around 128, which is fast in ONNX Runtime on x86. False:
            as int8 around 0, the only form that TensorRT takes. Both have equal values.
    """

    precision: Precision = Precision.FP32
    peaks: tuple[ConvolutionPeaks, ...] = ()
    unsigned: bool = True
