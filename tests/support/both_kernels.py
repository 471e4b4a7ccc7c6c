"""The two implementations of the inner loops, for tests that run with both."""

from __future__ import annotations

import pytest
from hyvic_runtime.families.adaptive.kernels import Kernels, kernels_of
from hyvic_runtime.kernels import KernelKind, why_not_native

needs_native = pytest.mark.skipif(why_not_native() is not None, reason="the package was installed without its C code")

REFERENCE: Kernels = kernels_of(KernelKind.REFERENCE)
NATIVE: Kernels = REFERENCE if why_not_native() is not None else kernels_of(KernelKind.NATIVE)
"""Tests that use it are marked `needs_native`."""

both_kernels = pytest.mark.parametrize(
    "kernels", [pytest.param(NATIVE, marks=needs_native, id="native"), pytest.param(REFERENCE, id="reference")]
)
"""Runs a test with either as its argument `kernels`."""
