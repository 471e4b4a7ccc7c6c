"""Contract of faults on board, of altered bundles, and of the commands."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from codec_under_test import (
    Capture,
    CodecUnderTest,
    split,
)
from coded_scenes import packets_of, segment_of, stream_of, without
from hyvic_runtime import cli
from hyvic_runtime.codec.bundle import Bundle
from hyvic_runtime.codec.bundle_files import MANIFEST, REPORT, TABLE_FIRST
from hyvic_runtime.codec.quality_map import Quality
from hyvic_runtime.codec.row_encoder import AnyEncoder
from hyvic_runtime.codec.scene_decoder import AnyDecoder
from hyvic_runtime.errors import BundleError, LostTilesError
from hyvic_runtime.families.registry import encoder_of, read_bundle
from hyvic_runtime.packets.space_packet import UnitKind
from hyvic_runtime.scene.files import read_scene
from hyvic_runtime.scene.scene import Scene
from scenes import TILE


class BoardContract(CodecUnderTest):
    """Tests of faults, bundles and commands."""

    # ----------------------------------------------------------------------------------------------- faults on board

    @pytest.mark.parametrize("tile", [0, 1, 4])
    def test_a_tile_that_the_engine_fails_on_comes_back_exactly(
        self, fresh: AnyEncoder, decoder: AnyDecoder, tile: int
    ) -> None:
        cube = self.cube(2 * TILE + 8, 2 * TILE)
        row, column = divmod(tile, 2)
        area = (slice(row * TILE, (row + 1) * TILE), slice(column * TILE, (column + 1) * TILE))
        cube[area][2:5, 3:9] = 7777
        scene = Scene(cube=cube, no_data=7777)
        sound = decoder.decode(stream_of(fresh, scene)).scene.cube
        self.with_faults(fresh, {tile})
        decoded = decoder.decode(stream_of(fresh, scene))
        assert np.array_equal(decoded.scene.cube[area], cube[area])
        assert (decoded.quality[area] == Quality.EXACT).all()
        assert (decoded.quality >= Quality.AFFECTED).all()
        exact = decoded.quality == Quality.EXACT
        exact[area] = False
        assert exact.any()
        assert np.array_equal(decoded.scene.cube[exact], sound[exact])
        (fallback,) = fresh.health.fallbacks
        assert (fallback.row, fallback.column, fallback.reason) == (row, column, "the device is gone")
        assert (fresh.health.tiles, fresh.health.fallback_count) == (12, 1)

    def test_a_scene_whose_every_tile_fails_comes_back_exactly(self, fresh: AnyEncoder, decoder: AnyDecoder) -> None:
        cube = self.cube(TILE + 8, 2 * TILE)
        self.with_faults(fresh, set(range(4)))
        packets = packets_of(fresh, cube)
        for kinds in ((), self.STRIP_UNITS):  # which such tiles do without
            decoded = decoder.decode(b"".join(p for p in packets if segment_of(p).kind not in kinds))
            assert np.array_equal(decoded.scene.cube, cube)
            assert (decoded.quality == Quality.EXACT).all()

    def test_a_lost_exact_unit_loses_its_tile_alone(
        self, fresh: AnyEncoder, encoder: AnyEncoder, decoder: AnyDecoder
    ) -> None:
        self.with_faults(fresh, {2})
        stream = without(packets_of(fresh, self.cube(3 * TILE, 2 * TILE)), lambda s: s.kind == UnitKind.TILE_EXACT)
        with pytest.raises(LostTilesError, match="1 of 6 tiles"):
            decoder.decode(stream)
        quality = decoder.decode(stream, conceal=True).quality
        assert (quality[TILE : 2 * TILE, :TILE] == Quality.LOST).all()
        assert (quality == Quality.LOST).sum() == TILE * TILE
        assert (quality[: max(0, TILE - self.reach(encoder))] == Quality.EXACT).all()

    def test_a_scrub_of_sound_memory_changes_nothing(self, fresh: AnyEncoder) -> None:
        before = {name: value for name, value in vars(fresh).items() if name in ("_engine", "_tiles", "_coder")}
        assert before
        assert fresh.scrub()
        assert all(vars(fresh)[name] is value for name, value in before.items())
        assert (fresh.health.scrubs, fresh.health.repairs) == (1, 0)

    @pytest.mark.parametrize("fault", ["engine", "table", "frequencies"])
    def test_a_scrub_loads_anew_what_changed_in_memory(self, fresh: AnyEncoder, fault: str) -> None:
        cube = self.cube(20, 20)
        sound = stream_of(fresh, cube)
        if fault == "engine":
            self.with_faults(fresh, set(range(-1, 100)))
        elif fault == "table":
            fresh.bundle.tables.first[0] += 1
        else:
            fresh.bundle.tables.frequencies[:2] += np.array([1, -1], np.int64).astype(np.uint32)
        assert not fresh.scrub()
        assert stream_of(fresh, cube) == sound
        assert fresh.scrub()
        assert (fresh.health.scrubs, fresh.health.repairs) == (2, 1)

    def test_a_scrub_refuses_a_bundle_whose_files_were_altered(self, folder: Path, tmp_path: Path) -> None:
        copy = Path(shutil.copytree(folder, tmp_path / "bundle"))
        encoder = encoder_of(read_bundle(copy))
        octets = bytearray((copy / TABLE_FIRST).read_bytes())
        octets[-1] ^= 1
        (copy / TABLE_FIRST).write_bytes(octets)
        with pytest.raises(BundleError, match="was altered"):
            encoder.scrub()

    def test_a_health_report_names_what_codes_and_how_long_it_took(self, fresh: AnyEncoder) -> None:
        stream_of(fresh, self.cube(TILE + 8, 2 * TILE))
        report = fresh.health_report()
        assert report["bundle"] == fresh.bundle.identity.hex()
        assert report["engine"] == fresh.engine_name
        assert (report["tiles"], report["queue"], report["fallback_count"]) == (4, 0, 0)
        assert report["stages"]["engine_s"] > 0
        assert report["stages"]["tile_input_s"] > 0

    # ----------------------------------------------------------------------------------------------- altered bundles

    @pytest.fixture
    def copy(self, folder: Path, tmp_path: Path) -> Path:
        return Path(shutil.copytree(folder, tmp_path / "bundle"))

    @pytest.mark.parametrize("place", [0.0, 0.5, 0.999])
    def test_one_altered_octet_is_found_in_any_file(self, copy: Path, place: float) -> None:
        assert {path.name for path in copy.iterdir()} == {*self.files, MANIFEST, REPORT}
        for name in (*self.files, REPORT):
            sound = (copy / name).read_bytes()
            octets = bytearray(sound)
            octets[int(place * len(octets))] ^= 1
            (copy / name).write_bytes(octets)
            with pytest.raises(BundleError, match=f"{name} was altered"):
                read_bundle(copy)
            (copy / name).write_bytes(sound)

    def test_one_altered_octet_is_found_anywhere_in_the_manifest(self, copy: Path) -> None:
        original = (copy / MANIFEST).read_bytes()
        rng = np.random.default_rng(0)
        for position in {*rng.integers(0, len(original), 200).tolist()}:
            octets = bytearray(original)
            octets[position] ^= 1
            (copy / MANIFEST).write_bytes(octets)
            with pytest.raises(BundleError, match=r"altered or damaged|this runtime reads"):
                read_bundle(copy)
        (copy / MANIFEST).write_bytes(original.replace(b"\n", b" \n", 1))
        with pytest.raises(BundleError, match="altered or damaged"):
            read_bundle(copy)

    def test_a_missing_file_is_named(self, copy: Path) -> None:
        for name in self.files:
            sound = (copy / name).read_bytes()
            (copy / name).unlink()
            with pytest.raises(BundleError, match=f"{name} cannot be read"):
                read_bundle(copy)
            (copy / name).write_bytes(sound)

    # ------------------------------------------------------------------------------------------------------ commands

    @pytest.fixture
    def scene_file(self, tmp_path: Path) -> Path:
        np.savez(tmp_path / "scene.npz", cube=self.cube(TILE + 3, TILE + 3))
        return tmp_path / "scene.npz"

    def test_encode_scene_keeps_what_it_is_asked(self, scene_file: Path, folder: Path, capsys: Capture) -> None:
        out = scene_file.with_name("p")
        rest = [str(scene_file), "--bundle", str(folder), "--out", str(out), "--json"]

        def result(*words: str) -> dict[str, Any]:
            assert cli.encode_scene([*rest, *words]) == 0
            document: dict[str, Any] = json.loads(capsys.readouterr().out)
            return document

        octets = result("--quality", "75")["octets"]
        within = result("--max-bytes", str(octets))
        assert 0.97 * octets <= out.stat().st_size <= octets
        assert (within["budget"], within["octets"]) == (octets, out.stat().st_size)
        ratio = 2 * (TILE + 3) ** 2 * self.BANDS / octets
        assert ratio <= result("--target-ratio", str(ratio))["compression_ratio"] <= ratio / 0.97
        assert result("--min-psnr", "30")["psnr_db"] >= 30
        assert sorted(path.name for path in out.parent.iterdir()) == ["p", "scene.npz"]
        before = out.read_bytes()
        assert cli.encode_scene([*rest, "--max-bytes", "30"]) == 1
        assert "the budget is 30 octets and the bundle's lowest rate takes" in capsys.readouterr().err
        assert cli.encode_scene([*rest, "--target-ratio", "-2"]) == 1
        assert "the compression ratio is -2" in capsys.readouterr().err
        assert cli.encode_scene([*rest, "--max-bytes", "0"]) == 1
        assert out.read_bytes() == before
        with pytest.raises(SystemExit, match="2"):
            cli.encode_scene([*rest, "--max-bytes", "30", "--quality", "3"])

    @pytest.mark.parametrize("suffix", [".npy", ".tif"])
    def test_scene_to_packets_to_file(self, scene_file: Path, folder: Path, suffix: str, capsys: Capture) -> None:
        stream, out, health = (scene_file.with_name(name) for name in ("p", f"d{suffix}", "health.json"))
        words = [str(scene_file), "--bundle", str(folder), "--out", str(stream), "--health", str(health)]
        pictures = []
        for option in ([], ["--progressive"]):
            assert cli.encode_scene([*words, *option]) == 0
            assert cli.decode_packets([str(stream), "--bundle", str(folder), "--out", str(out)]) == 0
            pictures.append(read_scene(out).cube)
        assert np.array_equal(*pictures)
        kinds = [segment_of(packet).kind for packet in split(stream.read_bytes())]
        firsts = [n for n, kind in enumerate(kinds) if kind in (UnitKind.TILE_BASE, *self.STRIP_UNITS)]
        assert kinds.index(UnitKind.TILE_REFINEMENT) > max(firsts)
        assert np.abs(np.load(scene_file)["cube"].astype(int) - pictures[0]).mean() < self.ERROR
        document = json.loads(health.read_text())
        assert (document["state"], document["tiles"], document["fallback_count"]) == ("done", 4, 0)
        capsys.readouterr()

    def test_concealed_losses_are_marked(
        self, scene_file: Path, encoder: AnyEncoder, folder: Path, capsys: Capture
    ) -> None:
        stream, out, quality = (scene_file.with_name(name) for name in ("p", "d.npy", "d.npy.quality.npy"))
        packets = packets_of(encoder, np.load(scene_file)["cube"])
        stream.write_bytes(without(packets, lambda s: (s.kind, s.row) == (UnitKind.TILE_BASE, 1)))
        words = [str(stream), "--bundle", str(folder), "--out", str(out)]
        assert cli.decode_packets(words) == 1
        assert "2 of 4 tiles cannot be decoded (" in capsys.readouterr().err
        assert not out.exists()
        assert cli.decode_packets([*words, "--conceal"]) == 0
        assert (np.load(quality)[TILE:] == Quality.LOST).all()
        assert (np.load(quality)[:TILE] >= Quality.AFFECTED).all()
        capsys.readouterr()

    def test_a_key_protects_a_scene(self, scene_file: Path, folder: Path, capsys: Capture) -> None:
        key, stream, out = (scene_file.with_name(name) for name in ("key", "p", "d.npy"))
        key.write_bytes(bytes(range(32)))
        key.chmod(0o600)
        bundle = ["--bundle", str(folder)]
        assert cli.encode_scene([str(scene_file), *bundle, "--out", str(stream), "--key", str(key)]) == 0
        assert cli.decode_packets([str(stream), *bundle, "--out", str(out)]) == 1
        assert cli.decode_packets([str(stream), *bundle, "--out", str(out), "--key", str(key)]) == 0
        capsys.readouterr()

    def test_simulate_downlink_writes_its_report(self, scene_file: Path, folder: Path, capsys: Capture) -> None:
        report = scene_file.with_name("report")
        words = [str(scene_file), "--bundle", str(folder), "--packet-loss", "0.1", "--report", str(report)]
        assert cli.simulate_downlink([*words, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["tiles"] == 4
        assert (report / "report.json").exists()

    def test_verify_bundle_names_what_it_checked(self, folder: Path, bundle: Bundle, capsys: Capture) -> None:
        assert cli.verify_bundle([str(folder), "--json"]) == 0
        result = json.loads(capsys.readouterr().out)
        assert result["identity"] == bundle.identity.hex()
        assert result["family"] == bundle.manifest.family
        assert result["engine"] == encoder_of(bundle).engine_name
