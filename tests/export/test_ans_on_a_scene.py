"""Both ANS coders on the symbols of a real scene under the shipped model's tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hyvic_runtime.entropy.unit_coder import EntropyCoder
from hyvic_runtime.errors import EngineError
from hyvic_runtime.families.latent.encoder import LatentRowEncoder
from hyvic_runtime.families.latent.hyperlatent import hyperlatent_rows
from hyvic_runtime.families.registry import read_bundle
from hyvic_runtime.kernels import KernelKind
from hyvic_runtime.packets.quality import quality_code
from hyvic_runtime.scene.scene import Scene


@pytest.mark.slow
@pytest.mark.parametrize("quality", [0, 50, 100])
def test_both_coders_write_the_same_units_and_read_them(
    shipped_bundle: Path, indian_pines: np.ndarray, quality: float
) -> None:
    bundle = read_bundle(shipped_bundle)
    theirs = EntropyCoder(bundle.tables, KernelKind.REFERENCE)
    ours = EntropyCoder(bundle.tables, KernelKind.NATIVE)
    try:
        ours.describe()
    except EngineError as error:
        pytest.skip(str(error))
    encoder, scene = LatentRowEncoder(bundle), Scene(cube=indian_pines)
    grid = encoder.grid(scene)
    for tile in grid:
        coded = encoder.symbols(scene, grid, tile, encoder.mean_spectrum(scene), quality_code(quality))
        for symbols, rows in (
            (coded.hyperlatent, hyperlatent_rows(coded.hyperlatent.shape, bundle.manifest.scales)),
            (coded.symbols, coded.scale_index.ravel()),
        ):
            unit = theirs.encode(symbols.ravel(), rows)
            assert ours.encode(symbols.ravel(), rows) == unit
            for coder in (theirs, ours):
                assert np.array_equal(coder.decode(unit, rows), symbols.ravel())
