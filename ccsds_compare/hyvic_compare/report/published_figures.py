"""Figures that papers print for HySpecNet-11k; measured on other scenes, they are shown and never compared."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedCurve:
    """PSNR at fixed compression ratios.

    Attributes:
        codec: name of the codec.
        ratios: nominal compression ratios.
        psnr_db: means over the test set, dB.
        source: publication that prints them.
    """

    codec: str
    ratios: tuple[float, ...]
    psnr_db: tuple[float, ...]
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedSpan:
    """A mean PSNR over a test set whose compression ratios are printed as a range.

    Attributes:
        codec: name of the codec.
        low: lower end of the range that holds most scenes.
        high: upper end of this range.
        psnr_db: mean PSNR.
        deviation_db: standard deviation over the scenes.
        source: publication that prints them.
    """

    codec: str
    low: float
    high: float
    psnr_db: float
    deviation_db: float
    source: str


DATA_SET = "HySpecNet-11k, test set, easy split"
_COMPARED = "HyCoT (Fuchs, Rasti, Demir, WHISPERS 2024), with its baselines; nominal ratios"
_RATIOS = (4.0, 8.0, 16.0, 32.0)

CURVES = (
    PublishedCurve(codec="HyCoT", ratios=_RATIOS, psnr_db=(56.29, 55.38, 53.20, 50.26), source=_COMPARED),
    PublishedCurve(codec="1D-CAE", ratios=_RATIOS, psnr_db=(54.85, 53.90, 52.38, 48.95), source=_COMPARED),
    PublishedCurve(codec="SSCNet", ratios=_RATIOS, psnr_db=(43.29, 43.69, 43.60, 43.24), source=_COMPARED),
    PublishedCurve(codec="3D-CAE", ratios=_RATIOS, psnr_db=(39.94, 39.69, 39.54, 39.06), source=_COMPARED),
)
HYVIC = PublishedSpan(
    codec="HyVIC, λ = 10⁻⁴",
    low=256,
    high=1024,
    psnr_db=50.31,
    deviation_db=2.08,
    source="HyVIC, section V-C3 and Fig. 10: mean ± standard deviation over the test set; ratios of most scenes",
)
