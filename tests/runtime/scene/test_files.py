from __future__ import annotations

import pickle
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest
from hyvic_runtime.errors import SceneError
from hyvic_runtime.scene.files import read_scene, write_scene
from hyvic_runtime.scene.scene import Scene, resample_bands

CUBE = np.random.default_rng(0).integers(-3000, 9000, (5, 7, 4)).astype(np.int16)
WAVELENGTHS = np.array([420.5, 660.0, 1250.25, 2400.0])


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".hdr", ".tif", ".h5", ".mat"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16])
def test_every_format_keeps_digital_numbers_and_wavelengths(
    tmp_path: Path, suffix: str, dtype: type[np.integer]
) -> None:
    cube = CUBE.astype(dtype)
    path = tmp_path / f"scene{suffix}"
    write_scene(Scene(cube=cube, wavelengths=WAVELENGTHS), path)
    scene = read_scene(path)
    assert scene.cube.dtype == dtype
    assert np.array_equal(scene.cube, cube)
    if suffix == ".npy":
        assert scene.wavelengths is None
    else:
        assert scene.wavelengths == pytest.approx(WAVELENGTHS)
    assert {p.suffix for p in tmp_path.iterdir()} == ({".hdr", ".img"} if suffix == ".hdr" else {suffix})


def test_a_scene_without_wavelengths_stays_so(tmp_path: Path) -> None:
    for suffix in (".npz", ".hdr", ".tif", ".h5", ".mat"):
        write_scene(Scene(cube=CUBE), tmp_path / f"scene{suffix}")
        assert read_scene(tmp_path / f"scene{suffix}").wavelengths is None


@pytest.mark.parametrize("interleave", ["bsq", "bil", "bip"])
def test_envi_of_any_interleave_and_in_micrometres(tmp_path: Path, interleave: str) -> None:
    from spectral.io import envi

    metadata = {"wavelength": (WAVELENGTHS / 1000).tolist(), "wavelength units": "Micrometers"}
    envi.save_image(str(tmp_path / "s.hdr"), CUBE, interleave=interleave, metadata=metadata)
    scene = read_scene(tmp_path / "s.hdr")
    assert np.array_equal(scene.cube, CUBE)
    assert scene.wavelengths == pytest.approx(WAVELENGTHS)


def test_prisma_products_are_read_by_detector(tmp_path: Path) -> None:
    """The published layout: (line, band, sample) a detector; a centre of 0 nm marks a band not acquired."""
    vnir, swir = np.moveaxis(CUBE, 2, 1).astype(np.uint16), np.moveaxis(CUBE[..., :3], 2, 1).astype(np.uint16)
    with h5py.File(tmp_path / "p.he5", "w") as file:
        fields = file.create_group("HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields")
        fields["VNIR_Cube"], fields["SWIR_Cube"] = vnir, swir
        file.attrs["List_Cw_Vnir"] = np.array([970.0, 700, 500, 0], np.float32)
        file.attrs["List_Cw_Swir"] = np.array([2400.0, 1800, 1100], np.float32)
    scene = read_scene(tmp_path / "p.he5")
    assert scene.cube.shape == (5, 7, 6)
    assert np.array_equal(scene.cube[..., :3], CUBE[..., :3].astype(np.uint16))
    assert scene.wavelengths is not None
    assert scene.wavelengths.tolist() == [970, 700, 500, 2400, 1800, 1100]


def test_matlab_scenes_need_no_particular_name(tmp_path: Path) -> None:
    import scipy.io

    scipy.io.savemat(tmp_path / "m.mat", {"indian_pines_corrected": CUBE, "map": np.zeros((5, 7))})
    assert np.array_equal(read_scene(tmp_path / "m.mat").cube, CUBE)


def test_whole_numbers_in_floating_point_are_digital_numbers(tmp_path: Path) -> None:
    np.savez(tmp_path / "f.npz", cube=CUBE.astype(np.float32))
    assert read_scene(tmp_path / "f.npz").cube.dtype == np.int16
    np.savez(tmp_path / "g.npz", cube=np.full((2, 2, 2), 65535.0))
    assert read_scene(tmp_path / "g.npz").cube.dtype == np.uint16


def test_big_endian_files_become_native(tmp_path: Path) -> None:
    np.save(tmp_path / "b.npy", CUBE.astype(">i2"))
    scene = read_scene(tmp_path / "b.npy")
    assert scene.cube.dtype == np.int16
    assert np.array_equal(scene.cube, CUBE)


def test_npy_and_envi_are_memory_mapped(tmp_path: Path) -> None:
    for suffix in (".npy", ".hdr"):
        write_scene(Scene(cube=CUBE), tmp_path / f"m{suffix}")
        assert isinstance(read_scene(tmp_path / f"m{suffix}").cube, np.memmap)


def _with_nan() -> np.ndarray:
    cube = CUBE.astype(np.float64)
    cube[2, 3, 1] = np.nan
    return cube


