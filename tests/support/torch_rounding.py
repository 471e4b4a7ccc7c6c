"""Rounding carried through a whole network, in torch.

`RoundedArithmetic` computes in float64 and moves every result by as much as its operation may round in a shorter type
(rounding.py), in a direction drawn for each number. `float_bound` is how far that moves the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from rounding import FLOAT32, Bounded, gamma
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

ELEMENTWISE_ROUNDINGS = 8
"""Roundings of an operation that adds nothing up. Libraries promise 4 units in the last place of exponentials and
divisions, and a layer's own scalars are up to four operations that another library folds into one."""
DRAWS = 4
"""Directions that are drawn for `float_bound`."""


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
