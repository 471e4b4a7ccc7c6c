"""PCA over the spectra, JPEG 2000 over the components: the strongest classical codec."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
from hyvic_runtime.errors import DecodeError
from hyvic_runtime.scene.scene import Cube, Scene

from hyvic_compare.codecs.codec import octet_budget
from hyvic_compare.codecs.codestream import decode_planes, encode_planes
from hyvic_compare.codecs.spectral_basis import SpectralBasis, basis_octets, read_basis, spectral_basis
from hyvic_compare.codecs.stream import FRAME_OCTETS, CubeType, StreamKind, framed, unframed
from hyvic_compare.errors import TargetRatioError

COMPONENTS = (1, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128, 181, 256)
"""Numbers of components to try, each about √2 times the one before."""
_HEADER = struct.Struct(">Hf")
_INT16_MAX = 32767
_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PcaJpeg2000:
    """Leading principal components as one 16-bit multi-component JPEG 2000 image.

    OpenJPEG's rate control weighs the squared errors of all components alike. All components share one step, so that
    it spends octets where they lower the error of the spectra most. The step is as fine as 16 bits allow.

    More components cost more basis and may gain nothing. Numbers from COMPONENTS are tried upwards until two in a row
    left a larger squared error than the best, and the best is kept. Streams end within 0.5 % below the budget if
    OpenJPEG's passes allow it (see `encode_planes`); up to 2 % has been seen.

    Payload, big-endian: components (u16), step (float32), basis (see `spectral_basis`), codestream.
    """

    @property
    def name(self) -> str:
        return "PCA + JPEG 2000"

    @property
    def identity(self) -> str:
        return f"{self} version {_VERSION}, rasterio {version('rasterio')}"

    def encode(self, scene: Scene, target_ratio: float) -> bytes:
        cube = CubeType.of(scene.cube)
        budget = octet_budget(scene, target_ratio)
        full = spectral_basis(scene)
        best: _Attempt | None = None
        worse = 0
        needed = 0
        for attempt in _attempts(scene, cube, full, budget):
            if attempt.octets > budget:
                needed = needed or attempt.octets
                break
            if best is None or attempt.saved > best.saved:
                best, worse = attempt, 0
            else:
                worse += 1
            if worse == 2:
                break
        if best is None:
            raise TargetRatioError(codec=self.name, target_ratio=target_ratio, allowed=budget, needed=needed)
        head = _HEADER.pack(len(best.basis), best.step)
        return framed(StreamKind.PCA_JPEG2000, cube, head + best.basis.to_octets() + best.codestream)

    def decode(self, stream: bytes) -> Cube:
        cube, payload = unframed(StreamKind.PCA_JPEG2000, stream)
        count, step = payload.unpack(_HEADER)
        components = int(count)
        if not 1 <= components <= cube.bands:
            raise DecodeError(f"{components} components of {cube.bands} bands")
        if not (np.isfinite(step) and step > 0):
            raise DecodeError(f"a step of {step} is not possible")
        basis = read_basis(payload, components, cube)
        shape = (components, cube.lines, cube.samples)
        planes = decode_planes(payload.take(payload.remaining), shape, np.dtype(np.int16))
        return basis.reconstruct(step * planes.reshape(components, -1).astype(np.float64), cube)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    """One number of components, coded.

    Attributes:
        basis: basis with this number of components.
        step: step of the 16-bit planes, exact in float32.
        codestream: codestream of the planes.
        octets: length of the whole stream.
        saved: reduction of the squared error against the mean spectrum alone, before rounding to digital numbers.
    """

    basis: SpectralBasis
    step: float
    codestream: bytes
    octets: int
    saved: float


def _attempts(scene: Scene, cube: CubeType, full: SpectralBasis, budget: int) -> Iterator[_Attempt]:
    most = min(cube.bands, cube.pixels, COMPONENTS[-1])
    products = full.leading(most).products(scene.cube)
    for count in sorted({min(count, most) for count in COMPONENTS}):
        basis = full.leading(count)
        coefficients = basis.coefficients(products)
        # A little larger, so that the largest coefficient still rounds to 32,767 in float32; 1 if all pixels are equal.
        step = float(np.float32(np.abs(coefficients).max() / _INT16_MAX * (1 + 1e-6))) or 1.0
        shape = (count, cube.lines, cube.samples)
        planes = np.rint(coefficients / step).astype(np.int16).reshape(shape)
        side = FRAME_OCTETS + _HEADER.size + basis_octets(count, cube)
        codestream = encode_planes(planes, budget - side)
        decoded = decode_planes(codestream, shape, planes.dtype).reshape(count, -1)
        # |x − Vᵀĉ|² = |x|² − c·Vx + (c − ĉ)·VVᵀ(c − ĉ), with c the best coefficients.
        errors = coefficients - step * decoded
        yield _Attempt(
            basis=basis,
            step=step,
            codestream=codestream,
            octets=side + len(codestream),
            saved=float((coefficients * products[:count]).sum() - (errors * (basis.gram() @ errors)).sum()),
        )
