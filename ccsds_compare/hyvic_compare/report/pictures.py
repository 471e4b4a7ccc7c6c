"""Side-by-side pictures of Fig. 8 for the page: PNG inside HTML."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hyvic_compare.report.codec_style import CodecStyle
from hyvic_compare.report.views import SEEN_MARK
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


def caption_lines(m: Measurement | None) -> tuple[str, ...]:
    """Return ratio and fidelity, to read below a picture."""
    if m is None or m.fidelity is None or m.compression_ratio is None:
        return ()
    f = m.fidelity
    psnr = "exact" if np.isinf(f.psnr_db) else f"{f.psnr_db:.2f} dB"
    return f"CR {m.compression_ratio:,.1f}, {psnr}", f"SSIM {f.ssim:.4f}, {f.spectral_angle_deg:.2f}°"


def pictures_html(comparison: Comparison, styles: Mapping[str, CodecStyle]) -> str:
    """Return originals with marked pixels, and every codec's reconstruction above its error, by scene and ratio."""
    figures = []
    points = measured(comparison)
    for number, scene in enumerate(comparison.scenes):
        shown = {ratio: shown_at(comparison, scene, ratio) for ratio in shown_ratios(comparison)}
        scales = {ratio: error_scale(previews) for ratio, previews in shown.items()}
        figures.append(_original(scene, number, scales))
        for ratio, previews in shown.items():
            when = f"scene={number}&amp;shown={ratio:g}"
            for codec, preview in previews.items():
                m = points.get((scene.name, codec, ratio))
                figures.append(_reconstruction(preview, codec, m, styles[codec], when, scales[ratio]))
            if not previews:
                figures.append(f'<p data-when="{when}">No reconstruction of this scene was kept at this ratio.</p>')
    return f'<div class="pictures">{"".join(figures)}</div>'


def _reconstruction(
    preview: Preview, codec: str, m: Measurement | None, style: CodecStyle, when: str, top: float
) -> str:
    name = html.escape(f"{codec} {SEEN_MARK}" if m is not None and m.seen else codec)
    lines = "<br>".join(map(html.escape, caption_lines(m)))
    error = "" if preview.error is None else _img(_error_picture(preview.error / top), f"{codec}, error")
    return (
        f'<figure data-when="{when}" data-codec="{html.escape(codec)}" title="{name}"><figcaption>'
        f"<b>{swatch(style)}{name}</b>{lines}</figcaption>"
        f"{_img(_true_colour(preview), f'{codec}, true colour')}{error}</figure>"
    )


def _original(scene: ComparedScene, number: int, scales: Mapping[float, float]) -> str:
    lines, samples, bands = scene.shape
    pins = "".join(
        f'<span class="pin" style="top:{100 * (line + 0.5) / lines:.1f}%;left:{100 * (sample + 0.5) / samples:.1f}%">'
        f"{n}</span>"
        for n, (line, sample) in enumerate(scene.pixels, start=1)
    )
    gradient = _img(_error_picture(np.linspace(0, 1, 256)[None]), "colours of the error", css="scale")
    ends = "".join(
        f'<div class="ends" data-when="shown={ratio:g}"><span>0</span><span>error, DN</span>'
        f"<span>{top:.3g}</span></div>"
        for ratio, top in scales.items()
    )
    return (
        f'<figure data-when="scene={number}"><figcaption><b>Original</b>'
        f"{lines} × {samples} pixels,<br>{bands} bands</figcaption>"
        f'<div class="frame">{_img(_true_colour(scene.original), "original, true colour")}{pins}</div>'
        f"{gradient}{ends}</figure>"
    )


def swatch(style: CodecStyle) -> str:
    """Return a codec's symbol in its colour."""
    return f'<span class="swatch" style="color:{style.colour}">{style.glyph}</span>'


def _true_colour(preview: Preview) -> Image:
    from PIL.Image import fromarray

    return fromarray(np.ascontiguousarray(preview.true_colour))


def _error_picture(share: NDArray[np.floating[Any]]) -> Image:
    """Return a picture with a palette of 256 colours, which takes a third of the octets of true colour."""
    from matplotlib import colormaps
    from PIL.Image import fromarray

    picture = fromarray(np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8))
    picture.putpalette(colormaps[ERROR_MAP](np.arange(256), bytes=True)[:, :3].tobytes())
    return picture


def _img(picture: Image, alt: str, *, css: str = "") -> str:
    file = io.BytesIO()
    picture.save(file, format="png", optimize=True)
    data = base64.b64encode(file.getvalue()).decode("ascii")
    return f'<img src="data:image/png;base64,{data}" alt="{html.escape(alt)}"{f" class={css}" if css else ""}>'