@pytest.mark.parametrize(
    ("cube", "match"),
    [
        (_with_nan(), "1 values are not finite, the first at line 2, sample 3, band 1"),
        (CUBE + 0.5, "not a whole number"),
        (np.zeros((0, 4, 3), np.uint16), r"empty: shape \(0, 4, 3\)"),
        (np.zeros((4, 3), np.uint16), r"3 axes .* shape \(4, 3\)"),
        (np.full((2, 2, 2), 70000), "reach from 70000 to 70000; 16 bits hold"),
        (np.array([[["a"]]]), "not numbers"),
    ],
)
def test_what_is_no_scene_is_said(tmp_path: Path, cube: np.ndarray, match: str) -> None:
    np.savez(tmp_path / "s.npz", cube=cube)
    with pytest.raises(SceneError, match=match):
        read_scene(tmp_path / "s.npz")


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".hdr", ".tif", ".h5", ".mat"])
def test_files_of_another_kind_are_one_line(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"junk{suffix}"
    path.write_bytes(b"\x00\x01 not a scene\n" * 7)
    with pytest.raises(SceneError, match="junk") as caught:
        read_scene(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(SceneError, match="no such file"):
        read_scene(tmp_path / f"missing{suffix}")


def test_damaged_files_are_one_line_and_nothing_beside_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    messages = []
    for suffix in (".npz", ".tif", ".h5", ".mat", ".hdr"):
        path = tmp_path / f"s{suffix}"
        write_scene(Scene(cube=CUBE, wavelengths=WAVELENGTHS), path)
        original = path.read_bytes()
        for _ in range(60):
            octets = bytearray(original)
            for position in rng.integers(0, len(octets), 3):
                octets[position] = rng.integers(256)
            path.write_bytes(octets)
            try:
                read_scene(path)
            except SceneError as error:
                messages.append(str(error))
    assert len(messages) > 50
    assert not any("\n" in message for message in messages)
    assert capfd.readouterr().err == ""


def test_a_text_file_cannot_make_gdal_open_another(tmp_path: Path) -> None:
    write_scene(Scene(cube=CUBE), tmp_path / "secret.tif")
    (tmp_path / "v.tif").write_text(
        '<VRTDataset rasterXSize="7" rasterYSize="5"><VRTRasterBand dataType="Int16" band="1"><SimpleSource>'
        f"<SourceFilename>{tmp_path}/secret.tif</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    with pytest.raises(SceneError, match="not a readable"):
        read_scene(tmp_path / "v.tif")


def test_suffixes_may_be_in_capitals(tmp_path: Path) -> None:
    for suffix in (".NPZ", ".NPY", ".TIF", ".MAT"):
        write_scene(Scene(cube=CUBE), tmp_path / f"S{suffix}")
        assert np.array_equal(read_scene(tmp_path / f"S{suffix}").cube, CUBE)


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return (pytest.fail, ("a pickle was executed",))

    (tmp_path / "b.npy").write_bytes(pickle.dumps(Bomb()))
    np.save(tmp_path / "o.npy", np.array([Bomb()], dtype=object), allow_pickle=True)
    for name in ("b.npy", "o.npy"):
        with pytest.raises(SceneError, match="not a readable"):
            read_scene(tmp_path / name)


def test_unknown_suffixes_name_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "s.jpg").write_bytes(b"")
    with pytest.raises(SceneError, match=r"cannot read '\.jpg' files; use one of \.npz"):
        read_scene(tmp_path / "s.jpg")
    with pytest.raises(SceneError, match=r"cannot write '\.jpg' files; use one of \.npz"):
        write_scene(Scene(cube=CUBE), tmp_path / "s.jpg")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_scene(Scene(cube=CUBE), tmp_path / "s.npz")
    before = (tmp_path / "s.npz").read_bytes()

    def disk_full(*args: object, **kwargs: object) -> None:
        args[0].write(b"half")  # type: ignore[attr-defined]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", disk_full)
    with pytest.raises(SceneError, match="No space left on device"):
        write_scene(Scene(cube=CUBE), tmp_path / "s.npz")
    assert (tmp_path / "s.npz").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_scenes_written_side_by_side_leave_the_processs_hooks_alone(tmp_path: Path) -> None:
    before = sys.excepthook, sys.unraisablehook, list(warnings.filters)

    def write_and_read(number: int) -> bool:
        path = tmp_path / f"{number}.tif"
        write_scene(Scene(cube=CUBE + number), path)
        return np.array_equal(read_scene(path).cube, CUBE + number)

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(write_and_read, range(80)))
    assert (sys.excepthook, sys.unraisablehook, list(warnings.filters)) == before


def test_resampling_is_linear_in_wavelength_and_ignores_order() -> None:
    cube = np.array([[[300, 100, 200]]], np.uint16)
    scene = Scene(cube=cube, wavelengths=np.array([600.0, 400, 500]))
    resampled = resample_bands(scene, np.array([350.0, 450, 575, 700]))
    assert resampled.cube.tolist() == [[[100, 150, 275, 300]]]
    with pytest.raises(SceneError, match="gives no wavelengths"):
        resample_bands(Scene(cube=cube), np.array([500.0]))
