"""Torch-free runtime of learned hyperspectral codecs: scenes in, CCSDS packets out, and back.

These names are the public interface; docs/api.md shows how they are used. Everything else may change.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hyvic_runtime.api import decode, encode
    from hyvic_runtime.codec.acquisition import Acquisition, Interleave
    from hyvic_runtime.codec.bundle import Bundle
    from hyvic_runtime.codec.quality_map import Quality
    from hyvic_runtime.codec.row_encoder import RowEncoder
    from hyvic_runtime.codec.scene_decoder import DecodedScene, SceneDecoder
    from hyvic_runtime.codec.scene_encoder import SceneEncoder, scene_packets, scene_stream
    from hyvic_runtime.downlink.rate_control import DownlinkBudget
    from hyvic_runtime.engines.selection import EngineKind
    from hyvic_runtime.errors import (
        ArchiveError,
        BundleError,
        DecodeError,
        EngineError,
        HyvicError,
        LostTilesError,
        RateError,
        SceneError,
        SecurityError,
    )
    from hyvic_runtime.families.registry import decoder_of, encoder_of, read_bundle, verify
    from hyvic_runtime.kernels import KernelKind
    from hyvic_runtime.packets.protection import PacketProtector, read_key
    from hyvic_runtime.packets.space_packet import Packetiser
    from hyvic_runtime.scene.files import read_scene, write_scene
    from hyvic_runtime.scene.georeference import Georeference
    from hyvic_runtime.scene.scene import Scene

_MODULES = {
    "api": ("decode", "encode"),
    "codec.acquisition": ("Acquisition", "Interleave"),
    "codec.bundle": ("Bundle",),
    "codec.quality_map": ("Quality",),
    "downlink.rate_control": ("DownlinkBudget",),
    "codec.row_encoder": ("RowEncoder",),
    "codec.scene_decoder": ("DecodedScene", "SceneDecoder"),
    "codec.scene_encoder": ("SceneEncoder", "scene_packets", "scene_stream"),
    "engines.selection": ("EngineKind",),
    "errors": (
        "ArchiveError",
        "BundleError",
        "DecodeError",
        "EngineError",
        "HyvicError",
        "LostTilesError",
        "RateError",
        "SceneError",
        "SecurityError",
    ),
    "families.registry": ("decoder_of", "encoder_of", "read_bundle", "verify"),
    "kernels": ("KernelKind",),
    "packets.protection": ("PacketProtector", "read_key"),
    "packets.space_packet": ("Packetiser",),
    "scene.files": ("read_scene", "write_scene"),
    "scene.georeference": ("Georeference",),
    "scene.scene": ("Scene",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__version__ = version("hyvic-onboard")
__all__ = [
    "Acquisition",
    "ArchiveError",
    "Bundle",
    "BundleError",
    "DecodeError",
    "DecodedScene",
    "DownlinkBudget",
    "EngineError",
    "EngineKind",
    "Georeference",
    "HyvicError",
    "Interleave",
    "KernelKind",
    "LostTilesError",
    "PacketProtector",
    "Packetiser",
    "Quality",
    "RateError",
    "RowEncoder",
    "Scene",
    "SceneDecoder",
    "SceneEncoder",
    "SceneError",
    "SecurityError",
    "__version__",
    "decode",
    "decoder_of",
    "encode",
    "encoder_of",
    "read_bundle",
    "read_key",
    "read_scene",
    "scene_packets",
    "scene_stream",
    "verify",
    "write_scene",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: a command that shows its help loads no codec."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
