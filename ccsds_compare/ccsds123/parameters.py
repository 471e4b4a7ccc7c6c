"""Parameters that a user chooses (CCSDS 123.0-B-2, sections 3 to 5), checked when they are put together.

Names are the words of the standard; the book's symbol and clause stand beside each. A wrong value raises
`ParameterError`, which lists every violation with the clause it breaks. A value of a wrong type is named by its field.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Annotated

from ccsds123.entropy_coders import EntropyCoder, Hybrid, SampleAdaptive
from ccsds123.record import Field, Record
from ccsds123.supplementary import SupplementaryTable
from ccsds123.violations import Violations, band_values, power_of_two

MAX_TABLES = 15
BandTable = tuple[tuple[int, ...], ...]
"""One row for each band, with P*_z or C_z entries."""


class LocalSum(IntEnum):
    """Local sum type, 4.4; the value is the header's (table 5-6)."""

    WIDE_NEIGHBOR_ORIENTED = 0
    NARROW_NEIGHBOR_ORIENTED = 1
    WIDE_COLUMN_ORIENTED = 2
    NARROW_COLUMN_ORIENTED = 3

    @property
    def words(self) -> str:
        """Name for people: wide neighbor-oriented."""
        width, way, _ = self.name.lower().split("_")
        return f"{width} {way}-oriented"


