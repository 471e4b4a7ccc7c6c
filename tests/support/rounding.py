"""What floating point may do to a result, on any processor and with any library.

A library is free to add in any order, to fuse a product with a sum and to work in blocks. Whatever it does, its sum of
n products lies within γ_n Σ|a b| of the exact sum, with γ_n = n u / (1 − n u) and u half the distance from 1 to the
next number (Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, section 3.1). Tests take their bounds
from here, so that none is a figure that one machine happened to stay below.

`RoundedArithmetic` carries the bound of one operation through a whole network: in float64, every result is moved by as
much as the operation may round, in a direction drawn for each number. `float_bound` is how far that moves the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

FLOAT16, FLOAT32, FLOAT64 = 2.0**-11, 2.0**-24, 2.0**-53
"""u, the unit roundoff of each."""
ELEMENTWISE_ROUNDINGS = 8
"""Roundings of an operation that adds nothing up. Libraries promise 4 units in the last place of exponentials and
divisions, and a layer's own scalars are up to four operations that another library folds into one."""
DRAWS = 4
"""Directions that are drawn for `float_bound`."""


def gamma(terms: float, unit: float) -> float:
    """Largest relative error of a sum of products, γ_n (Higham, 3.1).

    Args:
        terms: number of products, one more where something is added to their sum.
        unit: u of the arithmetic.
    """
    assert terms * unit < 0.5, f"{terms} roundings of {unit} leave no digit"
    return terms * unit / (1 - terms * unit)


def worst_roundings(terms: int) -> float:
    """All roundings of a sum go the same way."""
    return terms


_SUMS = frozenset({"convolution", "mm", "bmm", "addmm", "baddbmm"})
_ADDS_FIRST = frozenset({"addmm", "baddbmm"})
_MOVES_NOTHING = frozenset(
    {
        "_reshape_alias",
        "_to_copy",
        "_unsafe_view",
        "abs",
        "alias",
        "as_strided",
        "cat",
        "clamp",
        "clamp_min",
        "clone",
        "constant_pad_nd",
        "copy_",
        "detach",
        "expand",
        "index",
        "leaky_relu",
        "lift_fresh",
        "max",
        "maximum",
        "minimum",
        "neg",
        "permute",
        "pixel_shuffle",
        "reflection_pad2d",
        "relu",
        "relu_",
        "repeat",
        "replication_pad2d",
        "round",
        "select",
        "slice",
        "split",
        "split_with_sizes",
        "squeeze",
        "stack",
        "t",
        "transpose",
        "unfold",
        "unsqueeze",
        "view",
        "where",
    }
)


class RoundedArithmetic(TorchDispatchMode):
    """Arithmetic in float64 whose every result is moved as a shorter type may round it.

    Operations on other types are left alone.
    """

    def __init__(self, seed: int, unit: float = FLOAT32, roundings: Callable[[int], float] = worst_roundings) -> None:
        """Begin to draw directions.

        Args:
            seed: seed of the directions.
            unit: u of the arithmetic that is bounded.
            roundings: units by which a sum of so many terms moves.
        """
        super().__init__()
        self._generator = torch.Generator().manual_seed(seed)
        self._unit, self._roundings = unit, roundings

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        made = func(*args, **kwargs)
        if name in _MOVES_NOTHING or not (isinstance(made, Tensor) and made.dtype == torch.float64):
            return made
        if name in _SUMS:
            magnitude = func(*(part.abs() if isinstance(part, Tensor) else part for part in args), **kwargs)
            terms = _terms(name, args)
        else:
            # Softmax, norms and means add up at most one axis of what they see.
            summed = max(args[0].shape, default=1) if name in {"_softmax", "mean", "sum", "native_layer_norm"} else 0
            terms, magnitude = ELEMENTWISE_ROUNDINGS + summed, made.abs()
        moved = gamma(self._roundings(terms), self._unit) * magnitude
        signs = torch.randint(0, 2, made.shape, generator=self._generator) * 2 - 1
        return made.add_(moved * signs) if name.endswith("_") else made + moved * signs


def _terms(name: str, args: Sequence[Any]) -> int:
    """Number of products in each sum of an operation, and one for what is added to it."""
    if name == "convolution":
        weight, transposed = args[1], args[6]
        inputs = weight.shape[0] if transposed else weight.shape[1]
        return int(inputs * weight[0, 0].numel()) + 1
    return int(args[1 if name in _ADDS_FIRST else 0].shape[-1]) + 1


@dataclass(frozen=True, slots=True)
class Bounded:
    """A result and how far two computations of it may be apart.

    Attributes:
        exact: (1, channel, ...) float64, the result but for the roundings of float64.
        bound: (1, channel, 1, ...) float64, largest distance between what two libraries give of a channel.
    """

    exact: NDArray[np.float64]
    bound: NDArray[np.float64]


@torch.no_grad()
def float_bound(compute: Callable[[], Tensor], unit: float = FLOAT32) -> Bounded:
    """How far apart two libraries may be, derived by `RoundedArithmetic`.

    Twice the largest movement of DRAWS draws, for the places and directions that were not drawn: of sums of many
    independent parts, the largest of another draw is not twice as large. And that twice, for each library errs.
    Every operation was moved by its worst case, of which a library's own roundings, n to a sum, reach about 1 / √n.

    Args:
        compute: the computation, in float64 (a model's `double()`).
        unit: u of the arithmetic that is bounded.
    """
    exact = compute()
    moved = torch.zeros_like(exact)
    for seed in range(DRAWS):
        with RoundedArithmetic(seed, unit):
            drawn = compute()
        torch.maximum(moved, (drawn - exact).abs(), out=moved)
    largest = moved.amax(dim=[axis for axis in range(moved.dim()) if axis != 1], keepdim=True)
    return Bounded(exact.numpy(), 2 * 2 * largest.numpy())


@torch.no_grad()
def movement(compute: Callable[[], Tensor], unit: float, roundings: Callable[[int], float]) -> float:
    """Root mean square of what rounded arithmetic moves a result by, in one draw.

    Args:
        compute: the computation, in float64.
        unit: u of the arithmetic.
        roundings: units by which a sum of so many terms moves. Of roundings that go either way as if drawn, √n of n
            (Higham & Mary, A New Approach to Probabilistic Rounding Error Analysis, 2019).
    """
    exact = compute()
    with RoundedArithmetic(0, unit, roundings):
        drawn = compute()
    return float((drawn - exact).square().mean().sqrt())


def check_rounded(found: NDArray[Any], bounded: Bounded) -> float:
    """Integers are a float result rounded, but where the result lies within its bound of a half.

    Args:
        found: (1, channel, ...) integers.
        bounded: float result before rounding.

    Returns:
        Share of the numbers that lie so near to a half that either neighbour is right.
    """
    from_half = np.abs(bounded.exact - np.floor(bounded.exact) - 0.5)
    either = from_half <= bounded.bound
    assert np.array_equal(found[~either], np.rint(bounded.exact)[~either])
    assert (np.abs(found - bounded.exact)[either] <= 0.5 + np.broadcast_to(bounded.bound, either.shape)[either]).all()
    return float(either.mean())
