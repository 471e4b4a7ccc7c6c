"""Figures that papers print for HySpecNet-11k; measured on other scenes, they are shown and never compared."""

from __future__ import annotations

from dataclasses import dataclass

from hyvic_compare.sample_bits import BITS_PER_SAMPLE, FLOAT_BITS, ratio_at_bits


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedCurve:
    """PSNR at fixed compression ratios.

    Attributes:
        codec: name of the codec.
        printed_ratios: nominal compression ratios, as printed.
        bits_per_sample: N_b that the printed ratios count.
        psnr_db: means over the test set, dB.
        source: publication that prints them.
    """

    codec: str
    printed_ratios: tuple[float, ...]
    bits_per_sample: int
    psnr_db: tuple[float, ...]
    source: str

    @property
    def ratios(self) -> tuple[float, ...]:
        """Compression ratios of the same streams for samples of BITS_PER_SAMPLE."""
        return tuple(
            ratio_at_bits(ratio, counted=self.bits_per_sample, wanted=BITS_PER_SAMPLE) for ratio in self.printed_ratios
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedSpan:
    """A mean PSNR over a test set whose compression ratios are printed as a range; the source does not state N_b.

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
_COMPARED = (
    "HyCoT (Fuchs, Rasti, Demir, WHISPERS 2024), with its baselines; nominal ratios, float32 latents of float32 samples"
)
_RATIOS = (4.0, 8.0, 16.0, 32.0)


def _compared(codec: str, *psnr_db: float) -> PublishedCurve:
    return PublishedCurve(
        codec=codec, printed_ratios=_RATIOS, bits_per_sample=FLOAT_BITS, psnr_db=psnr_db, source=_COMPARED
    )


CURVES = (
    _compared("HyCoT", 56.29, 55.38, 53.20, 50.26),
    _compared("1D-CAE", 54.85, 53.90, 52.38, 48.95),
    _compared("SSCNet", 43.29, 43.69, 43.60, 43.24),
    _compared("3D-CAE", 39.94, 39.69, 39.54, 39.06),
)
HYVIC = PublishedSpan(
    codec="HyVIC, λ = 10⁻⁴",
    low=256,
    high=1024,
    psnr_db=50.31,
    deviation_db=2.08,
    source="HyVIC, section V-C3 and Fig. 10: mean ± standard deviation over the test set; ratios of most scenes. Not "
    f"stated: N_b. Drawn as printed; if it is {FLOAT_BITS}, the line belongs at half these ratios",
)
