"""Common options of the commands, and checks before any work."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hyvic_runtime.codec.bundle import Bundle
    from hyvic_runtime.engines.selection import EngineKind
    from hyvic_runtime.kernels import KernelKind
    from hyvic_runtime.scene.scene import Scene

MAX_BAND_SHIFT_NM = 5.0
"""Largest difference of band centres without resampling, about half an EnMAP band.

With a larger shift, a spectrum no longer means to the model what it meant in training."""


def add_coded_scene(parser: argparse.ArgumentParser) -> None:
    """Add the options for the scene, the bundle, the engine and the packets of an encoder."""
    from hyvic_runtime.packets.space_packet import DEFAULT_PACKET_OCTETS

    parser.add_argument("scene", type=Path, metavar="SCENE", help=".npz .npy .hdr .tif .h5 .he5 or .mat")
    parser.add_argument("--bundle", type=Path, required=True, help="folder that export-engine wrote")
    add_engine_option(parser)
    parser.add_argument(
        "--resample", action="store_true", help="interpolate the scene to the bundle's band centres first"
    )
    parser.add_argument(
        "--packet-octets",
        type=int,
        default=DEFAULT_PACKET_OCTETS,
        metavar="N",
        help=f"largest length of a packet, headers included (default: {DEFAULT_PACKET_OCTETS})",
    )


def add_engine_option(parser: argparse.ArgumentParser) -> None:
    """Add the options `engine_of` and `kernels_of` read."""
    from hyvic_runtime.engines.selection import EngineKind
    from hyvic_runtime.kernels import KernelKind

    parser.add_argument(
        "--engine",
        choices=[kind.value for kind in EngineKind],
        help="engine for the graphs (default: the one that the bundle was compiled for, else onnxruntime; native for "
        "scene-adaptive bundles with native kernels)",
    )
    parser.add_argument(
        "--kernels",
        choices=[kind.value for kind in KernelKind],
        help="inner loops: native in C, or the reference in Python, which gives the same octets and is several times "
        "slower (default: native where the package was built with a C compiler)",
    )


def engine_of(arguments: argparse.Namespace) -> EngineKind | None:
    from hyvic_runtime.engines.selection import EngineKind

    return None if arguments.engine is None else EngineKind(arguments.engine)


def kernels_of(arguments: argparse.Namespace) -> KernelKind | None:
    from hyvic_runtime.kernels import KernelKind

    return None if arguments.kernels is None else KernelKind(arguments.kernels)


def add_key_option(parser: argparse.ArgumentParser, purpose: str) -> None:
    parser.add_argument(
        "--key",
        type=Path,
        metavar="FILE",
        help=f"{purpose}; the file holds 32 random octets that only its owner can read",
    )


def refuse_input_as_output(out: Path, source: Path, bundle: Bundle, *, option: str = "--out") -> None:
    inputs = [source]
    if source.suffix.lower() == ".hdr":
        inputs += source.parent.glob(f"{source.stem}.*")  # ENVI stores the samples in a second file
    if out.resolve() in (path.resolve() for path in inputs):
        raise ValueError(f"{option} {out} is an input file of {source}; name another file")
    if bundle.folder.resolve() in (out.resolve(), *out.resolve().parents):
        raise ValueError(f"{option} {out} lies in the bundle; name another folder")


def on_band_centres(scene: Scene, bundle: Bundle, *, resample: bool) -> Scene:
    """Return the scene on the band centres of the bundle.

    Args:
        scene: scene to encode.
        bundle: bundle that will code the scene.
        resample: interpolate the scene to the band centres of the bundle.

    Raises:
        SceneError: the band centres are known to differ and `resample` is False, or the scene cannot be resampled.
    """
    import numpy as np

    from hyvic_runtime.errors import SceneError
    from hyvic_runtime.scene.scene import resample_bands

    if bundle.manifest.wavelengths is None:
        if resample:
            raise SceneError(
                "the bundle names no band centres, so no scene can be resampled to them; leave out --resample"
            )
        return scene
    wanted = np.array(bundle.manifest.wavelengths)
    if resample:
        return resample_bands(scene, wanted)
    if scene.wavelengths is not None and scene.wavelengths.shape == wanted.shape:
        shift = float(np.abs(scene.wavelengths - wanted).max())
        if shift > MAX_BAND_SHIFT_NM:
            raise SceneError(f"the scene's band centres are up to {shift:.0f} nm from the bundle's; pass --resample")
    return scene
