"""CCSDS 123.0-B-2 as a codec with a target, and as a lossless one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ccsds123 import EntropyCoder, ErrorLimit, ErrorLimits, LocalSum, Parameters, Predictor
from ccsds123.codec import compress, decompress
from ccsds123.rate import match_ratio
from hyvic_runtime.scene.scene import Cube, Scene

from hyvic_compare.codecs.codec import octet_budget
from hyvic_compare.errors import TargetRatioError

_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ccsds123:
    coder: EntropyCoder

    @property
    def identity(self) -> str:
        return f"{self} version {_VERSION}"

    def decode(self, stream: bytes) -> Cube:
        return decompress(stream)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ccsds123Lossless(_Ccsds123):
    """CCSDS-123 with the default parameters: P = 3, full prediction, wide neighbor-oriented local sums.

    A scene one sample wide gets reduced prediction and column-oriented sums.

    Attributes:
        coder: entropy coder.
    """

    @property
    def name(self) -> str:
        return f"CCSDS-123 lossless, {self.coder.name}"

    def encode_losslessly(self, scene: Scene) -> bytes:
        return compress(scene.cube, _parameters(scene, self.coder))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ccsds123NearLossless(_Ccsds123):
    """CCSDS-123 with the smallest absolute error limit, one for all samples, whose stream keeps the budget.

    The other parameters are as in `Ccsds123Lossless`. The standard was made for small limits. The sample-adaptive coder
    spends at least one bit a sample, so it reaches no ratio above the bit depth.

    Attributes:
        coder: entropy coder.
    """

    @property
    def name(self) -> str:
        return f"CCSDS-123, {self.coder.name}"

    def encode(self, scene: Scene, target_ratio: float) -> bytes:
        budget = octet_budget(scene, target_ratio)
        parameters = _parameters(scene, self.coder)
        # One trial of the largest limit tells as much as a search of ten trials.
        depth = parameters.dynamic_range - 1
        largest = ErrorLimits(absolute=ErrorLimit(bit_depth=depth, values=(((1 << depth) - 1,),)))
        shortest = len(compress(scene.cube, replace(parameters, error_limits=largest)))
        if shortest > budget:
            raise TargetRatioError(codec=self.name, target_ratio=target_ratio, allowed=budget, needed=shortest)
        return match_ratio(scene.cube, parameters, target_ratio).octets


def _parameters(scene: Scene, coder: EntropyCoder) -> Parameters:
    # The book allows no other prediction for an image one sample wide (4.3.1, 4.4.1).
    narrow = Predictor(reduced=True, local_sum=LocalSum.WIDE_COLUMN_ORIENTED)
    return Parameters(
        signed=scene.cube.dtype.kind == "i",
        dynamic_range=8 * scene.cube.dtype.itemsize,
        entropy_coder=coder,
        predictor=narrow if scene.cube.shape[1] == 1 else Predictor(),
    )
