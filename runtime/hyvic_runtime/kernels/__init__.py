"""The choice between the inner loops in C and their reference in Python; both give the same octets.

native      C that was built with the package, `hyvic_runtime.kernels._native`
reference   NumPy, and constriction as the ANS coder
"""

from __future__ import annotations

import logging
from enum import StrEnum
from functools import cache

from hyvic_runtime.errors import EngineError

INSTALL_NATIVE = "install gcc and python3-dev, then hyvic-onboard again"

_LOGGER = logging.getLogger(__name__)


class KernelKind(StrEnum):
    """Implementation of the inner loops."""

    NATIVE = "native"
    REFERENCE = "reference"


def chosen_kernels(kind: KernelKind | None = None) -> KernelKind:
    """Return the implementation to use.

    Args:
        kind: implementation that the user names; None: native code if it was built, else the reference, with a warning.

    Raises:
        EngineError: native code is named and was not built.
    """
    kind = None if kind is None else KernelKind(kind)
    if kind is KernelKind.REFERENCE:
        return kind
    problem = why_not_native()
    if problem is None:
        return KernelKind.NATIVE
    if kind is KernelKind.NATIVE:
        raise EngineError(
            f"the package was installed without its C code ({problem}): {INSTALL_NATIVE}, or choose "
            f"{KernelKind.REFERENCE} kernels"
        )
    _warn(problem)
    return KernelKind.REFERENCE


@cache
def why_not_native() -> str | None:
    """Return why the C code cannot be used, or None if it can."""
    try:
        import hyvic_runtime.kernels._native  # noqa: F401 - the import is the question
    except ImportError as error:
        return str(error)
    return None


@cache
def _warn(problem: str) -> None:
    """Warn once in a process."""
    _LOGGER.warning(
        "hyvic-onboard runs without its C code (%s): scene-adaptive coding takes 3 to 6 times as long, the "
        "entropy coding of other bundles about twice; %s, or choose %s kernels to accept it",
        problem,
        INSTALL_NATIVE,
        KernelKind.REFERENCE,
    )
