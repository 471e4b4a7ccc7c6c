"""Small comparisons whose every figure is known."""

from __future__ import annotations

import numpy as np
from hyvic_compare.results import ComparedScene, Comparison, Cost, Distortion, Measurement, Preview
from hyvic_runtime.codec.seen_scenes import Seen

SHAPE = (8, 6, 5)
RATIOS = (10.0, 100.0)
WAVELENGTHS = np.array([450.0, 480, 510, 1000, 1010])


def point(
    scene: str,
    codec: str,
    target: float | None,
    psnr_db: float,
    *,
    ratio: float | None = None,
    training: Seen = Seen.NO,
) -> Measurement:
    """A measurement that came out at its target unless told otherwise."""
    found = ratio or target
    assert found is not None
    return Measurement(
        scene=scene,
        codec=codec,
        target_ratio=target,
        octets=round(480 / found),
        compression_ratio=found,
        rate_bpppc=16 / found,
        fidelity=Distortion(
            psnr_db=psnr_db,
            ssim=1.0 if psnr_db == np.inf else 0.9,
            spectral_angle_deg=0.0 if psnr_db == np.inf else 1.5,
            max_abs_error=0 if psnr_db == np.inf else 7,
            band_psnr_db=(psnr_db,) * 5,
            tile_psnr_db=(psnr_db, psnr_db),
        ),
        cost=Cost(encode_s=240e-6, decode_s=24e-6, peak_memory_mb=12.0, processor="A processor"),
        training=training,
    )


def gap(scene: str, codec: str, target: float, reason: str) -> Measurement:
    """A point that there is none of."""
    return Measurement(scene=scene, codec=codec, target_ratio=target, gap=reason)


def scene(name: str) -> ComparedScene:
    """One of 8 × 6 pixels and 5 bands, with a gap in its wavelengths."""
    return ComparedScene(
        name=name,
        sensor="AVIRIS",
        shape=SHAPE,
        peak=10_000,
        bit_depth=16,
        wavelengths=WAVELENGTHS,
        pixels=np.array([[0, 0], [7, 5]]),
        original=preview(0, error=False),
        content_sha256="00" * 32,
    )


def preview(value: int, *, error: bool = True) -> Preview:
    """Of one colour."""
    return Preview(
        true_colour=np.full((*SHAPE[:2], 3), 10 * value, np.uint8),
        error=np.full(SHAPE[:2], value, np.float32) if error else None,
        spectra=np.full((2, 5), 100 + value, np.float32),
    )


def comparison(*measurements: Measurement, ours: tuple[str, ...] = (), **others: object) -> Comparison:
    """Of the scenes and codecs that the measurements name."""
    scenes = dict.fromkeys(m.scene for m in measurements)
    codecs = dict.fromkeys(m.codec for m in measurements)
    shown = {
        (m.scene, m.codec, m.target_ratio): preview(list(codecs).index(m.codec) + 1)
        for m in measurements
        if m.gap is None and m.target_ratio == 100
    }
    fields = {"command": "compare-codecs a.npz --report out", "environment": {"Python": "3.11"}, **others}
    return Comparison(
        scenes=tuple(map(scene, scenes)),
        codecs=tuple(codecs),
        ratios=RATIOS,
        measurements=measurements,
        previews=shown,
        ours=ours,
        **fields,  # type: ignore[arg-type]
    )


def everything() -> Comparison:
    """Two scenes that nothing was trained on, two that ours was, a lossless codec, a gap, and names that HTML minds."""
    measurements = [
        point("field", "ours", 10, 50.0),
        point("field", "ours", 100, 44.0),
        point("coast", "ours", 10, 52.0),
        point("coast", "ours", 100, 46.0),
        point("town <b>", "ours", 10, 70.0, training=Seen.TRAINED),
        point("town <b>", "ours", 100, 64.0, training=Seen.TRAINED),
        point("sea", "ours", 10, 72.0, training=Seen.TRAINED),
        point("sea", "ours", 100, 66.0, training=Seen.TRAINED),
        *(point(name, "old & good", 10, 56.0) for name in ("field", "coast", "town <b>", "sea")),
        point("field", "old & good", 100, 40.0, ratio=130),
        point("coast", "old & good", 100, 42.0, ratio=130),
        *(gap(name, "old & good", 100, f"CR 100 leaves {n} octets") for n, name in enumerate(("town <b>", "sea"))),
        *(point(name, "exact", None, np.inf, ratio=2.5) for name in ("field", "coast", "town <b>", "sea")),
    ]
    return comparison(*measurements, ours=("ours",), notes=("A note.",))
