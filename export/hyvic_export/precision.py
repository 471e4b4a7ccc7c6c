"""Precisions of the analysis; the entropy path is exact in each."""

from __future__ import annotations

from enum import StrEnum


class Precision(StrEnum):
    """How many bits the analysis computes in."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"
    """Strided convolutions alone; the rest stays in float32."""

    @classmethod
    def named(cls, name: str) -> Precision:
        """The precision of that name.

        Raises:
            ValueError: there is none.
        """
        if name not in cls.__members__.values():
            raise ValueError(f"unknown precision {name!r}; choose among {', '.join(cls)}")
        return cls(name)
