from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest
from hyvic_runtime.scene.content_hash import content_sha256
from hyvic_runtime.scene.files import read_scene, write_scene
from hyvic_runtime.scene.scene import Scene
from scenes import smooth_cube

CUBE = smooth_cube(6, 5, 4, seed=3)


def test_it_is_the_hash_of_the_size_and_of_every_sample_in_turn() -> None:
    octets = b"6 5 4\n" + b"".join(struct.pack("<i", int(value)) for value in CUBE.ravel())
    assert content_sha256(CUBE) == hashlib.sha256(octets).hexdigest()


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".hdr", ".tif", ".h5", ".mat"])
@pytest.mark.parametrize("dtype", ["uint16", "int16"])
def test_the_same_pixels_have_one_hash_in_every_container(tmp_path: Path, suffix: str, dtype: str) -> None:
    scene = Scene(cube=CUBE.astype(dtype), wavelengths=np.linspace(400, 900, 4))
    write_scene(scene, tmp_path / f"scene{suffix}")
    assert content_sha256(read_scene(tmp_path / f"scene{suffix}").cube) == content_sha256(CUBE)


def test_neither_the_type_nor_the_order_in_memory_counts(tmp_path: Path) -> None:
    np.savez(tmp_path / "floats.npz", cube=CUBE.astype(np.float64))
    expected = content_sha256(CUBE)
    assert content_sha256(read_scene(tmp_path / "floats.npz").cube) == expected
    assert content_sha256(CUBE.astype(">i2")) == expected
    assert content_sha256(np.asfortranarray(CUBE)) == expected


def test_other_pixels_have_another_hash() -> None:
    changed = CUBE.copy()
    changed[5, 4, 3] += 1
    others = [changed, CUBE[:5], CUBE[..., :3], CUBE.swapaxes(0, 1), CUBE.reshape(5, 6, 4), CUBE[::-1]]
    assert len({content_sha256(cube) for cube in (CUBE, *others)}) == 7


@pytest.mark.parametrize("dtype", ["float32", "uint32", "int64"])
def test_samples_that_are_no_digital_numbers_are_refused(dtype: str) -> None:
    with pytest.raises(ValueError, match=f"{dtype} has no content hash"):
        content_sha256(CUBE.astype(dtype))  # type: ignore[arg-type]
