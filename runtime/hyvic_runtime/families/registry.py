"""The codec families: the only place that knows all of them.

A new family is a folder beside this file and a line in FAMILIES.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyvic_runtime.codec.bundle import Bundle
from hyvic_runtime.codec.bundle_files import MANIFEST, not_of_this_version, read_manifest
from hyvic_runtime.codec.conformance import Verification
from hyvic_runtime.codec.row_encoder import AnyEncoder
from hyvic_runtime.codec.scene_decoder import AnyDecoder
from hyvic_runtime.engines.selection import EngineKind, default_workers, usable_cores
from hyvic_runtime.families.adaptive import bundle as adaptive
from hyvic_runtime.families.adaptive.conformance import verify_adaptive_bundle
from hyvic_runtime.families.adaptive.decoder import AdaptiveDecoder
from hyvic_runtime.families.adaptive.encoder import AdaptiveRowEncoder
from hyvic_runtime.families.latent import bundle as latent
from hyvic_runtime.families.latent.conformance import verify_latent_bundle
from hyvic_runtime.families.latent.decoder import LatentDecoder
from hyvic_runtime.families.latent.encoder import LatentRowEncoder
from hyvic_runtime.kernels import KernelKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One codec family.

    Attributes:
        read: makes a bundle from its folder, its format version and the other entries of its manifest.
        encoder: makes a row encoder of a bundle.
        decoder: makes a scene decoder of a bundle.
        verify: checks that an engine runs a bundle exactly.
        files: names of every file that a bundle may have beside its manifest.
        processor_engine: engine that runs a bundle on a processor, whatever the bundle was compiled for.
    """

    read: Callable[[Path, int, dict[str, Any]], Bundle]
    encoder: Callable[..., AnyEncoder]
    decoder: Callable[..., AnyDecoder]
    verify: Callable[[Any, EngineKind | None, KernelKind | None], Verification]
    files: tuple[str, ...]
    processor_engine: EngineKind | None


_LATENT = Family(
    read=latent.latent_bundle,
    encoder=LatentRowEncoder,
    decoder=LatentDecoder,
    verify=verify_latent_bundle,
    files=latent.FILES,
    processor_engine=EngineKind.ONNXRUNTIME,
)
FAMILIES = {
    **dict.fromkeys(latent.FAMILIES, _LATENT),
    adaptive.ADAPTIVE: Family(
        read=adaptive.adaptive_bundle,
        encoder=AdaptiveRowEncoder,
        decoder=AdaptiveDecoder,
        verify=verify_adaptive_bundle,
        files=adaptive.ALL_FILES,
        processor_engine=None,
    ),
}
BUNDLE_FILES = tuple(dict.fromkeys((MANIFEST, *(name for family in FAMILIES.values() for name in family.files))))
"""Names of every file that a bundle of any family may have."""


def read_bundle(folder: Path) -> Bundle:
    """Load a bundle of any family and check every octet of it.

    Raises:
        BundleError: a file is missing or altered, or the format is another version's.
    """
    version, document = read_manifest(folder)
    name = document.get("family")
    if name not in FAMILIES:
        raise not_of_this_version(folder, f"its family is {name!r}; this release knows {', '.join(FAMILIES)}")
    return FAMILIES[name].read(folder, version, document)


def encoder_of(
    bundle: Bundle,
    engine: EngineKind | None = None,
    *,
    kernels: KernelKind | None = None,
    workers: int | None = None,
    cores: int | None = None,
) -> AnyEncoder:
    """Make an encoder of a bundle; see `RowEncoder`, and `chosen_kernels` for the kernels.

    Raises:
        BundleError: engine or coder do not compute what the bundle's exporter did.
        EngineError: the engine is not in the bundle, or does not run here.
    """
    encoder = FAMILIES[bundle.manifest.family].encoder
    return encoder(bundle, engine, kernels=kernels, workers=workers or default_workers(), cores=cores or usable_cores())


def decoder_of(
    bundle: Bundle,
    engine: EngineKind | None = None,
    *,
    kernels: KernelKind | None = None,
    workers: int | None = None,
    cores: int | None = None,
) -> AnyDecoder:
    """Make a decoder of a bundle's streams; see `SceneDecoder`, and `encoder_of` for what it raises."""
    decoder = FAMILIES[bundle.manifest.family].decoder
    return decoder(bundle, engine, kernels=kernels, workers=workers or default_workers(), cores=cores or usable_cores())


def verify(bundle: Bundle, engine: EngineKind | None = None, kernels: KernelKind | None = None) -> Verification:
    """Check that an engine computes a bundle's entropy path exactly.

    Raises:
        BundleError: it does not.
        EngineError: the engine is not in the bundle, or does not run here.
    """
    return FAMILIES[bundle.manifest.family].verify(bundle, engine, kernels)
