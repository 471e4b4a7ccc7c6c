from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from hyvic_runtime import cli
from hyvic_runtime.engines.engine import OnnxRuntimeEngine
from hyvic_runtime.entropy.unit_coder import EntropyCoder
from hyvic_runtime.packets.space_packet import Segment, parse_stream
from hyvic_runtime.scene.files import read_scene, write_scene
from hyvic_runtime.scene.scene import Scene
from scenes import BANDS, smooth_cube


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    np.savez(tmp_path / "scene.npz", cube=smooth_cube(40, 50, BANDS))
    return tmp_path / "scene.npz"


@pytest.fixture
def stream(scene: Path, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    out = scene.with_name("scene.packets")
    assert cli.encode_scene([str(scene), "--bundle", str(tiny_bundle), "--out", str(out), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["octets"] == out.stat().st_size
    assert result["compression_ratio"] == pytest.approx(40 * 50 * BANDS * 2 / out.stat().st_size)
    assert result["tiles"] == 4
    return out


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".hdr", ".tif", ".h5", ".mat"])
def test_scene_to_packets_to_any_format(
    scene: Path, stream: Path, tiny_bundle: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = scene.with_name(f"decoded{suffix}")
    assert cli.decode_packets([str(stream), "--bundle", str(tiny_bundle), "--out", str(out), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["quality"] == {"lost": 0, "means": 0, "affected": 0, "exact": 1}
    original, decoded = read_scene(scene), read_scene(out)
    assert decoded.cube.shape == original.cube.shape
    assert decoded.cube.dtype == original.cube.dtype
    # Noise of 8 digital numbers is what the codec drops; far beyond it something would be wrong.
    assert np.abs(original.cube.astype(int) - decoded.cube).mean() < 40


def test_resampling_to_the_bundles_bands(tmp_path: Path, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "s.npz", cube=smooth_cube(32, 32, 33), wavelengths=np.linspace(400, 2500, 33))
    arguments = [str(tmp_path / "s.npz"), "--bundle", str(tiny_bundle), "--out", str(tmp_path / "p")]
    assert cli.encode_scene(arguments) == 1
    assert "has 33 bands and the bundle codes 20" in capsys.readouterr().err
    assert cli.encode_scene([*arguments, "--resample"]) == 0


def test_other_band_centres_are_not_taken_for_the_bundles(
    tmp_path: Path, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cube = smooth_cube(16, 16, BANDS)
    np.savez(tmp_path / "shifted.npz", cube=cube, wavelengths=np.linspace(430, 2460, BANDS))
    np.savez(tmp_path / "micrometres.npz", cube=cube, wavelengths=np.linspace(0.42, 2.45, BANDS))
    rest = ["--bundle", str(tiny_bundle), "--out", str(tmp_path / "p")]
    assert cli.encode_scene([str(tmp_path / "shifted.npz"), *rest]) == 1
    assert "up to 10 nm from the bundle's; pass --resample" in capsys.readouterr().err
    assert cli.encode_scene([str(tmp_path / "shifted.npz"), *rest, "--resample"]) == 0
    capsys.readouterr()
    assert cli.encode_scene([str(tmp_path / "micrometres.npz"), *rest, "--resample"]) == 1
    assert "are they in µm?" in capsys.readouterr().err


def test_a_scene_gives_one_stream_whatever_file_it_comes_from(tmp_path: Path, tiny_bundle: Path) -> None:
    cube = smooth_cube(32, 32, 33)
    wavelengths = np.linspace(410, 2460, 33)
    np.savez(tmp_path / "c.npz", cube=cube, wavelengths=wavelengths)
    np.savez(tmp_path / "f.npz", cube=np.asfortranarray(cube), wavelengths=wavelengths)
    for name in ("c", "f"):
        arguments = [str(tmp_path / f"{name}.npz"), "--bundle", str(tiny_bundle), "--out", str(tmp_path / name)]
        assert cli.encode_scene([*arguments, "--resample"]) == 0
    assert (tmp_path / "c").read_bytes() == (tmp_path / "f").read_bytes()


@pytest.mark.parametrize(
    ("spelling", "time"),
    [
        ("2026-01-01T12:34:56.789", "2026-01-01T12:34:56.789+00:00"),
        ("2026-01-01T14:34:56+02:00", "2026-01-01T12:34:56+00:00"),
        (None, "1958-01-01T00:00:00+00:00"),
    ],
)
def test_packets_tell_the_time_they_were_given(scene: Path, tiny_bundle: Path, spelling: str | None, time: str) -> None:
    out = scene.with_name("timed.packets")
    options = [] if spelling is None else ["--time", spelling]
    assert cli.encode_scene([str(scene), "--bundle", str(tiny_bundle), "--out", str(out), *options]) == 0
    segments = [item for item in parse_stream(out.read_bytes()) if isinstance(item, Segment)]
    assert {segment.time for segment in segments} == {datetime.fromisoformat(time)}


def test_a_time_that_is_none_is_wrong_usage(scene: Path, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.encode_scene([str(scene), "--bundle", str(tiny_bundle), "--out", "x", "--time", "noon"])
    assert "argument --time" in capsys.readouterr().err


def test_a_missing_library_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    from hyvic_runtime.command_line import command_parser, run_command

    def needs(arguments: object) -> tuple[dict[str, object], str]:
        import a_library_that_nobody_has  # type: ignore[import-not-found]

        return {}, str(a_library_that_nobody_has)

    assert run_command(command_parser("x", "y", "z"), [], needs, extra="train") == 1
    error = capsys.readouterr().err
    assert error == "x: a_library_that_nobody_has is missing: pip install 'hyvic-onboard[train]'\n"


def test_a_name_that_a_module_lacks_is_no_missing_library(capsys: pytest.CaptureFixture[str]) -> None:
    from hyvic_runtime.command_line import command_parser, run_command

    def older(arguments: object) -> tuple[dict[str, object], str]:
        from json import a_name_of_a_later_version  # type: ignore[attr-defined]

        return {}, str(a_name_of_a_later_version)

    assert run_command(command_parser("x", "y", "z"), [], older) == 1
    error = capsys.readouterr().err
    assert error.startswith("x: cannot import name 'a_name_of_a_later_version' from 'json'")
    assert error.endswith(
        "installed packages do not fit together: pip install --force-reinstall 'hyvic-onboard[cpu]'\n"
    )


def test_verify_names_engine_and_coder(tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.verify_bundle([str(tiny_bundle), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert re.fullmatch(rf"ONNX Runtime 1\.[\d.]+, CPU \({platform.machine()}\)", result["engine"])
    assert re.fullmatch(r"the runtime's own C coder|constriction 0\.[\d.]+", result["entropy_coder"])
    assert result["conformance_vectors"] == 9


class _OffByOne(OnnxRuntimeEngine):
    """An engine whose last scale index is one too high, as a kernel of lower precision would make it."""

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        outputs = super().run(inputs)
        if "scale_index" in outputs:
            outputs["scale_index"] = outputs["scale_index"].copy()
            outputs["scale_index"].flat[-1] += 1
        return outputs


@pytest.mark.parametrize("command", ["encode", "verify"])
def test_an_engine_that_fails_a_vector_codes_nothing(
    tmp_path: Path,
    tiny_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    np.savez(tmp_path / "s.npz", cube=smooth_cube(16, 16, BANDS))
    monkeypatch.setattr("hyvic_runtime.engines.selection.OnnxRuntimeEngine", _OffByOne)
    out = tmp_path / "p"
    if command == "encode":
        assert cli.encode_scene([str(tmp_path / "s.npz"), "--bundle", str(tiny_bundle), "--out", str(out)]) == 1
    else:
        assert cli.verify_bundle([str(tiny_bundle)]) == 1
    error = capsys.readouterr().err
    assert _one_line(error)
    assert "fails conformance vector 0 of 9" in error
    assert not out.exists()


def test_a_coder_of_other_octets_codes_nothing(
    tmp_path: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    encode = EntropyCoder.encode
    monkeypatch.setattr(EntropyCoder, "encode", lambda self, symbols, rows: encode(self, symbols, rows) + b"\0\0\0\1")
    np.savez(tmp_path / "s.npz", cube=smooth_cube(16, 16, BANDS))
    out = tmp_path / "p"
    assert cli.encode_scene([str(tmp_path / "s.npz"), "--bundle", str(tiny_bundle), "--out", str(out)]) == 1
    error = capsys.readouterr().err
    assert _one_line(error)
    assert "does not code the tables of the bundle as the exporter did" in error
    assert not out.exists()


def _one_line(error: str) -> bool:
    return len(error.strip().splitlines()) == 1 and "Traceback" not in error


Spoil = Callable[[Path, Path, Path], list[str]]


def _truncate(scene: Path, stream: Path, bundle: Path) -> list[str]:
    stream.write_bytes(stream.read_bytes()[:-7])
    return [str(stream)]


def _flip(scene: Path, stream: Path, bundle: Path) -> list[str]:
    octets = bytearray(stream.read_bytes())
    octets[len(octets) // 2] ^= 4
    stream.write_bytes(octets)
    return [str(stream)]


def _empty(scene: Path, stream: Path, bundle: Path) -> list[str]:
    stream.write_bytes(b"")
    return [str(stream)]


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (_truncate, "cannot be decoded"),
        (_flip, "cannot be decoded"),
        (_empty, "no scene header among 0 octets"),
        (lambda scene, stream, bundle: [str(scene)], "not a stream of this format"),
        (lambda scene, stream, bundle: ["missing.packets"], "missing.packets: cannot be read"),
    ],
)
def test_a_damaged_stream_is_one_line_and_no_picture(
    scene: Path, stream: Path, tiny_bundle: Path, spoil: Spoil, match: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = spoil(scene, stream, tiny_bundle)
    out = scene.with_name("decoded.npz")
    assert cli.decode_packets([*arguments, "--bundle", str(tiny_bundle), "--out", str(out)]) == 1
    error = capsys.readouterr().err
    assert match in error
    assert _one_line(error)
    assert not out.exists()


def test_concealed_losses_are_marked(
    scene: Path, stream: Path, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _flip(scene, stream, tiny_bundle)
    out = scene.with_name("decoded.npz")
    assert cli.decode_packets([str(stream), "--bundle", str(tiny_bundle), "--out", str(out), "--conceal"]) == 0
    assert "decoded.npz.quality.npy" in capsys.readouterr().out
    quality = np.load(out.with_name("decoded.npz.quality.npy"))
    assert quality.shape == (40, 50)
    assert set(np.unique(quality)) - {3}
    assert cli.decode_packets([str(stream), "--bundle", str(tiny_bundle), "--out", str(out)]) == 1
    assert out.with_name("decoded.npz.quality.npy").exists()
    assert out.exists()


@pytest.mark.parametrize(
    ("cube", "match"),
    [
        (smooth_cube(9, 9, BANDS - 1), f"has {BANDS - 1} bands and the bundle codes {BANDS}"),
        (np.full((4, 4, BANDS), np.nan), "not finite"),
        (np.zeros((0, 4, BANDS), np.uint16), "the scene is empty"),
    ],
)
def test_a_scene_that_cannot_be_coded_is_one_line_and_no_stream(
    tmp_path: Path, tiny_bundle: Path, cube: np.ndarray, match: str, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "bad.npz", cube=cube)
    out = tmp_path / "out.packets"
    assert cli.encode_scene([str(tmp_path / "bad.npz"), "--bundle", str(tiny_bundle), "--out", str(out)]) == 1
    error = capsys.readouterr().err
    assert match in error
    assert _one_line(error)
    assert {p.name for p in tmp_path.iterdir()} == {"bad.npz"}


def test_missing_files_are_one_line(tmp_path: Path, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "s.npz", cube=smooth_cube(4, 4, BANDS))
    out = str(tmp_path / "o.packets")
    assert cli.encode_scene(["missing.npz", "--bundle", str(tiny_bundle), "--out", out]) == 1
    assert "missing.npz: no such file" in capsys.readouterr().err
    assert cli.encode_scene([str(tmp_path / "s.npz"), "--bundle", str(tmp_path), "--out", out]) == 1
    assert "is no bundle" in capsys.readouterr().err
    assert cli.verify_bundle([str(tmp_path)]) == 1
    assert "is no bundle" in capsys.readouterr().err


def test_folders_and_inputs_are_never_replaced(
    scene: Path, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = scene.with_name("precious")
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")
    before = scene.read_bytes()
    for out in (folder, scene, tiny_bundle / "encoder.onnx", tiny_bundle):
        assert cli.encode_scene([str(scene), "--bundle", str(tiny_bundle), "--out", str(out)]) == 1
        assert _one_line(capsys.readouterr().err)
    assert (folder / "thesis.txt").read_text() == "mine"
    assert scene.read_bytes() == before


def test_an_envi_scenes_samples_are_not_replaced(
    tmp_path: Path, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_scene(Scene(cube=smooth_cube(16, 16, BANDS)), tmp_path / "e.hdr")
    before = (tmp_path / "e.img").read_bytes()
    arguments = [str(tmp_path / "e.hdr"), "--bundle", str(tiny_bundle), "--out", str(tmp_path / "e.img")]
    assert cli.encode_scene(arguments) == 1
    assert "is an input file of" in capsys.readouterr().err
    assert (tmp_path / "e.img").read_bytes() == before


def test_wrong_usage_exits_2_and_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (cli.encode_scene, cli.decode_packets, cli.verify_bundle):
        with pytest.raises(SystemExit, match="2"):
            command(["--no-such-option"])
        with pytest.raises(SystemExit, match="0"):
            command(["--help"])
        assert "example:" in capsys.readouterr().out


def test_the_runtime_loads_no_training_library() -> None:
    script = (
        "import sys, hyvic_runtime.families.latent.encoder, hyvic_runtime.families.latent.decoder, hyvic_runtime.cli\n"
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'torch', 'compressai', 'onnx', 'spox', 'scipy',"
        " 'matplotlib', 'distributed', 'hyvic_train', 'hyvic_export', 'hyvic_compare'}))"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (["--min-psnr", "inf"], "--min-psnr is inf dB; a finite number is needed"),
        (["--min-psnr", "nan"], "--min-psnr is nan dB; a finite number is needed"),
        (["--target-ratio", "1e-320"], "give a ratio of 1 or more"),
        (["--saturated", "65535", "--resample"], "pass only one"),
    ],
)
def test_a_wish_that_means_nothing_is_one_line(
    scene: Path, tiny_bundle: Path, capsys: pytest.CaptureFixture[str], options: list[str], match: str
) -> None:
    out = scene.with_name("p")
    assert cli.encode_scene([str(scene), "--bundle", str(tiny_bundle), "--out", str(out), *options]) == 1
    error = capsys.readouterr().err
    assert _one_line(error)
    assert match in error
    assert not out.exists()
