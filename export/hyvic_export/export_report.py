"""What an export found out about its own bundle, for people: it travels in the bundle and nothing reads it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from hyvic_export.families.adaptive.parity import Parity as AdaptiveParity
from hyvic_export.families.latent.parity import Parity
from hyvic_export.precision import Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """Measured while a bundle was made.

    Attributes:
        conformance_unreached: cases of the entropy path's arithmetic that no conformance vector reaches.
        table_excess_bits: what each row of the frequency tables costs above its distribution's entropy, bits a
            symbol; rows of the scale indices, then those of ẑ's channels.
        precision: of the analysis.
        calibrated_on: scenes that int8's ranges were taken from.
        parity: the encoder graph in ONNX Runtime beside the model.
    """

    conformance_unreached: tuple[str, ...]
    table_excess_bits: tuple[float, ...]
    precision: Precision
    calibrated_on: tuple[str, ...]
    parity: Parity


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveReport:
    """The same of a context model's bundle.

    Attributes:
        conformance_unreached: cases of the network's arithmetic that no conformance vector reaches.
        table_excess_bits: what each row of the frequency tables costs above its distribution's entropy, bits a symbol.
        parity: the integer network and its tables beside the model.
    """

    conformance_unreached: tuple[str, ...]
    table_excess_bits: tuple[float, ...]
    parity: AdaptiveParity


def report_bytes(report: ExportReport | AdaptiveReport) -> bytes:
    """The report file."""
    return (json.dumps(asdict(report), indent=1) + "\n").encode()
