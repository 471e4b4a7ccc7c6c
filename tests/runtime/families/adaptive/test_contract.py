"""The scene-adaptive codec does what every codec does."""

from __future__ import annotations

from codec_contract import CodecContract
from faulty_engines import adaptive_with_faults
from hyvic_runtime.families.adaptive.bundle import FILES
from hyvic_runtime.packets.space_packet import UnitKind
from scenes import TILE


class TestSceneAdaptiveCodec(CodecContract):
    BUNDLE = "tiny_adaptive_bundle"
    BANDS = 6
    STRIP_UNITS = (UnitKind.STRIP_BASIS,)
    MEMORY_SCENE = (TILE, 200)
    MEMORY_STRIPS = 4
    files = FILES
    with_faults = staticmethod(adaptive_with_faults)
