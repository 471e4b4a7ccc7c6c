"""What both sides must agree on to the bit: frequency tables and the integer entropy path of one model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hyvic_runtime.entropy.frequency_table import FrequencyTables
from hyvic_train.families.latent.codec_model import CodecModel

from hyvic_export.families.latent.integer_network import IntegerNetwork, scale_table
from hyvic_export.families.registry import exportable
from hyvic_export.frequency_tables import Distribution, factorised_prior, frequency_tables, gaussians
from hyvic_export.integer_layer import refuse_uncalibrated


@dataclass(frozen=True, slots=True, kw_only=True)
class EntropyModel:
    """Tables and network of a model.

    Attributes:
        distributions: what the rows of `tables` approximate.
        prior: a row for every channel of ẑ; the encoder clamps ẑ to it.
        tables: rows of the scale indices, then those of `prior`.
        network: from ẑ to scale indices, means and latents.
    """

    distributions: tuple[Distribution, ...]
    prior: FrequencyTables
    tables: FrequencyTables
    network: IntegerNetwork


def entropy_model(model: CodecModel) -> EntropyModel:
    """Build the integer form of a calibrated model's entropy models.

    Raises:
        ValueError: the model was never calibrated, or its prior has diverged.
    """
    refuse_uncalibrated(model.peaks)
    of_scales, of_channels = gaussians(scale_table()), factorised_prior(model)
    prior = frequency_tables(of_channels)
    peak = np.maximum(np.abs(prior.first), np.abs(prior.first + prior.length - 1)).astype(np.int64)
    return EntropyModel(
        distributions=(*of_scales, *of_channels),
        prior=prior,
        tables=frequency_tables([*of_scales, *of_channels]),
        network=exportable(model).integer_network(peak),
    )
