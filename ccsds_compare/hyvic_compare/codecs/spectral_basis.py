"""Principal components of a scene's spectra, as they travel in a stream.

mean            bands × the scene's sample type, big-endian
components      count × bands × int16, big-endian, in units of 1 / 32767
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hyvic_runtime.scene.scene import Cube, Scene, mean_spectrum
from numpy.typing import NDArray

from hyvic_compare.codecs.stream import CubeType, PayloadReader

_UNIT = 32767
_BIG_ENDIAN_INT16 = np.dtype(">i2")


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectralBasis:
    """A mean spectrum and the leading directions around it.

    Attributes:
        mean: (band,) mean spectrum in the scene's sample type.
        vectors: (component, band) int16, each 32767 times a unit vector, by falling variance.
    """

    mean: NDArray[np.integer[Any]]
    vectors: NDArray[np.int16]

    def __len__(self) -> int:
        return len(self.vectors)

    def leading(self, count: int) -> SpectralBasis:
        """Return the basis of the first components."""
        return SpectralBasis(mean=self.mean, vectors=self.vectors[:count])

    def products(self, cube: Cube) -> NDArray[np.float64]:
        """Return the inner products of every spectrum, less the mean, with the components: (component, pixel)."""
        vectors = self.vectors / _UNIT
        # A block of lines at a time: a whole swath in double precision would not fit in memory.
        return np.concatenate([vectors @ _centred(lines, self.mean).T for lines in _blocks(cube)], axis=1)

    def coefficients(self, products: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return coefficients (component, pixel) that reconstruct the spectra with the least squared error.

        Rounded to 16 bits, the components are not quite orthogonal. The inverse of their Gram matrix corrects this, so
        that only the part outside their span is lost.

        Args:
            products: inner products with these components, and perhaps with further ones after them.
        """
        result: NDArray[np.float64] = np.linalg.solve(self.gram(), products[: len(self)])
        return result

    def gram(self) -> NDArray[np.float64]:
        """Return the inner products of the components; the unit matrix except for rounding to 16 bits."""
        vectors = self.vectors / _UNIT
        result: NDArray[np.float64] = vectors @ vectors.T
        return result

    def reconstruct(self, coefficients: NDArray[np.float64], cube: CubeType) -> Cube:
        """Return the cube of coefficients (component, pixel), rounded and clipped to its sample type."""
        result = np.empty((cube.pixels, cube.bands), cube.dtype)
        low, high = np.iinfo(cube.dtype).min, np.iinfo(cube.dtype).max
        vectors, mean = self.vectors / _UNIT, self.mean.astype(np.float64)
        for start in range(0, cube.pixels, _BLOCK):
            spectra = coefficients[:, start : start + _BLOCK].T @ vectors + mean
            result[start : start + _BLOCK] = np.rint(spectra).clip(low, high)
        return result.reshape(cube.lines, cube.samples, cube.bands)

    def to_octets(self) -> bytes:
        """Return the octets of the basis in a stream."""
        mean = self.mean.astype(self.mean.dtype.newbyteorder(">")).tobytes()
        return mean + self.vectors.astype(_BIG_ENDIAN_INT16).tobytes()


_BLOCK = 65_536


def basis_octets(count: int, cube: CubeType) -> int:
    """Return the octets of a mean and `count` components."""
    return cube.bands * (cube.dtype.itemsize + count * _BIG_ENDIAN_INT16.itemsize)


def read_basis(payload: PayloadReader, count: int, cube: CubeType) -> SpectralBasis:
    """Take a basis from a stream.

    Raises:
        DecodeError: the stream is too short.
    """
    mean = np.frombuffer(payload.take(cube.bands * cube.dtype.itemsize), cube.dtype.newbyteorder(">"))
    vectors = np.frombuffer(payload.take(count * cube.bands * _BIG_ENDIAN_INT16.itemsize), _BIG_ENDIAN_INT16)
    return SpectralBasis(mean=mean.astype(cube.dtype), vectors=vectors.astype(np.int16).reshape(count, cube.bands))


def spectral_basis(scene: Scene) -> SpectralBasis:
    """Return all principal components of a scene, around its mean spectrum rounded to whole digital numbers."""
    bands = scene.cube.shape[2]
    mean = mean_spectrum(scene)
    scatter = np.zeros((bands, bands))
    for lines in _blocks(scene.cube):
        spectra = _centred(lines, mean)
        scatter += spectra.T @ spectra
    vectors = np.linalg.eigh(scatter)[1].T[::-1]  # eigh sorts by rising eigenvalue
    return SpectralBasis(mean=mean, vectors=np.rint(vectors * _UNIT).astype(np.int16))


def _blocks(cube: Cube) -> list[Cube]:
    lines = max(1, _BLOCK // cube.shape[1])
    return [cube[start : start + lines] for start in range(0, len(cube), lines)]


def _centred(lines: Cube, mean: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    return lines.reshape(-1, lines.shape[2]).astype(np.float64) - mean
