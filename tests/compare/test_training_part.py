from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from comparisons import comparison, point
from hyvic_compare.cli import compare_codecs
from hyvic_compare.codecs.bundle_codec import BundleCodec
from hyvic_compare.codecs.pca import Pca
from hyvic_compare.report.summary import findings
from hyvic_compare.report.views import views_from
from hyvic_compare.scene_facts import Facts
from hyvic_compare.scene_source import SceneSource
from hyvic_compare.training_part import training_part, training_remarks
from hyvic_runtime.codec.seen_scenes import Seen
from hyvic_runtime.scene.content_hash import content_sha256
from hyvic_runtime.scene.files import write_scene
from hyvic_runtime.scene.scene import Scene
from listed_bundle import listed_bundle
from scenes import BANDS, smooth_cube

HASHES = {name: letter * 64 for name, letter in (("seen", "a"), ("measured", "b"), ("new", "c"))}


@pytest.fixture(scope="module")
def listed(tiny_adaptive_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> BundleCodec:
    """Codec of a bundle that lists `seen` and `measured`."""
    folder = tmp_path_factory.mktemp("listed") / "b"
    listed_bundle(tiny_adaptive_bundle, folder, training=(HASHES["seen"],), validation=(HASHES["measured"],))
    return BundleCodec(folder=folder, name="ours")


@pytest.fixture(scope="module")
def silent(tiny_adaptive_bundle: Path) -> BundleCodec:
    return BundleCodec(folder=tiny_adaptive_bundle, name="silent")


def _parts(codec: BundleCodec | Pca, facts: Facts) -> list[Seen]:
    return [training_part(codec, name, sha256, facts) for name, sha256 in HASHES.items()]


def test_the_pixels_decide_and_no_fact_makes_a_scene_unseen(listed: BundleCodec, silent: BundleCodec) -> None:
    others_only = Facts(seen={"*": ("something_else",)})
    for facts in (Facts(), others_only):
        assert _parts(listed, facts) == [Seen.TRAINED, Seen.MEASURED, Seen.NO]
        assert _parts(silent, facts) == [Seen.UNKNOWN] * 3
        assert _parts(Pca(), facts) == [Seen.NO] * 3
    assert _parts(silent, Facts(seen={"silent": ("s*",)})) == [Seen.TRAINED, Seen.UNKNOWN, Seen.UNKNOWN]


def test_facts_that_the_pixels_contradict_are_named(listed: BundleCodec) -> None:
    assert list(training_remarks([listed, Pca()], HASHES, Facts())) == []
    assert list(training_remarks([listed], HASHES, Facts(seen={"ours": ("seen",)}))) == []
    (remark,) = training_remarks([listed], HASHES, Facts(seen={"ours": ("other",)}))
    assert "ours was trained on seen, by the hashes of their pixels, and the facts do not say so" in remark
    claim = Facts(seen={"ours": ("seen", "new", "measured")})
    (remark,) = training_remarks([listed], HASHES, claim)
    assert "The facts say that ours was trained on measured, new, and its list has no scene of these pixels" in remark
    assert _parts(listed, claim) == [Seen.TRAINED] * 3  # a crop has another hash, so the claim counts


def test_a_bundle_without_a_list_is_named(silent: BundleCodec) -> None:
    (remark,) = training_remarks([silent], HASHES, Facts(seen={"silent": ("seen",)}))
    assert remark.startswith("Whether silent was trained on measured, new is unknown")


def test_a_scene_is_hashed_as_its_file_holds_it(tmp_path: Path) -> None:
    cube = smooth_cube(6, 5, 9)
    scene = Scene(cube=cube, wavelengths=np.linspace(400, 800, 9), no_data=int(cube[0, 0, 0]))
    for suffix in (".npz", ".tif"):
        write_scene(scene, path := tmp_path / f"scene{suffix}")
        prepared = SceneSource(path=path, facts=Facts().of_scene("scene"), bands=(450.0, 600.0)).read()
        assert prepared.scene.cube.shape == (6, 5, 2)
        assert prepared.content_sha256 == content_sha256(cube)


def test_a_mean_never_mixes_unknown_scenes_with_others_and_no_text_calls_them_unseen() -> None:
    measurements = [point(name, "ours", 10, 60, training=Seen.UNKNOWN if name in "ab" else Seen.NO) for name in "abcde"]
    found = comparison(*measurements, *(point(name, "old", 10, 50) for name in "abcde"), ours=("ours",))
    views = views_from(found)
    assert [view.scenes for view in views[:2]] == [("c", "d", "e"), ("a", "b")]
    assert views[1].label == "Mean over 2 scenes (? unknown whether ours trained on them)"
    assert views[1].series[0].label == "ours ?"
    assert [series.label for series in views[0].series] == ["ours", "old"]
    assert "Whether ours was trained on a and b is unknown" in dict(findings(found, views))["Seen in training"]
    unknown = comparison(*measurements[:2], ours=("ours",))
    text = " ".join(sentence for _, sentence in findings(unknown, views_from(unknown)))
    assert "that ours may have been trained on" in text
    assert "no codec was trained on" not in text


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_report_marks_what_the_hash_finds_under_any_name(
    tmp_path: Path, tiny_adaptive_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cubes = [smooth_cube(40, 36, BANDS, seed=seed) for seed in (0, 1)]
    for name, cube in zip(("renamed", "new"), cubes, strict=True):
        np.save(tmp_path / f"{name}.npy", cube)
    bundle = listed_bundle(tiny_adaptive_bundle, tmp_path / "ours.bundle", training=(content_sha256(cubes[0]),))
    (tmp_path / "facts.json").write_text(json.dumps({"seen": {"ours": ["original"]}}))
    scenes = [str(tmp_path / f"{name}.npy") for name in ("renamed", "new")]
    words = ["--bundle", str(bundle), "--codecs", "jpeg-ls", "--ratios", "8", "--facts", str(tmp_path / "facts.json")]
    assert compare_codecs([*scenes, *words, "--report", str(tmp_path / "report"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    ours = {row["scene"]: row["training"] for row in result["measurements"] if row["codec"] == "ours"}
    assert ours == {"renamed": "seen", "new": "not seen"}
    assert any("ours was trained on renamed" in remark for remark in result["remarks"])
    document = json.loads((tmp_path / "report" / "comparison.json").read_text())
    assert [scene["content_sha256"] for scene in document["scenes"]] == [content_sha256(cube) for cube in cubes]
    assert any("ours was trained on renamed" in note for note in document["notes"])
    assert {m["training"] for m in document["measurements"] if m["codec"] != "ours"} == {"not seen"}
    assert compare_codecs([*scenes, *words, "--report", str(tmp_path / "report")]) == 0
    assert "ours was trained on renamed, by the hashes of their pixels" in capsys.readouterr().out
