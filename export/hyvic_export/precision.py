"""Precisions of the analysis; the entropy path is exact in each."""

from __future__ import annotations

from enum import StrEnum


class Precision(StrEnum):
    """Number format of the analysis."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"
    """Only strided convolutions are in int8; all other layers stay in float32."""

    @classmethod
    def _missing_(cls, value: object) -> None:
        raise ValueError(f"unknown precision {value!r}; choose among {', '.join(cls)}")
