"""Architectures of the model families, field by field: which networks a configuration's `model` section describes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import ConfigDict

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class HyVICConfig:
    """Architecture of one HyVIC model (seed paper section III and Table I).

    Attributes:
        bands: C, spectral bands of the scenes it codes.
        latent_channels: M, channels of the latent y.
        hyperlatent_channels: N, channels of the features and of the hyper-latent z.
        kernel_size: k of every spatial convolution; odd.
        spatial_stages: S, stride-2 stages of encoder and decoder.
        peak: largest digital number of the sensor; the networks see x / peak and PSNR is taken over it.
        rates: rate levels; every one has a pair of gain vectors. 1: no gains, one rate, the paper's model.
        hyperprior: "log2": D^H gives log2 σ, and ẑ is an integer. "compressai": D^H gives σ itself, and ẑ is an integer
            plus its channel's median, as in CompressAI's models.
        leaky_slope_bits: LeakyReLU's negative slope is 2**-leaky_slope_bits, a power of two so that the
            exported integer network computes it exactly. The paper gives none; 7 is nearest to torch's 0.01.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT
    family: ClassVar[Literal["hyvic"]] = "hyvic"

    bands: int
    latent_channels: int
    hyperlatent_channels: int
    kernel_size: int = 3
    spatial_stages: int = 2
    peak: float = 10_000.0
    rates: int = 1
    hyperprior: Literal["log2", "compressai"] = "log2"
    leaky_slope_bits: int = 7

    def __post_init__(self) -> None:
        refuse(_impossible_values(self))

    @property
    def latent_stride(self) -> int:
        """Pixels a latent element spans along a line: 2**S."""
        return 1 << self.spatial_stages

    @property
    def hyper_stride(self) -> int:
        """Pixels a hyper-latent element spans along a line: 2**(S + 2)."""
        return 4 * self.latent_stride

    @property
    def cell(self) -> int:
        """Pixels that lines and samples must be multiples of: those of a hyper-latent element."""
        return self.hyper_stride


ModelConfig = HyVICConfig


def _impossible_values(model: ModelConfig) -> list[str]:
    """What no family can have."""
    problems = [
        f"{name} is {getattr(model, name)}; it must lie in 1..{most}"
        for name, most in (
            ("bands", 65_535),
            ("latent_channels", 65_536),
            ("hyperlatent_channels", 65_536),
            ("rates", 256),
        )
        if not 1 <= getattr(model, name) <= most
    ]
    if not 1 <= model.kernel_size <= 31 or model.kernel_size % 2 == 0:
        problems.append(f"kernel_size is {model.kernel_size}; it must be odd and at most 31")
    if not 0 <= model.spatial_stages <= 4:
        problems.append(f"spatial_stages is {model.spatial_stages}; 0..4 are supported")
    if not 1 <= model.leaky_slope_bits <= 10:
        problems.append(f"leaky_slope_bits is {model.leaky_slope_bits}; 1..10 are supported")
    if model.peak <= 0:
        problems.append(f"peak is {model.peak}; it must be positive")
    return problems


def refuse(problems: list[str]) -> None:
    """Raise ValueError with all of them, if there are any."""
    if problems:
        raise ValueError("; ".join(problems))
