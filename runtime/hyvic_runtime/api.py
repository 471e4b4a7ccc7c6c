"""Encode and decode scenes in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyvic_runtime.codec.bundle import Bundle
from hyvic_runtime.codec.scene_decoder import DecodedScene
from hyvic_runtime.families.registry import decoder_of, encoder_of, read_bundle
from hyvic_runtime.flight.rate_search import RateSearch
from hyvic_runtime.scene.scene import Scene


def encode(
    cube: NDArray[np.integer[Any]] | Scene,
    bundle: Bundle | Path | str,
    *,
    quality: float | None = None,
    target_ratio: float | None = None,
    max_bytes: int | None = None,
    min_psnr: float | None = None,
) -> bytes:
    """Encode a scene into CCSDS Space Packets, one after another.

    Every call loads and checks the engine. To encode many scenes, make one `encoder_of` and use `scene_stream`.

    Args:
        cube: (line, sample, band) integers of 8 or 16 bits; or a `Scene`, which also holds wavelengths, a no-data
            value and a place.
        bundle: deployment bundle, or its folder.
        quality: 0 … 100 from the lowest to the highest rate that the bundle was trained for; None: 50.
        target_ratio: compress by at least this ratio, packet headers included.
        max_bytes: take at most so many bytes.
        min_psnr: take what this PSNR in dB needs, over the bundle's range; found by decoding.

    Raises:
        ValueError: more than one rate is asked for, or one that the bundle does not have.
        SceneError: the bundle does not code such a scene.
        RateError: no rate of the bundle meets the ratio, the bytes or the PSNR.
        BundleError: the bundle is damaged, or does not run here as it should.
    """
    rates = {"quality": quality, "target_ratio": target_ratio, "max_bytes": max_bytes, "min_psnr": min_psnr}
    given = [name for name, value in rates.items() if value is not None]
    if len(given) > 1:
        raise ValueError(f"{' and '.join(given)} are given; choose one rate")
    scene = cube if isinstance(cube, Scene) else Scene(cube=cube)
    bundle = _loaded(bundle)
    search = RateSearch(encoder=encoder_of(bundle), scene=scene)
    if min_psnr is not None:
        return search.of_fidelity(min_psnr, decoder_of(bundle)).read()
    if target_ratio is not None:
        if not target_ratio > 0:
            raise ValueError(f"target_ratio is {target_ratio:g}; a positive number is needed")
        return search.within(int(scene.cube.nbytes / target_ratio)).read()
    if max_bytes is not None:
        return search.within(max_bytes).read()
    return search.at_quality(quality).read()


def decode(octets: bytes, bundle: Bundle | Path | str, *, conceal: bool = False) -> DecodedScene:
    """Decode the only scene of a stream of packets.

    Every call loads and checks the engine. To decode many streams, make one `decoder_of`.

    Args:
        octets: packets, one after another.
        bundle: bundle that encoded them, or its folder.
        conceal: True to reconstruct even if tiles are missing; the quality map marks them.

    Raises:
        LostTilesError: tiles are missing, and `conceal` is false.
        DecodeError: nothing can be reconstructed, or the stream holds several scenes.
        BundleError: the bundle is damaged, or does not run here as it should.
    """
    return decoder_of(_loaded(bundle)).decode(octets, conceal=conceal)


def _loaded(bundle: Bundle | Path | str) -> Bundle:
    return read_bundle(Path(bundle)) if isinstance(bundle, (str, Path)) else bundle
