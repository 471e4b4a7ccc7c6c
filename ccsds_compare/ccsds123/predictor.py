"""Predictor, quantizer and mapping of an image, both ways: CCSDS 123.0-B-2, section 4.

Here are the arrays that `prediction_loop` works with; it says how they lie and how wide they must be.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ccsds123.encoding_order import Mapped
from ccsds123.parameters import Parameters, SampleRepresentatives
from ccsds123.prediction_loop import DIRECTIONAL, Constants, code
from ccsds123.quantizer import UNLIMITED, limit_table

Samples = NDArray[np.signedinteger[Any]]

MAX_NARROW_LEFT_SHIFT = 12


def map_samples(cube: NDArray[np.integer[Any]], parameters: Parameters) -> Mapped:
    """Return the mapped quantizer indices δ of an image.

    Args:
        cube: samples within the range of D, (line, sample, band).
        parameters: checked against the cube's shape.

    Returns:
        (line, sample, band), each below 2^D.
    """
    mapped = np.empty(cube.shape, np.uint32)
    samples = np.ascontiguousarray(cube, _dtype(parameters))
    _run(samples, mapped, parameters, decode=False)
    return mapped


def unmap_samples(mapped: Mapped, parameters: Parameters) -> Samples:
    """Return the image that mapped quantizer indices stand for; each sample is its clipped bin centre s′, eq. (48).

    Args:
        mapped: δ, (line, sample, band); for values out of range, the image is arbitrary but within the range of D.
        parameters: checked against the shape, with the error limits' values.
    """
    samples = np.empty(mapped.shape, _dtype(parameters))
    _run(samples, np.ascontiguousarray(mapped), parameters, decode=True)
    return samples


def narrow_suffices(parameters: Parameters) -> bool:
    """Return whether 32-bit arrays hold every difference, weight and weight increment; `prediction_loop` says why."""
    predictor = parameters.predictor
    offsets = predictor.weight_exponent_offsets
    smallest = min((value for row in (offsets.values or ()) for value in row), default=0) if offsets else 0
    exponent = predictor.weight_initial_exponent + parameters.dynamic_range - predictor.weight_resolution + smallest
    return parameters.dynamic_range <= 16 and exponent >= -MAX_NARROW_LEFT_SHIFT


def initial_weights(parameters: Parameters, bands: int) -> NDArray[np.int64]:
    """Return W_z(1), (component, band): N, W, NW in full mode, then ω^(1) … ω^(P); 4.6.3."""
    predictor = parameters.predictor
    resolution, custom = predictor.weight_resolution, predictor.weight_initialization
    directional = 0 if predictor.reduced else DIRECTIONAL
    weights = np.zeros((directional + predictor.prediction_bands, bands), np.int64)
    for band in range(bands):
        count = predictor.differences(band)
        if custom is not None:
            assert custom.vectors is not None
            shift = resolution + 3 - custom.resolution
            # Eq. (35): a '0' and then '1's below the given Q bits.
            low = (1 << shift - 1) - 1 if shift else 0
            weights[:count, band] = [(value << shift) + low for value in custom.vectors[band]]
        else:
            weight = 7 << resolution - 3  # Eq. (33)
            for component in range(directional, count):
                weights[component, band] = weight
                weight >>= 3
    return weights


def _exponent_offsets(parameters: Parameters, bands: int) -> NDArray[np.int64]:
    """Return ς, (component, band) as the weights; no row if all are zero."""
    predictor = parameters.predictor
    given = predictor.weight_exponent_offsets
    directional = 0 if predictor.reduced else DIRECTIONAL
    if given is None:
        return np.zeros((0, bands), np.int64)
    assert given.values is not None
    offsets = np.zeros((directional + predictor.prediction_bands, bands), np.int64)
    for band, row in enumerate(given.values):
        intra, inter = (row[:1], row[1:]) if directional else ((), row)
        offsets[:directional, band] = intra  # ς* is shared by N, W and NW, eqs. (52) to (54)
        offsets[directional : directional + len(inter), band] = inter
    return offsets


def _dtype(parameters: Parameters) -> np.dtype[np.signedinteger[Any]]:
    return np.dtype(np.int32 if narrow_suffices(parameters) else np.int64)


def _band_values(table: int | tuple[int, ...] | None, bands: int) -> NDArray[np.int64]:
    assert table is not None
    return np.ascontiguousarray(np.broadcast_to(np.array(table, np.int64), bands))


def _run(samples: Samples, mapped: Mapped, parameters: Parameters, *, decode: bool) -> None:
    bands = mapped.shape[2]
    predictor, limits = parameters.predictor, parameters.error_limits
    representatives = parameters.sample_representatives or SampleRepresentatives(resolution=1)
    absolute = limit_table(limits.absolute, bands, UNLIMITED) if limits else limit_table(None, bands, 0)
    relative = limit_table(limits.relative if limits else None, bands, -1)
    exponent = limits.update_period_exponent if limits else None
    damping = _band_values(representatives.damping, bands)
    offset = _band_values(representatives.offset, bands)
    low, high, middle = parameters.sample_limits
    constants = Constants(
        low=low,
        high=high,
        middle=middle,
        dynamic_range=parameters.dynamic_range,
        prediction_bands=predictor.prediction_bands,
        directional=0 if predictor.reduced else DIRECTIONAL,
        sum_type=int(predictor.local_sum),
        spare=64 - predictor.register_size,
        resolution=predictor.weight_resolution,
        change_interval=predictor.weight_change_interval,
        initial_exponent=predictor.weight_initial_exponent,
        final_exponent=predictor.weight_final_exponent,
        theta=representatives.resolution,
        shaped=bool(damping.any() or offset.any()),
        lossless=limits is None,
        period_shift=16 if exponent is None else exponent,
    )
    weights = initial_weights(parameters, bands).astype(samples.dtype)
    offsets = _exponent_offsets(parameters, bands)
    code(decode, samples, mapped, weights, offsets, absolute, relative, damping, offset, constants)
