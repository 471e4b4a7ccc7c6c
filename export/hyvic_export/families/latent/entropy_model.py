"""Frequency tables and integer entropy path of one model, on which both sides must agree to the bit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hyvic_runtime.entropy.frequency_table import FrequencyTables
from hyvic_train.families.latent.codec_model import CodecModel

from hyvic_export.families.latent.distributions import factorised_prior, gaussians
from hyvic_export.families.latent.exportable import Exportable
from hyvic_export.families.latent.integer_network import IntegerNetwork, scale_table
from hyvic_export.frequency_tables import Distribution, frequency_tables
from hyvic_export.integer_layer import refuse_uncalibrated


@dataclass(frozen=True, slots=True, kw_only=True)
class EntropyModel:
    """Tables and network of a model.

    Attributes:
        distributions: distributions that the rows of `tables` approximate.
        prior: tables with a row for every channel of ẑ; the encoder clamps ẑ to them.
        tables: rows of the scale indices, then the rows of `prior`.
        network: integer network from ẑ to scale indices, means and latents.
    """

    distributions: tuple[Distribution, ...]
    prior: FrequencyTables
    tables: FrequencyTables
    network: IntegerNetwork


def entropy_model(exportable: Exportable[CodecModel]) -> EntropyModel:
    """Build the integer form of a calibrated model's entropy models.

    Raises:
        ValueError: the model was never calibrated, or its prior has diverged.
    """
    refuse_uncalibrated(exportable.model.peaks)
    of_scales, of_channels = gaussians(scale_table()), factorised_prior(exportable.model)
    prior = frequency_tables(of_channels)
    peak = np.maximum(np.abs(prior.first), np.abs(prior.first + prior.length - 1)).astype(np.int64)
    return EntropyModel(
        distributions=(*of_scales, *of_channels),
        prior=prior,
        tables=frequency_tables([*of_scales, *of_channels]),
        network=exportable.integer_network(peak),
    )
