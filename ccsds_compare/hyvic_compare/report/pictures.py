"""Side-by-side pictures of Fig. 8 for the page: PNG inside HTML."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hyvic_compare.results import ComparedScene, Comparison, Measurement, Preview

if TYPE_CHECKING:
    from PIL.Image import Image

ERROR_MAP = "inferno"


def shown_ratios(comparison: Comparison) -> tuple[float, ...]:
    """Return the targets at which a reconstruction was kept."""
    kept = {ratio for _, _, ratio in comparison.previews}
    return tuple(ratio for ratio in comparison.ratios if ratio in kept)


def shown_at(comparison: Comparison, scene: ComparedScene, ratio: float) -> dict[str, Preview]:
    """Return reconstructions by codec, in the order of the codecs."""
    keys = {codec: (scene.name, codec, ratio) for codec in comparison.codecs}
    return {codec: comparison.previews[key] for codec, key in keys.items() if key in comparison.previews}


def error_scale(shown: Mapping[str, Preview]) -> float:
    """Return the digital numbers of the brightest colour for all codecs: 99 % of every codec's pixels are within it."""
    return max((float(np.percentile(e.error, 99)) for e in shown.values() if e.error is not None), default=0.0) or 1.0


def measured(comparison: Comparison) -> dict[tuple[str, str, float | None], Measurement]:
    """Return measurements by scene, codec and target."""
    return {(m.scene, m.codec, m.target_ratio): m for m in comparison.measurements}


def caption_lines(m: Measurement) -> tuple[str, ...]:
    """Return ratio and fidelity, to read below a picture."""
    if m.fidelity is None or m.compression_ratio is None:
        return ()
    f = m.fidelity
    psnr = "exact" if np.isinf(f.psnr_db) else f"{f.psnr_db:.2f} dB"
    return f"CR {m.compression_ratio:,.1f}, {psnr}", f"SSIM {f.ssim:.4f}, {f.spectral_angle_deg:.2f}°"


def true_colour_png(preview: Preview) -> str:
    """Return a preview as an address that holds the picture."""
    from PIL.Image import fromarray

    return _address(fromarray(np.ascontiguousarray(preview.true_colour)))


def error_png(share: NDArray[np.floating[Any]]) -> str:
    """Return shares of the largest error as an address that holds a picture.

    It has a palette of 256 colours, which takes a third of the octets of true colour.
    """
    from matplotlib import colormaps
    from PIL.Image import fromarray

    picture = fromarray(np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8))
    picture.putpalette(colormaps[ERROR_MAP](np.arange(256), bytes=True)[:, :3].tobytes())
    return _address(picture)


def gradient_png() -> str:
    """Return all colours of an error, from none to the largest, as an address that holds a picture."""
    return error_png(np.linspace(0, 1, 256)[None])


def _address(picture: Image) -> str:
    file = io.BytesIO()
    picture.save(file, format="png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
