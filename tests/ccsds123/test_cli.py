from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ccsds123.cli import main as ccsds123
from golden_vectors import Vector, vector


@pytest.fixture
def golden(tmp_path: Path) -> Vector:
    """A golden vector whose parameters lie in p.json."""
    chosen = vector("per_sa_bil_u2_absrel_bands")
    facts = {key: chosen.facts[key] for key in ("image", "parameters")}
    (tmp_path / "p.json").write_text(json.dumps(facts))
    return chosen


def test_encode_and_decode_give_the_golden_files(
    golden: Vector, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, back = tmp_path / "f.c123", tmp_path / "deep" / "image.raw"
    assert (
        ccsds123(["encode", str(golden.image), "--params", str(tmp_path / "p.json"), "--out", str(out), "--json"]) == 0
    )
    result = json.loads(capsys.readouterr().out)
    assert out.read_bytes() == golden.stream.read_bytes()
    assert result["octets"] == out.stat().st_size
    assert result["shape"] == [8, 7, 6]
    assert result["bits_per_sample"] == pytest.approx(8 * out.stat().st_size / 336)
    assert ccsds123(["--json", "decode", str(out), "--out", str(back)]) == 0
    assert json.loads(capsys.readouterr().out)["shape"] == [8, 7, 6]
    assert back.stat().st_size == golden.image.stat().st_size


def test_the_parameter_files_of_the_documentation_encode_within_their_limit(tmp_path: Path) -> None:
    """Both files of docs/ccsds123.md: the smallest one, and one with an error limit."""
    page = (Path(__file__).parents[2] / "docs" / "ccsds123.md").read_text(encoding="utf-8")
    limited = page[page.index('    {"image"') :].split("\n\n")[0]
    smallest = page[page.index('{"image"') :].split("`")[0]
    cube = np.random.default_rng(0).integers(0, 2**16, (3, 6, 7)).astype(">u2")
    image, params, stream, out = (tmp_path / name for name in ("image.raw", "p.json", "f.c123", "out.raw"))
    image.write_bytes(cube.tobytes())
    for text, limit in ((smallest, 0), (limited, 3)):
        params.write_text(text)
        assert ccsds123(["encode", str(image), "--params", str(params), "--out", str(stream)]) == 0
        assert ccsds123(["decode", str(stream), "--out", str(out)]) == 0
        back = np.frombuffer(out.read_bytes(), ">u2").reshape(cube.shape)
        assert np.abs(back.astype(int) - cube).max() == limit


def test_lossless_files_come_back_as_they_were(tmp_path: Path) -> None:
    for name in ("edge_ba_u32_O19", "edge_sa_onecol", "supp_sa_two_int_tables"):
        chosen = vector(name)
        out = tmp_path / f"{name}.raw"
        assert ccsds123(["decode", str(chosen.stream), "--out", str(out)]) == 0
        assert out.read_bytes() == chosen.image.read_bytes()


def test_inspect_says_the_header_in_words(golden: Vector, capsys: pytest.CaptureFixture[str]) -> None:
    assert ccsds123(["inspect", str(golden.stream)]) == 0
    text = capsys.readouterr().out
    assert "7 × 8 × 6 (N_X × N_Y × N_Z), unsigned samples of 16 bits (D)" in text
    assert "band-interleaved, M = 1 (BIL)" in text
    assert "absolute error limits in the body, 4 bits each and relative error limits in the body, 8 bits each" in text
    assert "updated every 4 lines (u = 2)" in text
    assert "sample-adaptive, unary length limit 18 (U_max)" in text
    assert ccsds123(["inspect", str(vector("supp_sa_two_int_tables").stream), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["parameters"]["supplementary_information_tables"][1]["values"] == [-256, -1, 0, 7, 100, 255]
    assert ccsds123(["inspect", str(vector("supp_sa_two_int_tables").stream)]) == 0
    assert "offset, one-dimensional, 6 signed integers of 9 bits" in capsys.readouterr().out


def _one_line(error: str) -> bool:
    return len(error.strip().splitlines()) == 1 and "Traceback" not in error


def test_what_cannot_be_decoded_is_one_line_and_no_file(
    golden: Vector, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    octets = golden.stream.read_bytes()
    for number, (damaged, match) in enumerate(
        (
            (b"", "the header needs 8 more bits and 0 are there"),
            (octets[:-1], "it is damaged or incomplete"),
            (octets + bytes(2), "are more than fill"),
            (golden.image.read_bytes(), "not a CCSDS 123.0-B-2 image, or is a damaged one"),
        )
    ):
        (tmp_path / "bad.c123").write_bytes(damaged)
        out = tmp_path / f"{number}.raw"
        assert ccsds123(["decode", str(tmp_path / "bad.c123"), "--out", str(out)]) == 1
        error = capsys.readouterr().err
        assert match in error
        assert "bad.c123" in error
        assert _one_line(error)
        assert not out.exists()
    assert ccsds123(["inspect", str(tmp_path / "missing.c123")]) == 1
    assert "missing.c123: cannot be read" in capsys.readouterr().err


def test_what_cannot_be_encoded_is_one_line_and_no_file(
    golden: Vector, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "f.c123"
    (tmp_path / "short.raw").write_bytes(golden.image.read_bytes()[:-2])
    (tmp_path / "text.json").write_text("image")
    facts = json.loads((tmp_path / "p.json").read_text())
    facts["parameters"]["predictor"]["P"] = 16
    (tmp_path / "wrong.json").write_text(json.dumps(facts))
    for image, params, match in (
        (tmp_path / "short.raw", "p.json", "670 octets where 7 × 8 × 6 samples of 2 octets take 672"),
        (tmp_path / "missing.raw", "p.json", "missing.raw: cannot be read"),
        (golden.image, "missing.json", "missing.json: cannot be read"),
        (golden.image, "text.json", "text.json: Expecting value"),
        (golden.image, "wrong.json", "wrong.json: P 16 is outside 0..15 (4.2)"),
    ):
        assert ccsds123(["encode", str(image), "--params", str(tmp_path / params), "--out", str(out)]) == 1
        error = capsys.readouterr().err
        assert match in error
        assert _one_line(error)
        assert not out.exists()


def test_decode_takes_left_out_tables_from_params_and_refuses_params_that_lack_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = vector("ec_sa_Ktable")
    facts = json.loads(json.dumps({key: chosen.facts[key] for key in ("image", "parameters")}))
    facts["parameters"]["entropy_coder"]["k_z_dprime_table_included"] = False
    (tmp_path / "right.json").write_text(json.dumps(facts))
    facts["parameters"]["entropy_coder"] = {"K": 3}
    (tmp_path / "constant.json").write_text(json.dumps(facts))
    facts["parameters"] |= {"entropy_coder_type": "hybrid", "entropy_coder": {}}
    (tmp_path / "hybrid.json").write_text(json.dumps(facts))
    stream, out = tmp_path / "f.c123", tmp_path / "image.raw"
    params = str(tmp_path / "right.json")
    assert ccsds123(["encode", str(chosen.image), "--params", params, "--out", str(stream)]) == 0
    assert stream.stat().st_size < chosen.stream.stat().st_size
    for options in ([], ["--params", str(tmp_path / "constant.json")], ["--params", str(tmp_path / "hybrid.json")]):
        capsys.readouterr()
        assert ccsds123(["decode", str(stream), "--out", str(out), *options]) == 1
        error = capsys.readouterr().err
        assert "the accumulator initialization table is not in the header" in error
        assert _one_line(error)
        assert not out.exists()
    assert ccsds123(["decode", str(stream), "--out", str(out), "--params", params]) == 0
    assert out.read_bytes() == chosen.image.read_bytes()


def test_inputs_and_folders_are_not_replaced(
    golden: Vector, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = tmp_path / "f.c123"
    stream.write_bytes(golden.stream.read_bytes())
    assert ccsds123(["decode", str(stream), "--out", str(stream)]) == 1
    assert "is an input; name another file" in capsys.readouterr().err
    assert ccsds123(["decode", str(stream), "--out", str(tmp_path)]) == 1
    assert _one_line(capsys.readouterr().err)
    assert stream.read_bytes() == golden.stream.read_bytes()


def test_wrong_usage_exits_2_and_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in ([], ["encode"], ["transcode"]):
        with pytest.raises(SystemExit, match="2"):
            ccsds123(wrong)
    with pytest.raises(SystemExit, match="0"):
        ccsds123(["--help"])
    assert "example:" in capsys.readouterr().out
