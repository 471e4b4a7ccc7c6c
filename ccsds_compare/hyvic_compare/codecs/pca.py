"""Principal components of the spectra, quantised: the seed paper's second traditional baseline."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from hyvic_runtime.errors import DecodeError
from hyvic_runtime.scene.scene import Cube, Scene
from numpy.typing import NDArray

from hyvic_compare.codecs.codec import octet_budget
from hyvic_compare.codecs.spectral_basis import basis_octets, read_basis, spectral_basis
from hyvic_compare.codecs.stream import FRAME_OCTETS, CubeType, StreamKind, framed, unframed
from hyvic_compare.errors import TargetRatioError

MAX_BITS = 16
_VERSION = 1
_HEADER = struct.Struct(">HHB")
_RANGE = struct.Struct(">ff")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pca:
    """Leading principal components, in words of fixed length.

    The paper gives its PCA a ratio "fixed by its architectural design": the kept components, without entropy coding. So
    there is no entropy coding here. A component's coefficients are rounded to 2^b even levels from the least to the
    greatest. The first few components have words of b + 1 bits, the rest of b bits. This meets ratios beyond bands : 1,
    which 16-bit words could not. The number of components and b are chosen for the least squared error, each with as
    many longer words as fit.

    A stream ends up to one bit a pixel below the budget: for 200 bands, 2 % at CR 64 and a third at CR 1,024.

    Payload, big-endian: components (u16), components with longer words (u16), b (u8), basis (see `spectral_basis`),
    least coefficient and step of every component (two float32), words of every component, padded to octets.
    """

    @property
    def name(self) -> str:
        return "PCA"

    @property
    def identity(self) -> str:
        return f"{self} version {_VERSION}"

    def encode(self, scene: Scene, target_ratio: float) -> bytes:
        cube = CubeType.of(scene.cube)
        budget = octet_budget(scene, target_ratio)
        basis = spectral_basis(scene)
        fits = list(_choices(cube, budget))
        if not fits:
            raise TargetRatioError(
                codec=self.name,
                target_ratio=target_ratio,
                allowed=budget,
                needed=_stream_octets(_Choice(components=1, longer=0, bits=1), cube),
            )
        basis = basis.leading(max(choice.components for choice in fits))
        products = basis.products(scene.cube)
        choice = _best(fits, basis.coefficients(products))
        basis = basis.leading(choice.components)
        ranges, words = b"", b""
        for index, values in enumerate(basis.coefficients(products)):
            bits = choice.bits_of(index)
            low, step = _range(values, bits)
            ranges += _RANGE.pack(low, step)
            words += _packed(_levels(values, low, step, bits), bits)
        head = _HEADER.pack(choice.components, choice.longer, choice.bits)
        return framed(StreamKind.PCA, cube, head + basis.to_octets() + ranges + words)

    def decode(self, stream: bytes) -> Cube:
        cube, payload = unframed(StreamKind.PCA, stream)
        components, longer, bits = (int(field) for field in payload.unpack(_HEADER))
        choice = _Choice(components=components, longer=longer, bits=bits)
        if not (1 <= components <= cube.bands and longer <= components and 1 <= bits <= MAX_BITS - (longer > 0)):
            raise DecodeError(f"{components} components, {longer} of them with longer words than {bits} bits")
        basis = read_basis(payload, components, cube)
        ranges = [payload.unpack(_RANGE) for _ in range(components)]
        if not np.isfinite(ranges).all():
            raise DecodeError("the range of a component is not finite")
        coefficients = np.empty((components, cube.pixels))
        for index, (low, step) in enumerate(ranges):
            width = choice.bits_of(index)
            words = payload.take(_word_octets(cube.pixels, width))
            coefficients[index] = low + step * _unpacked(words, cube.pixels, width)
        payload.finish()
        return basis.reconstruct(coefficients, cube)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choice:
    """Use of the budget.

    Attributes:
        components: number of kept components.
        longer: number of the first components whose words have one bit more.
        bits: bits of the other components' words.
    """

    components: int
    longer: int
    bits: int

    def bits_of(self, component: int) -> int:
        return self.bits + (component < self.longer)


def _choices(cube: CubeType, budget: int) -> Iterator[_Choice]:
    """Yield every number of components and word length that fits, with as many longer words as fit."""
    for bits in range(1, MAX_BITS + 1):
        more = _word_octets(cube.pixels, bits + 1) - _word_octets(cube.pixels, bits)
        for components in range(1, min(cube.bands, cube.pixels) + 1):
            spare = budget - _stream_octets(_Choice(components=components, longer=0, bits=bits), cube)
            if spare < 0:
                break
            longer = min(components - 1, spare // more) if bits < MAX_BITS and more else 0
            yield _Choice(components=components, longer=longer, bits=bits)


def _stream_octets(choice: _Choice, cube: CubeType) -> int:
    words = choice.longer * _word_octets(cube.pixels, choice.bits + 1)
    words += (choice.components - choice.longer) * _word_octets(cube.pixels, choice.bits)
    side = _HEADER.size + basis_octets(choice.components, cube) + choice.components * _RANGE.size
    return FRAME_OCTETS + side + words


def _best(choices: list[_Choice], coefficients: NDArray[np.float64]) -> _Choice:
    """Return the choice with the least error, from the error of every component at every word length."""
    energy = (coefficients**2).sum(axis=1)
    # saved[b, i]: reduction of the squared error by coding the first i components with b bits.
    saved = np.zeros((MAX_BITS + 1, len(coefficients) + 1))
    for bits in range(1, MAX_BITS + 1):
        for index, values in enumerate(coefficients):
            low, step = _range(values, bits)
            error = float(((low + step * _levels(values, low, step, bits) - values) ** 2).sum())
            saved[bits, index + 1] = saved[bits, index] + energy[index] - error

    def total(choice: _Choice) -> float:
        longer = saved[min(choice.bits + 1, MAX_BITS), choice.longer]
        return float(longer + saved[choice.bits, choice.components] - saved[choice.bits, choice.longer])

    return max(choices, key=total)


def _range(values: NDArray[np.float64], bits: int) -> tuple[float, float]:
    """Return least value and step, as the float32 numbers that the decoder will read."""
    low = float(np.float32(values.min()))
    return low, float(np.float32((values.max() - low) / (2**bits - 1)))


def _levels(values: NDArray[np.float64], low: float, step: float, bits: int) -> NDArray[np.uint32]:
    if step == 0:
        return np.zeros(len(values), np.uint32)
    levels: NDArray[np.uint32] = np.rint((values - low) / step).clip(0, 2**bits - 1).astype(np.uint32)
    return levels


def _word_octets(pixels: int, bits: int) -> int:
    return (pixels * bits + 7) // 8


def _packed(levels: NDArray[np.uint32], bits: int) -> bytes:
    shifts = np.arange(bits - 1, -1, -1, dtype=np.uint32)
    return np.packbits((levels[:, None] >> shifts & 1).astype(np.uint8)).tobytes()


def _unpacked(words: bytes, pixels: int, bits: int) -> NDArray[np.int64]:
    flags = np.unpackbits(np.frombuffer(words, np.uint8), count=pixels * bits).reshape(pixels, bits)
    values: NDArray[np.int64] = flags @ (1 << np.arange(bits - 1, -1, -1, dtype=np.int64))
    return values
