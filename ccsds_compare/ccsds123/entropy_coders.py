"""Parameters of the three entropy coders, CCSDS 123.0-B-2, 5.4.3, checked when they are put together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from ccsds123.record import Field, Record
from ccsds123.violations import Violations


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleAdaptive(Record):
    """Sample-adaptive entropy coder, 5.4.3.2.

    >>> SampleAdaptive(unary_length_limit=40)
    Traceback (most recent call last):
    ...
    ccsds123.violations.ParameterError: U_max 40 is outside 8..32 (5.4.3.2.2.2)

    Attributes:
        unary_length_limit: U_max, 8..32 (5.4.3.2.2.2).
        rescaling_counter_size: γ*, max{4, γ0 + 1}..11 (5.4.3.2.3.4).
        initial_count_exponent: γ0, 1..8 (5.4.3.2.3.2).
        accumulator_initialization: K for all bands, or k″_z of every band, 0..min(D − 2, 14) (5.4.3.2.3.3); None where
            a header leaves the table out.
        in_header: whether a table of k″_z is in the header (5.3.4.2.2).
    """

    name: ClassVar[str] = "sample-adaptive"

    unary_length_limit: Annotated[int, Field("U_max", 8, 32, "5.4.3.2.2.2", width=5, zero=32, key="U_max")] = 18
    rescaling_counter_size: Annotated[int, Field(width=3, zero=4, key="gamma_star")] = 6
    initial_count_exponent: Annotated[int, Field("γ0", 1, 8, "5.4.3.2.3.2", width=3, zero=8, key="gamma_0")] = 1
    accumulator_initialization: Annotated[int | tuple[int, ...] | None, Field("k″", 0, 14, "5.4.3.2.3.3")] = 0
    in_header: bool = True

    def _check(self, wrong: Violations) -> None:
        wrong.outside("γ*", self.rescaling_counter_size, max(4, self.initial_count_exponent + 1), 11, "5.4.3.2.3.4")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hybrid(Record):
    """Hybrid entropy coder, 5.4.3.3.

    Attributes:
        unary_length_limit: U_max, 8..32 (5.4.3.3.3.2.2).
        rescaling_counter_size: γ*, max{4, γ0 + 1}..11 (5.4.3.3.4.5).
        initial_count_exponent: γ0, 1..8 (5.4.3.3.4.2).
        initial_accumulators: Σ̃_z(0), one for all or one a band, 0..2^(D + γ0) − 1 (5.4.3.3.4.3); about
            4 · 2^γ0 times the expected mean index is good. Files do not carry it, because a decoder does not need it.
    """

    name: ClassVar[str] = "hybrid"

    unary_length_limit: Annotated[int, Field("U_max", 8, 32, "5.4.3.3.3.2.2", width=5, zero=32, key="U_max")] = 18
    rescaling_counter_size: Annotated[int, Field(width=3, zero=4, key="gamma_star")] = 6
    initial_count_exponent: Annotated[int, Field("γ0", 1, 8, "5.4.3.3.4.2", width=3, zero=8, key="gamma_0")] = 1
    initial_accumulators: Annotated[int | tuple[int, ...], Field("Σ̃(0)", clause="5.4.3.3.4.3")] = 0

    def _check(self, wrong: Violations) -> None:
        wrong.outside("γ*", self.rescaling_counter_size, max(4, self.initial_count_exponent + 1), 11, "5.4.3.3.4.5")


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockAdaptive(Record):
    """Block-adaptive entropy coder, 5.4.3.4: the coder of CCSDS 121.0.

    Attributes:
        block_size: J, 8, 16, 32 or 64 (5.4.3.4.2.4).
        restricted: the Restricted set of code options, D ≤ 4 only (5.4.3.4.2.6).
        reference_sample_interval: r, 1..4096 (5.4.3.4.2.5), in blocks.
    """

    name: ClassVar[str] = "block-adaptive"

    block_size: Annotated[int, Field("J", 8, 64, "5.4.3.4.2.4", reserved=1, width=2, zero=8, powers=True, key="J")] = 32
    restricted: Annotated[bool, Field(width=1, key="restricted_code_options")] = False
    reference_sample_interval: Annotated[int, Field("r", 1, 4096, "5.4.3.4.2.5", width=12, zero=4096, key="r")] = 4096


EntropyCoder = SampleAdaptive | Hybrid | BlockAdaptive
ENTROPY_CODERS: tuple[type[EntropyCoder], ...] = (SampleAdaptive, Hybrid, BlockAdaptive)
"""Types in the order of the header's entropy coder type (table 5-3)."""
