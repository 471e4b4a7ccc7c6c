"""Architectures of the latent codecs, field by field: the section `model` of their configurations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Tag

from hyvic_train.config import DEFAULT_FAMILY, Section, not_positive, outside, refuse


@dataclass(frozen=True, slots=True, kw_only=True)
class HyVICConfig(Section):
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
        leaky_slope_bits: LeakyReLU's negative slope is 2**-leaky_slope_bits. The paper gives none; 7 is nearest to
            torch's 0.01. The exported integer network computes a power of two exactly.
        leaky_slope: the negative slope itself, such as torch's 0.01 for weights of CompressAI; null: leaky_slope_bits
            gives it. The integer network rounds it to a multiple of 2**-16.
    """

    bands: int
    latent_channels: int
    hyperlatent_channels: int
    kernel_size: int = 3
    spatial_stages: int = 2
    peak: float = 10_000.0
    rates: int = 1
    hyperprior: Literal["log2", "compressai"] = "log2"
    leaky_slope_bits: int = 7
    leaky_slope: float | None = None

    def __post_init__(self) -> None:
        problems = _impossible_values(self)
        if self.leaky_slope is not None:
            problems += outside(self, 2.0**-10, 0.5, "leaky_slope")
            if self.leaky_slope_bits != 7:
                problems.append(
                    f"leaky_slope is {self.leaky_slope} and leaky_slope_bits {self.leaky_slope_bits}; name one of them"
                )
        refuse(problems)

    @property
    def negative_slope(self) -> float:
        """LeakyReLU's negative slope in the hyper-transforms."""
        return 2.0**-self.leaky_slope_bits if self.leaky_slope is None else self.leaky_slope

    @property
    def family(self) -> Literal["hyvic"]:
        """Name of the family; no field, since documents older than the second family name none."""
        return "hyvic"

    @property
    def hyper_stride(self) -> int:
        """Pixels a hyper-latent element spans along a line: 2**(S + 2)."""
        return 4 << self.spatial_stages

    @property
    def cell(self) -> int:
        """Pixels that lines and samples must be multiples of: whole hyper-latents."""
        return self.hyper_stride


@dataclass(frozen=True, slots=True, kw_only=True)
class JointConfig(Section):
    """Architecture of one joint spatial–spectral attention codec (seed paper 001, section 3).

    The text of section 3 names the modules and not their sizes. Every default here is ours; channels and slices are
    those of Minnen & Singh, Channel-wise Autoregressive Entropy Models for Learned Image Compression (ICIP 2020), which
    the paper builds on.

    Attributes:
        bands: spectral bands of the scenes it codes.
        latent_channels: M, channels of the latent y.
        feature_channels: N, channels of the fused features.
        hyperlatent_channels: channels of the hyper-latent z.
        slices: parts of y that are coded one after the other, each predicted from those before.
        slice_channels: width of the networks that predict a slice.
        slice_kernel_size: side of the kernel of their first convolution; odd.
        extraction_blocks: residual blocks in each branch of extraction and of reconstruction (section 3.1).
        spatial_features: channels that a spatial block gives each band between its two convolutions.
        spectral_features: channels that a spectral block gives each band between its two convolutions.
        spectral_branch: whether there is a spectral branch; without it, an ablation.
        attention: whether there is local attention (section 3.3); without it, an ablation.
        attention_block: features along a side of the blocks that attention looks at.
        kernel_size: k of every strided convolution; odd.
        spatial_stages: S, stride-2 stages of the fusion encoder and decoder.
        peak, rates, leaky_slope_bits: see HyVICConfig.
    """

    family: Literal["joint"] = "joint"
    bands: int
    latent_channels: int = 320
    feature_channels: int = 192
    hyperlatent_channels: int = 192
    slices: int = 10
    slice_channels: int = 224
    slice_kernel_size: int = 3
    extraction_blocks: int = 2
    spatial_features: int = 1
    spectral_features: int = 4
    spectral_branch: bool = True
    attention: bool = True
    attention_block: int = 8
    kernel_size: int = 3
    spatial_stages: int = 4
    peak: float = 10_000.0
    rates: int = 1
    leaky_slope_bits: int = 7

    def __post_init__(self) -> None:
        widths = ("feature_channels", "slice_channels", "spatial_features", "spectral_features")
        problems = _impossible_values(self) + outside(self, 1, 65_536, *widths)
        problems += _not_odd(self, "slice_kernel_size") + outside(self, 0, 64, "extraction_blocks")
        if self.slices < 1 or self.latent_channels % self.slices:
            problems.append(f"slices is {self.slices}; it must divide latent_channels, {self.latent_channels}")
        if self.attention_block not in (2, 4, 8, 16):
            problems.append(f"attention_block is {self.attention_block}; it must be 2, 4, 8 or 16")
        if self.attention and self.feature_channels < 2:
            problems.append("feature_channels is 1; attention needs at least 2")
        refuse(problems)

    @property
    def attention_stages(self) -> tuple[int, ...]:
        """Stages that attention follows: the middle one and the last, as in Cheng et al. (CVPR 2020)."""
        return tuple(sorted({(self.spatial_stages + 1) // 2, self.spatial_stages})) if self.attention else ()

    @property
    def hyper_stride(self) -> int:
        """Pixels a hyper-latent element spans along a line: 2**(S + 2)."""
        return 4 << self.spatial_stages

    @property
    def cell(self) -> int:
        """Pixels that lines and samples must be multiples of: whole hyper-latents, whole blocks of attention."""
        return max(self.hyper_stride, *(self.attention_block << stage for stage in self.attention_stages), 1)


ModelConfig = HyVICConfig | JointConfig


def _impossible_values(model: ModelConfig) -> list[str]:
    """Name the values that no latent codec can have."""
    return [
        *outside(model, 1, 65_535, "bands"),
        *outside(model, 1, 65_536, "latent_channels", "hyperlatent_channels"),
        *outside(model, 1, 256, "rates"),
        *_not_odd(model, "kernel_size"),
        *outside(model, 0, 4, "spatial_stages"),
        *outside(model, 1, 10, "leaky_slope_bits"),
        *not_positive(model, "peak"),
    ]


def _not_odd(model: ModelConfig, name: str) -> list[str]:
    size = getattr(model, name)
    return [] if 1 <= size <= 31 and size % 2 else [f"{name} is {size}; it must be odd and at most 31"]


def _family(model: object) -> object:
    if isinstance(model, Mapping):
        return model.get("family", DEFAULT_FAMILY)
    return getattr(model, "family", DEFAULT_FAMILY)


def _without_family(model: Any) -> Any:
    """Drop the family of HyVIC's documents: those older than the second family name none."""
    return {key: value for key, value in model.items() if key != "family"} if isinstance(model, Mapping) else model


AnyModelConfig = Annotated[
    Annotated[HyVICConfig, BeforeValidator(_without_family), Tag("hyvic")] | Annotated[JointConfig, Tag("joint")],
    Discriminator(_family),
]
"""Section `model` of a document; its `family` chooses the class."""
