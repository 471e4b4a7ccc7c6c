"""An encoder and a decoder of the tiny adaptive bundle, and short ways to use them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hyvic_runtime.families.adaptive.bundle import AdaptiveBundle, read_adaptive_bundle
from hyvic_runtime.families.adaptive.decoder import AdaptiveDecoder
from hyvic_runtime.families.adaptive.encoder import AdaptiveRowEncoder


@pytest.fixture(scope="session")
def bundle(tiny_adaptive_bundle: Path) -> AdaptiveBundle:
    return read_adaptive_bundle(tiny_adaptive_bundle)


@pytest.fixture(scope="session")
def encoder(bundle: AdaptiveBundle) -> AdaptiveRowEncoder:
    return AdaptiveRowEncoder(bundle)


@pytest.fixture(scope="session")
def decoder(bundle: AdaptiveBundle) -> AdaptiveDecoder:
    return AdaptiveDecoder(bundle)