class FidelityControl(Enum):
    """Quantizer fidelity control method, 4.8.2.1; the value is the header's (table 5-3)."""

    LOSSLESS = 0
    ABSOLUTE = 1
    RELATIVE = 2
    ABSOLUTE_AND_RELATIVE = 3

    @property
    def words(self) -> str:
        """Name for people: absolute and relative."""
        return self.name.lower().replace("_", " ")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageShape(Record):
    """Dimensions of an image, 3.2.

    Attributes:
        samples: N_X, 1..2^16.
        lines: N_Y, 1..2^16.
        bands: N_Z, 1..2^16.
    """

    samples: Annotated[int, Field("N_X", 1, 2**16, "3.2.2", width=16, zero=2**16, key="N_X")]
    lines: Annotated[int, Field("N_Y", 1, 2**16, "3.2.2", width=16, zero=2**16, key="N_Y")]
    bands: Annotated[int, Field("N_Z", 1, 2**16, "3.2.2", width=16, zero=2**16, key="N_Z")]

    @property
    def size(self) -> int:
        """Number of samples."""
        return self.lines * self.samples * self.bands


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightInitialization(Record):
    """Custom weight initialization, 4.6.3.3.

    Attributes:
        resolution: Q, 3..Ω + 3.
        vectors: Λ_z of every band, with C_z signed Q-bit components each; None where a header leaves the table out.
        in_header: whether the header carries the table (5.3.3.3.2).
    """

    resolution: Annotated[int, Field(key="Q")]
    vectors: BandTable | None
    in_header: Annotated[bool, Field(key="table_included")] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightExponentOffsets(Record):
    """Weight exponent offsets, 4.10.4.

    Attributes:
        values: for every band ς*_z (full mode only), then ς_z^(1), …, each −6..5; None where a header leaves the table
            out.
        in_header: whether the header carries the table (5.3.3.3.3).
    """

    values: BandTable | None
    in_header: Annotated[bool, Field(key="table_included")] = True

    def _check(self, wrong: Violations) -> None:
        for band, row in enumerate(self.values or ()):
            wrong.outside(f"ς of band {band}", row, -6, 5, "4.10.4")


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictor(Record):
    """Prediction, 4.2 to 4.7 and 4.10.

    Attributes:
        prediction_bands: P, number of preceding bands used for prediction, 0..15 (4.2).
        reduced: reduced prediction mode, without directional local differences (4.3).
        local_sum: local sum type (4.4).
        register_size: R, max{32, D + Ω + 2}..64 (4.7.2).
        weight_resolution: Ω, 4..19 (4.6.1.2).
        weight_change_interval: t_inc, a power of two, 2^4..2^11 (4.10.2).
        weight_initial_exponent: ν_min, −6..ν_max (4.10.2).
        weight_final_exponent: ν_max, ν_min..9 (4.10.2).
        weight_initialization: custom weights, or None for the default weights (4.6.3.2).
        weight_exponent_offsets: offsets, or None if all are zero (4.10.4).
    """

    prediction_bands: Annotated[int, Field("P", 0, 15, "4.2", width=4, key="P")] = 3
    reduced: Annotated[bool, Field(width=1, key="prediction_mode", words={"full": False, "reduced": True})] = False
    local_sum: Annotated[
        LocalSum, Field(width=2, key="local_sum_type", words={kind.words: kind for kind in LocalSum})
    ] = LocalSum.WIDE_NEIGHBOR_ORIENTED
    register_size: Annotated[int, Field("R", 32, 64, "4.7.2", width=6, zero=64, key="R")] = 64
    weight_resolution: Annotated[int, Field("Ω", 4, 19, "4.6.1.2", width=4, zero=4, key="Omega")] = 19
    weight_change_interval: Annotated[
        int, Field("t_inc", 16, 2048, "4.10.2", width=4, zero=16, powers=True, key="t_inc")
    ] = 64
    weight_initial_exponent: Annotated[int, Field("ν_min", -6, 9, "4.10.2", width=4, zero=-6, key="nu_min")] = -1
    weight_final_exponent: Annotated[int, Field(width=4, zero=-6, key="nu_max")] = 3
    weight_initialization: WeightInitialization | None = None
    weight_exponent_offsets: WeightExponentOffsets | None = None

    def _check(self, wrong: Violations) -> None:
        wrong.outside("ν_max", self.weight_final_exponent, self.weight_initial_exponent, 9, "4.10.2")
        custom = self.weight_initialization
        if custom is not None:
            wrong.outside("Q", custom.resolution, 3, self.weight_resolution + 3, "4.6.3.3.2")
            limit = power_of_two(custom.resolution - 1)
            for band, row in enumerate(custom.vectors or ()):
                wrong.outside(f"Λ of band {band}", row, -limit, limit - 1, "4.6.3.3.1")

    def differences(self, band: int) -> int:
        """Return C_z, the length of the local difference vector (4.3.2, eq. (19))."""
        return min(band, self.prediction_bands) + (0 if self.reduced else 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorLimit(Record):
    """Absolute or relative error limits, 4.8.2.2 and 4.8.2.3.

    Attributes:
        band_dependent: whether every band has its own limit.
        bit_depth: D_A or D_R, 1..min{D − 1, 16}.
        values: one row for each update period, or a single row without periodic updating; a row has one value, or one
            for each band. Empty where a header announces that the body holds the limits (5.4.2.2.2).
    """

    band_dependent: Annotated[bool, Field(reserved=1, width=1)] = False
    bit_depth: Annotated[int, Field("error limit bit depth", 1, 16, "4.8.2.2", reserved=2, width=4, zero=16)]
    values: BandTable

    def _check(self, wrong: Violations) -> None:
        for row in self.values:
            wrong.outside("error limit", row, 0, power_of_two(self.bit_depth) - 1, "4.8.2.2")
            if not self.band_dependent and len(row) != 1:
                wrong.append(f"{len(row)} band-independent error limits; one is needed (4.8.2.3)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorLimits(Record):
    """Fidelity control other than lossless, 4.8.2.

    Attributes:
        absolute: a_z, or None for relative limits only; a limit of 0 is a limit, not its absence.
        relative: r_z, or None for absolute limits only.
        update_period_exponent: u of periodic updating, with new limits every 2^u frames, 0..9 (4.8.2.4); None for fixed
            limits.
    """

    absolute: ErrorLimit | None = None
    relative: ErrorLimit | None = None
    update_period_exponent: Annotated[int | None, Field("u", 0, 9, "4.8.2.4.2")] = None

    def _check(self, wrong: Violations) -> None:
        if self.absolute is None and self.relative is None:
            wrong.append("neither absolute nor relative error limits are given (4.8.2.1.1)")

    @property
    def present(self) -> tuple[ErrorLimit, ...]:
        """Limits in use, absolute before relative, as in header and body."""
        return tuple(limit for limit in (self.absolute, self.relative) if limit is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRepresentatives(Record):
    """Sample representatives other than the clipped bin centres, 4.9.

    Attributes:
        resolution: Θ, 1..4 here; Θ = 0 is the absence of this part (5.3.3.5.1.1).
        damping: φ_z, 0..2^Θ − 1, one for all bands or one for each; None where a header leaves the table out.
        offset: ψ_z, with the range and the form of φ_z; 0 under lossless fidelity control.
        damping_in_header: whether a table of φ_z is in the header (5.3.3.5.2).
        offset_in_header: whether a table of ψ_z is in the header (5.3.3.5.3).
    """

    resolution: Annotated[int, Field("Θ", 1, 4, "4.9.1", reserved=5, width=3)]
    damping: Annotated[int | tuple[int, ...] | None, Field("φ", clause="4.9.1")] = 0
    offset: Annotated[int | tuple[int, ...] | None, Field("ψ", clause="4.9.1")] = 0
    damping_in_header: Annotated[bool, Field(key="phi_z_table_included")] = True
    offset_in_header: Annotated[bool, Field(key="psi_z_table_included")] = True

    def _check(self, wrong: Violations) -> None:
        largest = power_of_two(self.resolution) - 1
        wrong.outside("φ", self.damping, 0, largest, "4.9.1.1")
        wrong.outside("ψ", self.offset, 0, largest, "4.9.1.2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters(Record):
    """Everything that a compressed image's header says, except the image's dimensions.

    >>> Parameters(dynamic_range=12, signed=True).sample_limits
    (-2048, 2047, 0)

    Attributes:
        signed: sample type (3.2.1).
        dynamic_range: D, 2..32 bits (3.3.1).
        interleaving_depth: M of band-interleaved order, 1 (BIL) to N_Z (BIP); None for band-sequential order (5.4.2).
        entropy_coder: one of the three entropy coders (5.4.3).
        predictor: parameters of section 4.
        error_limits: limits, or None for lossless coding (4.8.2.1).
        sample_representatives: parameters of 4.9, or None for φ_z = ψ_z = 0.
        supplementary_tables: at most 15 tables (3.5).
        user_defined_data: 0..255 (table 5-3).
        output_word_size: B, 1..8 octets (5.2.2).
    """

    signed: bool = False
    dynamic_range: Annotated[int, Field("D", 2, 32, "3.3.1")] = 16
    interleaving_depth: int | None = None
    entropy_coder: EntropyCoder = field(default_factory=SampleAdaptive)
    predictor: Predictor = field(default_factory=Predictor)
    error_limits: ErrorLimits | None = None
    sample_representatives: SampleRepresentatives | None = None
    supplementary_tables: tuple[SupplementaryTable, ...] = ()
    user_defined_data: Annotated[int, Field("user-defined data", 0, 255, "table 5-3", key="user_defined_data")] = 0
    output_word_size: Annotated[int, Field("B", 1, 8, "5.2.2", key="output_word_size_B")] = 1

    def _check(self, wrong: Violations) -> None:
        depth, predictor, coder = self.dynamic_range, self.predictor, self.entropy_coder
        wrong.outside("τ", len(self.supplementary_tables), 0, MAX_TABLES, "3.5.2.1")
        needed = max(32, depth + predictor.weight_resolution + 2)
        wrong.outside("R", predictor.register_size, needed, 64, "4.7.2")
        if isinstance(coder, SampleAdaptive):
            wrong.outside("k″", coder.accumulator_initialization, 0, min(depth - 2, 14), "5.4.3.2.3.3")
        elif isinstance(coder, Hybrid):
            largest = power_of_two(depth + coder.initial_count_exponent) - 1
            wrong.outside("Σ̃(0)", coder.initial_accumulators, 0, largest, "5.4.3.3.4.3")
        elif coder.restricted and depth > 4:
            wrong.append(f"the Restricted code options need D ≤ 4, not {depth} (table 5-15)")
        representatives = self.sample_representatives
        if self.error_limits is None:
            if representatives is not None and any(band_values(representatives.offset)):
                wrong.append("ψ is 0 under lossless fidelity control (4.9.1.2)")
        else:
            for limit in self.error_limits.present:
                wrong.outside("error limit bit depth", limit.bit_depth, 1, min(depth - 1, 16), "4.8.2.2")
            if self.interleaving_depth is None and self.error_limits.update_period_exponent is not None:
                wrong.append("periodic error limit updating is not for band-sequential order (4.8.2.4.4)")

    @property
    def fidelity_control(self) -> FidelityControl:
        """Quantizer fidelity control method that the header states, whatever the limits' values are."""
        limits = self.error_limits
        if limits is None:
            return FidelityControl.LOSSLESS
        return FidelityControl((limits.absolute is not None) + 2 * (limits.relative is not None))

    @property
    def sample_limits(self) -> tuple[int, int, int]:
        """s_min, s_max and s_mid (3.3.2, eqs. (9) and (10))."""
        half = 1 << self.dynamic_range - 1
        return (-half, half - 1, 0) if self.signed else (0, 2 * half - 1, half)

    def check_shape(self, shape: ImageShape) -> None:
        """Refuse parameters that an image of this shape cannot have.

        Raises:
            ParameterError: with every violation and its clause.
        """
        wrong = Violations()
        bands, predictor = shape.bands, self.predictor
        if self.interleaving_depth is not None:
            wrong.outside("M", self.interleaving_depth, 1, bands, "5.4.2.2.1")
        if shape.samples == 1:
            if not predictor.reduced:
                wrong.append("an image of width 1 needs reduced prediction mode (4.3.1)")
            if predictor.local_sum < LocalSum.WIDE_COLUMN_ORIENTED:
                wrong.append("an image of width 1 needs column-oriented local sums (4.4.1)")
        custom, offsets = predictor.weight_initialization, predictor.weight_exponent_offsets
        if custom is not None and custom.vectors is not None:
            wrong.other_lengths("Λ", custom.vectors, [predictor.differences(z) for z in range(bands)], "4.6.3.3.1")
        if offsets is not None and offsets.values is not None:
            directional = 0 if predictor.reduced else 1
            lengths = [min(band, predictor.prediction_bands) + directional for band in range(bands)]
            wrong.other_lengths("ς", offsets.values, lengths, "4.10.4")
        if self.error_limits is not None:
            exponent = self.error_limits.update_period_exponent
            periods = 1 if exponent is None else -(-shape.lines >> exponent)
            for limit in self.error_limits.present:
                if exponent is None or limit.values:
                    row = bands if limit.band_dependent else 1
                    wrong.other_lengths("error limits", limit.values, [row] * periods, "4.8.2.3")
        self._check_band_values(wrong, bands)
        for number, supplement in enumerate(self.supplementary_tables):
            entries = supplement.structure.entries(shape.lines, shape.samples, bands)
            if len(supplement.values) != entries:
                wrong.append(f"table {number} has {len(supplement.values)} entries and needs {entries} (3.5.2.4)")
        wrong.complain()

    def _check_band_values(self, wrong: Violations, bands: int) -> None:
        for record in filter(None, (self.sample_representatives, self.entropy_coder)):
            for name, (_, definition) in record.definitions().items():
                table = getattr(record, name)
                if isinstance(table, tuple) and len(table) != bands:
                    wrong.append(f"{len(table)} values of {definition.symbol} for {bands} bands ({definition.clause})")
