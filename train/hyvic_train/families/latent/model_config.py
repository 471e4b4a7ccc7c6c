"""Architectures of the model families, field by field: which networks a configuration's `model` section describes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Protocol

from pydantic import BeforeValidator, ConfigDict, Discriminator, Tag

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
    family: ClassVar[Literal["hyvic"]] = "hyvic"  # no field: documents older than the second family name none

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


@dataclass(frozen=True, slots=True, kw_only=True)
class JointConfig:
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
        slice_kernel_size: of their first convolution; odd.
        extraction_blocks: residual blocks in each branch of extraction and of reconstruction (section 3.1).
        spatial_features: channels that a spatial block gives each band between its two convolutions.
        spectral_features: channels that a spectral block gives each band between its two convolutions.
        spectral_branch: whether there is a spectral branch. Off: an ablation.
        attention: whether there is local attention (section 3.3). Off: an ablation.
        attention_block: features along a side of the blocks that attention looks at.
        kernel_size: k of every strided convolution; odd.
        spatial_stages: S, stride-2 stages of the fusion encoder and decoder.
        peak, rates, leaky_slope_bits: as HyVICConfig's.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

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
        problems = _impossible_values(self) + [
            f"{name} is {getattr(self, name)}; it must lie in 1..65536"
            for name in widths
            if not 1 <= getattr(self, name) <= 65_536
        ]
        if self.slices < 1 or self.latent_channels % self.slices:
            problems.append(f"slices is {self.slices}; it must divide latent_channels, {self.latent_channels}")
        if not 1 <= self.slice_kernel_size <= 31 or self.slice_kernel_size % 2 == 0:
            problems.append(f"slice_kernel_size is {self.slice_kernel_size}; it must be odd and at most 31")
        if not 0 <= self.extraction_blocks <= 64:
            problems.append(f"extraction_blocks is {self.extraction_blocks}; 0..64 are supported")
        if self.attention_block not in (2, 4, 8, 16):
            problems.append(f"attention_block is {self.attention_block}; 2, 4, 8 or 16 are supported")
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


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveConfig:
    """The context model of the scene-adaptive codec, for scenes of any bands.

    Attributes:
        width: channels of a hidden layer.
        layers: hidden layers.
        peak: largest digital number of the sensor; the network does not see it, PSNR is taken over it.
        leaky_slope_bits: as HyVICConfig's.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    family: Literal["adaptive"] = "adaptive"
    width: int = 32
    layers: int = 2
    peak: float = 10_000.0
    leaky_slope_bits: int = 5

    def __post_init__(self) -> None:
        problems = []
        if not 1 <= self.width <= 256:
            problems.append(f"width is {self.width}; it must lie in 1..256")
        if not 1 <= self.layers <= 8:
            problems.append(f"layers is {self.layers}; 1..8 are supported")
        refuse(problems + _impossible_for_any(self))

    @property
    def bands(self) -> None:
        """Any number of them."""

    @property
    def cell(self) -> int:
        """Pixels that lines and samples must be multiples of."""
        return 1


class SceneNeeds(Protocol):
    """What a model asks of the scenes that it is trained on."""

    @property
    def bands(self) -> int | None:
        """Of every scene; None: as they come."""
        ...

    @property
    def cell(self) -> int:
        """Pixels that a measured scene has at least, along lines and samples."""
        ...


def _impossible_values(model: ModelConfig) -> list[str]:
    """What no codec of one network can have."""
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
    return problems + _impossible_for_any(model)


def _impossible_for_any(model: ModelConfig | AdaptiveConfig) -> list[str]:
    problems = []
    if not 1 <= model.leaky_slope_bits <= 10:
        problems.append(f"leaky_slope_bits is {model.leaky_slope_bits}; 1..10 are supported")
    if model.peak <= 0:
        problems.append(f"peak is {model.peak}; it must be positive")
    return problems


def refuse(problems: list[str]) -> None:
    """Raise ValueError with all of them, if there are any."""
    if problems:
        raise ValueError("; ".join(problems))


def family_of(model: object) -> object:
    """What a document's `model` section names as its family."""
    if isinstance(model, Mapping):
        return model.get("family", HyVICConfig.family)
    return getattr(model, "family", HyVICConfig.family)


def _without_family(model: Any) -> Any:
    """HyVIC's documents name no family: they are older than the second one, and mean the same today."""
    return {key: value for key, value in model.items() if key != "family"} if isinstance(model, Mapping) else model


AnyModelConfig = Annotated[
    Annotated[HyVICConfig, BeforeValidator(_without_family), Tag("hyvic")] | Annotated[JointConfig, Tag("joint")],
    Discriminator(
        family_of, custom_error_type="family", custom_error_message="family must be hyvic, joint or adaptive"
    ),
]
"""The `model` section of a document, told apart by its `family`."""
