"""What befalls a bundle's files is found, whatever its family."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hyvic_runtime.codec.bundle_files import MANIFEST, REPORT
from hyvic_runtime.errors import BundleError
from hyvic_runtime.families.adaptive.bundle import FILES as ADAPTIVE_FILES
from hyvic_runtime.families.latent.bundle import file_names
from hyvic_runtime.families.registry import read_bundle

FILES = {"tiny_bundle": file_names(0), "tiny_adaptive_bundle": (*ADAPTIVE_FILES, REPORT)}
BUNDLES = list(FILES)
BUNDLES_AND_FILES = [(bundle, name) for bundle, names in FILES.items() for name in names]


@pytest.fixture
def copy(bundle: str, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    return Path(shutil.copytree(request.getfixturevalue(bundle), tmp_path / "bundle"))


@pytest.mark.parametrize(("bundle", "name"), BUNDLES_AND_FILES)
@pytest.mark.parametrize("place", [0.0, 0.5, 0.999])
def test_one_altered_octet_is_found_in_any_file(copy: Path, name: str, place: float) -> None:
    octets = bytearray((copy / name).read_bytes())
    octets[int(place * len(octets))] ^= 1
    (copy / name).write_bytes(octets)
    with pytest.raises(BundleError, match=f"{name} was altered"):
        read_bundle(copy)


@pytest.mark.parametrize("bundle", BUNDLES)
def test_one_altered_octet_is_found_anywhere_in_the_manifest(copy: Path) -> None:
    original = (copy / MANIFEST).read_bytes()
    rng = np.random.default_rng(0)
    for position in {*rng.integers(0, len(original), 300).tolist()}:
        octets = bytearray(original)
        octets[position] ^= 1
        (copy / MANIFEST).write_bytes(octets)
        with pytest.raises(BundleError, match=r"altered or damaged|this runtime reads"):
            read_bundle(copy)
    (copy / MANIFEST).write_bytes(original.replace(b"\n", b" \n", 1))
    with pytest.raises(BundleError, match="altered or damaged"):
        read_bundle(copy)


@pytest.mark.parametrize(("bundle", "name"), BUNDLES_AND_FILES)
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(BundleError, match=f"{name} cannot be read"):
        read_bundle(copy)


def test_a_folder_that_is_not_there_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is no bundle"):
        read_bundle(tmp_path / "nowhere")
