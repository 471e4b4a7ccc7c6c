"""Deployment bundles as codecs."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from hyvic_runtime.codec.row_encoder import AnyEncoder
from hyvic_runtime.codec.scene_decoder import AnyDecoder
from hyvic_runtime.codec.scene_encoder import scene_stream
from hyvic_runtime.codec.seen_scenes import seen_scenes_of
from hyvic_runtime.engines.selection import EngineKind
from hyvic_runtime.errors import RateError, SceneError
from hyvic_runtime.families.latent.bundle import ENCODER
from hyvic_runtime.families.registry import FAMILIES, decoder_of, encoder_of, read_bundle, verify
from hyvic_runtime.flight.rate_search import RateSearch
from hyvic_runtime.scene.scene import Cube, Scene
from hyvic_runtime.support.metrics import compression_ratio

from hyvic_compare.codecs.codec import octet_budget
from hyvic_compare.errors import TargetRatioError

_VERSION = 2
LEAST_USE = 0.5
"""Share of the budget that the highest rate must take. With less, the point would stand for a ratio far from its own,
and the next target would get the same stream."""
NEAR_CENTRE_NM = 0.5


@dataclass
class BundleCodec:
    """Packets of the best quality whose octets, headers included, keep the budget (`encode-scene --target-ratio`).

    Everything runs on one core of the processor, on the engine that the bundle's family names for processors.

    Attributes:
        folder: folder of the bundle, which every worker can read.
        name: name for legends.
    """

    folder: Path
    name: str
    _kind: EngineKind | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        bundle = read_bundle(self.folder)
        self.seen_scenes = seen_scenes_of(bundle)
        self.wavelengths = bundle.manifest.wavelengths
        # A bundle's identity covers what decodes its streams; the encoder may have another precision.
        encoder = " ".join(digest for name, digest in sorted(bundle.manifest.files.items()) if name.startswith(ENCODER))
        self._kind = FAMILIES[bundle.manifest.family].processor_engine
        engine = verify(bundle, self._kind).engine
        self.identity = f"bundle {bundle.identity.hex()} encoder {encoder} version {_VERSION}, {engine}"

    def load(self) -> None:
        _ = self._codec

    def encode(self, scene: Scene, target_ratio: float) -> bytes:
        encoder, _ = self._codec
        self._check_bands(scene, encoder)
        budget = octet_budget(scene, target_ratio)
        if encoder.bundle.manifest.rates == 1:
            stream = scene_stream(encoder, scene)
            if len(stream) > budget:
                raise TargetRatioError(codec=self.name, target_ratio=target_ratio, allowed=budget, needed=len(stream))
        else:
            with tempfile.TemporaryDirectory() as folder:
                writer = RateSearch(encoder=encoder, scene=scene, folder=Path(folder))
                stream = writer.within(budget).read()
        if len(stream) < LEAST_USE * budget:
            ratio = compression_ratio(scene.cube.size, scene.bit_depth, len(stream))
            raise RateError(
                f"{self.name}: CR {target_ratio:g} allows {budget:,} octets and the highest rate takes {len(stream):,} "
                f"(CR {ratio:.1f}); ask for a higher ratio, or use a bundle of a higher rate"
            )
        return stream

    def decode(self, stream: bytes) -> Cube:
        return self._codec[1].decode(stream).scene.cube

    @cached_property
    def _codec(self) -> tuple[AnyEncoder, AnyDecoder]:
        bundle = read_bundle(self.folder)
        return encoder_of(bundle, self._kind, workers=1, cores=1), decoder_of(bundle, self._kind, workers=1, cores=1)

    def _check_bands(self, scene: Scene, encoder: AnyEncoder) -> None:
        encoder.grid(scene)
        if scene.wavelengths is None or self.wavelengths is None:
            return
        apart = float(np.abs(scene.wavelengths - np.array(self.wavelengths)).max())
        if apart > NEAR_CENTRE_NM:
            raise SceneError(
                f"{self.name}: the scene's band centres are up to {apart:.1f} nm from the bundle's; compare with "
                "--resample"
            )
