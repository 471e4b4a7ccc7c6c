"""The model families, in one place: what encodes and decodes with a bundle."""

from __future__ import annotations

from hyvic_runtime.adaptive.decoder import AdaptiveDecoder
from hyvic_runtime.adaptive.encoder import AdaptiveEncoder
from hyvic_runtime.bundle import AnyBundle, Bundle
from hyvic_runtime.decoder import SceneDecoder
from hyvic_runtime.encoder import SceneEncoder
from hyvic_runtime.engine_choice import EngineKind, default_workers, usable_cores
from hyvic_runtime.packet_decoder import AnyDecoder
from hyvic_runtime.packet_encoder import AnyEncoder

ADAPTIVE_WORKERS = 1
"""Contexts are made by many short NumPy calls, and threads that make them get into each other's way: two take longer
than one (tests/benchmarks/bench_adaptive.py). Beside it the caller's thread transforms the next strip, so the engine
keeps to one core, too."""


def encoder_of(
    bundle: AnyBundle, engine: EngineKind | None = None, *, workers: int | None = None, cores: int | None = None
) -> AnyEncoder:
    """An encoder of a bundle; see `PacketEncoder`.

    Raises:
        BundleError: engine or coder do not compute what the bundle's exporter did.
        EngineError: the engine is not in the bundle, or does not run here.
    """
    if isinstance(bundle, Bundle):
        return SceneEncoder(bundle, engine, workers=workers or default_workers(), cores=cores or usable_cores())
    return AdaptiveEncoder(bundle, engine, workers=workers or ADAPTIVE_WORKERS, cores=cores or 1)


def decoder_of(
    bundle: AnyBundle, engine: EngineKind | None = None, *, workers: int | None = None, cores: int | None = None
) -> AnyDecoder:
    """A decoder of a bundle's streams; see `PacketDecoder`, and `encoder_of` for what it raises."""
    if isinstance(bundle, Bundle):
        return SceneDecoder(bundle, engine, workers=workers or default_workers(), cores=cores or usable_cores())
    return AdaptiveDecoder(bundle, engine, workers=workers or ADAPTIVE_WORKERS, cores=cores or 1)
