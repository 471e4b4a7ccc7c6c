from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hyvic_runtime.engines.engine import Engine, OnnxRuntimeEngine
from hyvic_runtime.errors import BundleError
from hyvic_runtime.families.latent.bundle import (
    DECODER,
    ENCODER,
    EXPECTED_OUTPUTS,
    LatentBundle,
)
from hyvic_runtime.families.latent.entropy_path import EntropyPath, load_entropy_path
from hyvic_runtime.families.latent.expected_outputs import check_expected_outputs, probe_tile, write_expected_outputs
from hyvic_runtime.families.registry import read_bundle

Engines = tuple[Engine, EntropyPath, Engine]


@pytest.fixture
def engines(tiny_bundle: Path) -> Engines:
    encoder, decoder = (OnnxRuntimeEngine(tiny_bundle / graph) for graph in (ENCODER, DECODER))
    return encoder, load_entropy_path(read_bundle(tiny_bundle)), decoder


@pytest.fixture
def bundle(tiny_bundle: Path, engines: Engines, tmp_path: Path) -> LatentBundle:
    bundle = replace(read_bundle(tiny_bundle), folder=tmp_path)
    write_expected_outputs(tmp_path / EXPECTED_OUTPUTS, bundle, *engines)
    return bundle


class _Moved:
    """An engine with one output moved."""

    def __init__(self, engine: Engine, output: str, by: float) -> None:
        self._engine, self._output, self._by = engine, output, by

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        outputs = self._engine.run(inputs)
        moved = outputs[self._output].copy()
        moved.flat[7] += self._by
        return outputs | {self._output: moved}

    def describe(self) -> str:
        return "moved engine"


def test_the_engine_that_wrote_them_agrees(bundle: LatentBundle, engines: Engines) -> None:
    agreement = check_expected_outputs(bundle, *engines)
    assert agreement.symbols_equal == agreement.hyperlatents_equal == 1
    assert agreement.latent_difference == agreement.pixel_difference == 0


def test_the_same_engine_writes_the_same_octets(bundle: LatentBundle, engines: Engines, tmp_path: Path) -> None:
    write_expected_outputs(tmp_path / "again.npz", bundle, *engines)
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / EXPECTED_OUTPUTS).read_bytes()


def test_the_probe_excites_the_codec(bundle: LatentBundle, engines: Engines) -> None:
    """Were all symbols zero, any engine would agree."""
    with np.load(bundle.folder / EXPECTED_OUTPUTS) as stored:
        assert np.unique(stored["symbols"]).size > 8
        assert np.unique(stored["hyperlatent"]).size > 2
    tile = probe_tile(bundle.manifest)
    assert np.abs(tile).max() < bundle.manifest.peak
    for axis in (1, 2, 3):
        assert np.ptp(tile, axis=axis).min() > 0


def test_a_symbol_that_was_rounded_the_other_way_is_reported(bundle: LatentBundle, engines: Engines) -> None:
    encoder, entropy_path, decoder = engines
    agreement = check_expected_outputs(bundle, _Moved(encoder, "symbols", 1), entropy_path, decoder)
    assert agreement.latent_difference == 1
    assert 0.99 < agreement.symbols_equal < 1


def test_an_encoder_farther_off_than_rounding_is_refused(bundle: LatentBundle, engines: Engines) -> None:
    encoder, entropy_path, decoder = engines
    with pytest.raises(BundleError, match=r"moved engine: latents are up to 40.0 steps .* build the engines again"):
        check_expected_outputs(bundle, _Moved(encoder, "symbols", 40), entropy_path, decoder)


def test_a_decoder_farther_off_than_rounding_is_refused(bundle: LatentBundle, engines: Engines) -> None:
    encoder, entropy_path, decoder = engines
    with pytest.raises(BundleError, match=r"moved engine: pixels are up to 500 digital numbers"):
        check_expected_outputs(bundle, encoder, entropy_path, _Moved(decoder, "reconstruction", 500))


def test_pixels_that_are_no_numbers_are_refused(bundle: LatentBundle, engines: Engines) -> None:
    encoder, entropy_path, decoder = engines
    with pytest.raises(BundleError, match=r"moved engine: pixels are up to nan digital numbers"):
        check_expected_outputs(bundle, encoder, entropy_path, _Moved(decoder, "reconstruction", np.nan))


def test_a_file_that_holds_something_else_is_refused(bundle: LatentBundle, engines: Engines) -> None:
    np.savez(bundle.folder / EXPECTED_OUTPUTS, symbols=np.zeros(3))
    with pytest.raises(BundleError, match="does not hold the expected outputs"):
        check_expected_outputs(bundle, *engines)
