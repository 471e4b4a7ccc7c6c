"""Parameters of the three entropy coders, CCSDS 123.0-B-2, 5.4.3, checked when they are put together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ccsds123.violations import Violations, settle


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleAdaptive:
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

    unary_length_limit: int = 18
    rescaling_counter_size: int = 6
    initial_count_exponent: int = 1
    accumulator_initialization: int | tuple[int, ...] | None = 0
    in_header: bool = True

    def __post_init__(self) -> None:
        settle(self)
        wrong = Violations()
        _check_statistics(wrong, self, clauses=("5.4.3.2.2.2", "5.4.3.2.3.2", "5.4.3.2.3.4"))
        wrong.any_outside("k″", band_values(self.accumulator_initialization), 0, 14, "5.4.3.2.3.3")
        wrong.complain()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hybrid:
    """Hybrid entropy coder, 5.4.3.3.

    Attributes:
        unary_length_limit: U_max, 8..32 (5.4.3.3.3.2.2).
        rescaling_counter_size: γ*, max{4, γ0 + 1}..11 (5.4.3.3.4.5).
        initial_count_exponent: γ0, 1..8 (5.4.3.3.4.2).
        initial_accumulators: Σ̃_z(0), one for all or one a band, 0..2^(D + γ0) − 1 (5.4.3.3.4.3); about
            4 · 2^γ0 times the expected mean index is good. Files do not carry it, because a decoder does not need it.
    """

    name: ClassVar[str] = "hybrid"

    unary_length_limit: int = 18
    rescaling_counter_size: int = 6
    initial_count_exponent: int = 1
    initial_accumulators: int | tuple[int, ...] = 0

    def __post_init__(self) -> None:
        settle(self)
        wrong = Violations()
        _check_statistics(wrong, self, clauses=("5.4.3.3.3.2.2", "5.4.3.3.4.2", "5.4.3.3.4.5"))
        wrong.complain()


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockAdaptive:
    """Block-adaptive entropy coder, 5.4.3.4: the coder of CCSDS 121.0.

    Attributes:
        block_size: J, 8, 16, 32 or 64 (5.4.3.4.2.4).
        restricted: the Restricted set of code options, D ≤ 4 only (5.4.3.4.2.6).
        reference_sample_interval: r, 1..4096 (5.4.3.4.2.5), in blocks.
    """

    name: ClassVar[str] = "block-adaptive"

    block_size: int = 32
    restricted: bool = False
    reference_sample_interval: int = 4096

    def __post_init__(self) -> None:
        settle(self)
        wrong = Violations()
        if self.block_size not in (8, 16, 32, 64):
            wrong.append(f"J {self.block_size} is not 8, 16, 32 or 64 (5.4.3.4.2.4)")
        wrong.outside("r", self.reference_sample_interval, 1, 4096, "5.4.3.4.2.5")
        wrong.complain()


EntropyCoder = SampleAdaptive | Hybrid | BlockAdaptive
ENTROPY_CODERS: tuple[type[EntropyCoder], ...] = (SampleAdaptive, Hybrid, BlockAdaptive)
"""Types in the order of the header's entropy coder type (table 5-3)."""


def band_values(table: int | tuple[int, ...] | None) -> tuple[int, ...]:
    """Return the values of a table that has one value for all bands, or one a band, or is not known (None).

    >>> band_values(3), band_values((1, 2)), band_values(None)
    ((3,), (1, 2), ())
    """
    if table is None:
        return ()
    return (table,) if isinstance(table, int) else table


def _check_statistics(wrong: Violations, coder: SampleAdaptive | Hybrid, *, clauses: tuple[str, str, str]) -> None:
    """Check U_max, γ0 and γ*; the clauses define them in this order."""
    least = max(4, coder.initial_count_exponent + 1)
    wrong.outside("U_max", coder.unary_length_limit, 8, 32, clauses[0])
    wrong.outside("γ0", coder.initial_count_exponent, 1, 8, clauses[1])
    wrong.outside("γ*", coder.rescaling_counter_size, least, 11, clauses[2])
