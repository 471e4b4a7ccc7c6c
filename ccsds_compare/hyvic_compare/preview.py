"""Previews of cubes for a report."""

from __future__ import annotations

import numpy as np
from hyvic_runtime.scene.scene import TRUE_COLOUR_NM, Cube, Scene, nearest_bands
from numpy.typing import NDArray

from hyvic_compare.results import Preview

_RED_NM, _INFRARED_NM = 660.0, 860.0
_STRETCH_PERCENTILES = (2, 98)


def telling_pixels(scene: Scene) -> NDArray[np.intp]:
    """Choose four pixels, (pixel, 2): the brightest, the greenest (NDVI), the most and the least typical.

    A pixel is typical if its spectrum is near the median spectrum, by the sum of absolute differences. Pixels without
    data are passed over as long as there are others.
    """
    cube = scene.cube.astype(np.float64)
    red, infrared = np.moveaxis(
        cube[..., nearest_bands((_RED_NM, _INFRARED_NM), cube.shape[2], scene.wavelengths)], 2, 0
    )
    unlike = np.abs(cube - np.median(cube, axis=(0, 1))).sum(axis=2)
    greenness = (infrared - red) / np.maximum(np.abs(infrared + red), 1)
    merits = np.stack([cube.mean(axis=2), greenness, -unlike, unlike])
    if scene.no_data is not None:
        empty = (scene.cube == scene.no_data).any(axis=2)
        if not empty.all():
            merits[:, empty] = -np.inf
    merits = merits.reshape(len(merits), -1)
    places = []
    for merit in merits:
        places.append(merit.argmax())
        merits[:, places[-1]] = -np.inf  # no pixel is chosen twice, as long as there are others
    return np.stack(np.unravel_index(places, scene.cube.shape[:2]), axis=1)


def preview_of(scene: Scene, decoded: Cube | None, pixels: NDArray[np.intp]) -> Preview:
    """Return the preview of a scene or of its reconstruction, both stretched as the scene.

    Args:
        scene: the original.
        decoded: the reconstruction, or None to show the original.
        pixels: (pixel, 2) line and sample of the spectra.
    """
    shown = scene.cube if decoded is None else decoded
    bands = nearest_bands(TRUE_COLOUR_NM, scene.cube.shape[2], scene.wavelengths)
    original = scene.cube[..., bands].astype(np.float64)
    counted = original.reshape(-1, len(bands))
    if scene.no_data is not None:
        valid = (counted != scene.no_data).all(axis=1)
        counted = counted[valid] if valid.any() else counted
    low, high = np.percentile(counted, _STRETCH_PERCENTILES, axis=0)
    stretched = (shown[..., bands] - low) / np.maximum(high - low, 1)
    error = None
    if decoded is not None:
        differences = scene.cube.astype(np.float32) - decoded
        if scene.no_data is not None:
            differences[scene.cube == scene.no_data] = 0
        error = np.sqrt(np.square(differences).mean(axis=2))
    return Preview(
        true_colour=np.rint(255 * stretched.clip(0, 1)).astype(np.uint8),
        error=error,
        spectra=shown[pixels[:, 0], pixels[:, 1]].astype(np.float32),
    )
