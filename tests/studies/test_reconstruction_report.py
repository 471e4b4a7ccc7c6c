from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hyvic_compare.indian_pines import load_indian_pines
from hyvic_runtime.packets.space_packet import Packetiser, Unit, UnitKind
from hyvic_runtime.scene.scene import Scene
from hyvic_runtime.support.metrics import psnr
from scenes import smooth_cube
from studies.demo import _packet_octets, _stages
from studies.reconstruction_report import measure, write_report


@pytest.fixture
def pair() -> tuple[Scene, Scene]:
    cube = smooth_cube(30, 24, 12)
    wavelengths = np.linspace(420, 2450, 12)
    decoded = cube + (np.arange(24) % 3).astype(np.uint16)[None, :, None]
    return Scene(cube=cube, wavelengths=wavelengths), Scene(cube=decoded, wavelengths=wavelengths)


def test_measures_are_the_papers(pair: tuple[Scene, Scene]) -> None:
    measures = measure(*pair, packet_octets=[100, 44], peak=10_000)
    assert measures.octets == 144
    assert measures.packets == 2
    assert measures.compression_ratio == pytest.approx(30 * 24 * 12 * 16 / (144 * 8))
    assert measures.rate_bpppc == pytest.approx(144 * 8 / (30 * 24 * 12))
    assert measures.psnr_db == psnr(pair[0].cube, pair[1].cube, 10_000)
    assert measures.largest_error == 2


def test_a_report_is_a_page_with_its_pictures(pair: tuple[Scene, Scene], tmp_path: Path) -> None:
    measures = write_report(
        tmp_path / "report",
        title="A <scene>",
        note="note",
        original=pair[0],
        decoded=pair[1],
        packet_octets=[100, 44],
        peak=10_000,
        stage_seconds={"encode": 0.25},
        commands=["encode-scene a && b"],
    )
    files = {p.name for p in (tmp_path / "report").iterdir()}
    assert files == {"index.html", "report.json", "true-colour.png", "spectra.png", "packets.png"}
    page = (tmp_path / "report" / "index.html").read_text()
    assert "A &lt;scene&gt;" in page
    assert "a &amp;&amp; b" in page
    for name in ("true-colour.png", "spectra.png", "packets.png"):
        assert f'src="{name}"' in page
        assert (tmp_path / "report" / name).read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "report" / "report.json").read_text())["psnr_db"] == measures.psnr_db
    assert list(tmp_path.iterdir()) == [tmp_path / "report"]


def test_the_worst_pixel_is_among_those_shown(pair: tuple[Scene, Scene]) -> None:
    from studies.reconstruction_report import _pixels_to_show

    cube = pair[1].cube.copy()
    cube[7, 5] += 500
    shown = _pixels_to_show(pair[0], Scene(cube=cube))
    assert shown["largest error"] == (7, 5)


def test_packet_lengths_are_read_from_the_stream() -> None:
    unit = Unit(kind=UnitKind.TILE_REFINEMENT, scene=0, row=0, column=0, octets=bytes(500))
    packets = list(Packetiser(packet_octets=222).packets(unit))
    assert _packet_octets(b"".join(packets)) == [len(p) for p in packets] == [222, 222, 143]


def test_indian_pines_is_the_known_scene() -> None:
    scene = load_indian_pines()
    assert scene.cube.shape == (145, 145, 200)
    assert (scene.cube.min(), scene.cube.max()) == (955, 9604)
    assert scene.wavelengths is not None
    assert scene.wavelengths[0] == pytest.approx(400.02)


def test_a_coder_that_takes_turns_with_the_engine_is_timed_with_it() -> None:
    stages = {"tile_input_s": 0.5, "engine_s": 2.0, "entropy_coder_s": 0.25}
    assert _stages("encode", {"stages": stages}) == {
        "encode: tile input": 0.5,
        "encode: engine": 2.0,
        "encode: entropy coder": 0.25,
    }
    together = _stages("encode", {"stages": stages | {"entropy_coder_s": 0.0}})
    assert together == {"encode: tile input": 0.5, "encode: engine and entropy coder": 2.0}
