"""The model families, in one place: what encodes and decodes with a bundle."""

from __future__ import annotations

from hyvic_runtime.codec.row_encoder import AnyEncoder
from hyvic_runtime.codec.scene_decoder import AnyDecoder
from hyvic_runtime.engines.selection import EngineKind, default_workers, usable_cores
from hyvic_runtime.families.adaptive.decoder import AdaptiveDecoder
from hyvic_runtime.families.adaptive.encoder import AdaptiveEncoder
from hyvic_runtime.families.latent.bundle import AnyBundle, Bundle
from hyvic_runtime.families.latent.decoder import SceneDecoder
from hyvic_runtime.families.latent.encoder import SceneEncoder


def encoder_of(
    bundle: AnyBundle, engine: EngineKind | None = None, *, workers: int | None = None, cores: int | None = None
) -> AnyEncoder:
    """An encoder of a bundle; see `PacketEncoder`.

    Raises:
        BundleError: engine or coder do not compute what the bundle's exporter did.
        EngineError: the engine is not in the bundle, or does not run here.
    """
    workers, cores = workers or default_workers(), cores or usable_cores()
    if isinstance(bundle, Bundle):
        return SceneEncoder(bundle, engine, workers=workers, cores=cores)
    return AdaptiveEncoder(bundle, engine, workers=workers, cores=cores)


def decoder_of(
    bundle: AnyBundle, engine: EngineKind | None = None, *, workers: int | None = None, cores: int | None = None
) -> AnyDecoder:
    """A decoder of a bundle's streams; see `PacketDecoder`, and `encoder_of` for what it raises."""
    workers, cores = workers or default_workers(), cores or usable_cores()
    if isinstance(bundle, Bundle):
        return SceneDecoder(bundle, engine, workers=workers, cores=cores)
    return AdaptiveDecoder(bundle, engine, workers=workers, cores=cores)
