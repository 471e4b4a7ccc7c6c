"""Compilation of a bundle's graphs for a target: here, or on the device that will run them.

This module needs neither torch nor onnx, so that a Jetson can compile the bundle that it flies.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from hyvic_runtime.codec.bundle_files import MANIFEST, file_sha256
from hyvic_runtime.engines.selection import EngineKind, EngineSet, engine_name
from hyvic_runtime.engines.tensorrt.cuda_device import CudaDevice
from hyvic_runtime.engines.tensorrt.library import TensorRTLibrary
from hyvic_runtime.errors import EngineError
from hyvic_runtime.families.latent import bundle as layout
from hyvic_runtime.families.latent.bundle import LatentBundle, LatentManifest, read_latent_bundle
from hyvic_runtime.families.latent.entropy_path import load_entropy_path
from hyvic_runtime.families.latent.expected_outputs import write_expected_outputs
from hyvic_runtime.families.registry import BUNDLE_FILES
from hyvic_runtime.support.atomic_file import replacing, replacing_folder

from hyvic_export.precision import Precision
from hyvic_export.tensorrt.builder import EngineBuilder

_BUILD_SCRIPT = """\
#!/bin/sh
# Compiles this bundle's graphs with the TensorRT of the machine it runs on, in place, and checks the result.
# Needs: TensorRT with its Python module, and pip install 'hyvic-onboard[tensorrt]'. Words given to it go to
# export-engine, for instance --timing-cache FILE.
set -eu
bundle=$(cd "$(dirname "$0")" && pwd)
export-engine --bundle "$bundle" --out "$bundle" --force --target tensorrt "$@"
verify-bundle "$bundle"
"""


class TargetName(StrEnum):
    """Name of the engine that a bundle is made for."""

    ONNX = "onnx"
    """ONNX Runtime on any machine."""
    TENSORRT = "tensorrt"
    """TensorRT of the machine that compiles, such as a Jetson."""
    TENSORRT_RTX = "tensorrt-rtx"
    """TensorRT-RTX, compiled ahead of time without a GPU."""

    @classmethod
    def _missing_(cls, value: object) -> None:
        raise ValueError(f"unknown target {value!r}; choose among {', '.join(cls)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Engine and device that a bundle is made for.

    Attributes:
        name: name of the engine.
        compute_capability: GPU that TensorRT-RTX builds for, such as "8.6"; None: all that one build can serve.
        timing_cache: file of TensorRT's measurements; read if it exists, and written.
    """

    name: TargetName = TargetName.ONNX
    compute_capability: str | None = None
    timing_cache: Path | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", TargetName(self.name))
        if self.compute_capability is not None and self.name is not TargetName.TENSORRT_RTX:
            raise ValueError("--compute-capability belongs to --target tensorrt-rtx: tensorrt builds for its own GPU")
        if self.timing_cache is not None and self.name is not TargetName.TENSORRT:
            raise ValueError("--timing-cache belongs to --target tensorrt: the others measure nothing")

    def builder(self) -> EngineBuilder | None:
        """Make the builder of its engines; None: no engine is needed, or only the device can build it.

        Raises:
            EngineError: TensorRT-RTX is missing.
            ValueError: the library does not build for the compute capability.
        """
        if self.name is TargetName.ONNX or self.obstacle is not None:
            return None
        cache = self.timing_cache.read_bytes() if self.timing_cache is not None and self.timing_cache.exists() else b""
        return EngineBuilder(TensorRTLibrary(self.name), compute_capability=self.compute_capability, timing_cache=cache)

    @property
    def obstacle(self) -> str | None:
        """Return why only the device can compile: TensorRT or a GPU is missing here. None: this machine can compile."""
        if self.name is not TargetName.TENSORRT:
            return None
        try:
            TensorRTLibrary.TENSORRT.load()
            CudaDevice()
        except EngineError as error:
            return str(error)
        return None


def compile_in_place(
    bundle: LatentBundle,
    target: Target,
    builder: EngineBuilder | None,
    *,
    progress: Callable[[str], None] = lambda _: None,
    phase: Callable[[str], None] = lambda _: None,
) -> LatentManifest:
    """Add to a bundle's folder the files for its target: engines, or the files that a device needs to build them.

    Args:
        bundle: bundle without engines, in a folder that no one else reads yet.
        target: target to compile for.
        builder: builder of the target.
        progress: receives the name of each engine.
        phase: receives the phase of the builder.

    Returns:
        The manifest with the added files; the caller writes it.

    Raises:
        EngineError: the library refuses a graph.
    """
    folder, manifest = bundle.folder, bundle.manifest
    if target.name is TargetName.TENSORRT and layout.EXPECTED_OUTPUTS not in manifest.extras:
        processor = EngineKind.ONNXRUNTIME
        encoder, decoder = (bundle.load_engine(graph, processor) for graph in (layout.ENCODER, layout.DECODER))
        entropy_path = load_entropy_path(bundle, processor)
        write_expected_outputs(folder / layout.EXPECTED_OUTPUTS, bundle, encoder, entropy_path, decoder)
        script = folder / layout.BUILD_SCRIPT
        script.write_text(_BUILD_SCRIPT)
        script.chmod(0o755)
        made = {name: file_sha256(folder / name) for name in (layout.BUILD_SCRIPT, layout.EXPECTED_OUTPUTS)}
        manifest = replace(manifest, extras=manifest.extras | made)
    if builder is not None:
        for graph in layout.graph_names(manifest.slices):
            engine = engine_name(graph)
            progress(f"{engine} for {builder.compute_capability}")
            (folder / engine).write_bytes(builder.build(folder / graph, phase=phase))
        if target.timing_cache is not None:
            with replacing(target.timing_cache) as (partial,):
                partial.write_bytes(builder.timing_cache)
        engine_set = EngineSet(
            library=builder.library,
            library_version=builder.version,
            compute_capability=builder.compute_capability,
            files={name: file_sha256(folder / name) for name in layout.engine_names(manifest.slices)},
        )
        manifest = replace(manifest, engines=engine_set)
    return manifest


def compiled_bundle(
    source: Path,
    out: Path,
    target: Target,
    *,
    progress: Callable[[str], None] = lambda _: None,
    phase: Callable[[str], None] = lambda _: None,
) -> LatentManifest:
    """Write a copy of a bundle, or replace the bundle, with the engines of a target; the codec does not change.

    Raises:
        BundleError: the source is no bundle, was altered, or its family has no graphs to compile.
        EngineError: the engines cannot be built here.
        ValueError: the target does not fit the library or the bundle.
    """
    builder = target.builder()
    progress("reading the bundle")
    bundle = read_latent_bundle(source)
    manifest = bundle.manifest
    for_tensorrt = manifest.engines is not None or layout.BUILD_SCRIPT in manifest.extras
    if manifest.precision == Precision.INT8 and target.name is not TargetName.ONNX and not for_tensorrt:
        raise ValueError(
            f"{source} holds int8 in the form of ONNX Runtime, which TensorRT refuses: export its checkpoint again "
            f"with --target {target.name}"
        )
    manifest = replace(manifest, engines=None)
    with replacing_folder(out, contents=BUNDLE_FILES) as partial:
        for name in manifest.pinned:
            shutil.copy(source / name, partial / name)
        copy = replace(bundle, folder=partial, manifest=manifest)
        manifest = compile_in_place(copy, target, builder, progress=progress, phase=phase)
        (partial / MANIFEST).write_bytes(manifest.file_bytes())
    return manifest
