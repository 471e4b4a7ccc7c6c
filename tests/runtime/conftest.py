"""Bundle, encoder and decoder of the tiny HyVIC model; a folder or module of another family has its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from hyvic_runtime.families.latent.bundle import LatentBundle, read_latent_bundle
from hyvic_runtime.families.latent.decoder import LatentDecoder
from hyvic_runtime.families.latent.encoder import LatentRowEncoder


@pytest.fixture(scope="session")
def bundle(tiny_bundle: Path) -> LatentBundle:
    return read_latent_bundle(tiny_bundle)


@pytest.fixture(scope="session")
def encoder(bundle: LatentBundle) -> LatentRowEncoder:
    return LatentRowEncoder(bundle)


@pytest.fixture(scope="session")
def decoder(bundle: LatentBundle) -> LatentDecoder:
    return LatentDecoder(bundle)
