from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hyvic_compare.cli import compare_codecs
from hyvic_compare.codec_choice import CODECS, AnyCodec, chosen_codecs
from hyvic_compare.codecs.bundle_codec import BundleCodec
from hyvic_compare.codecs.pca import Pca
from hyvic_compare.comparison import Outcome, Plan, compare
from hyvic_compare.measurement_cache import MeasurementCache
from hyvic_compare.scene_facts import Facts, SceneFacts, read_facts
from hyvic_compare.scene_source import SceneSource
from hyvic_runtime.errors import RateError, SceneError
from hyvic_runtime.families.adaptive.bundle import read_adaptive_bundle
from hyvic_runtime.families.adaptive.context_network import load_context_network
from hyvic_runtime.families.registry import read_bundle
from hyvic_runtime.scene.scene import Cube, Scene, resample_bands
from scenes import BANDS, smooth_cube

# Dask's own doings at start and end, in threads and sockets of its own.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


NOTHING_KNOWN = Facts()


@dataclass(frozen=True)
class Counting:
    """PCA that tells how often it codes."""

    name: str = "counting"
    version: int = 1
    calls: ClassVar[list[tuple[tuple[int, ...], float]]] = []

    @property
    def identity(self) -> str:
        return f"{self}"

    def encode(self, scene: Scene, target_ratio: float) -> bytes:
        if scene.cube.shape == (40, 36, BANDS):  # not what warms it up
            self.calls.append((scene.cube.shape, target_ratio))
        if target_ratio > 100:
            raise RateError("too much is asked for")
        return Pca().encode(scene, target_ratio)

    def decode(self, stream: bytes) -> Cube:
        return Pca().decode(stream)


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """A scheduler with one worker in this process."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0", silence_logs=50
    ) as running:
        yield running.scheduler_address


def field(folder: Path, name: str = "field", seed: int = 0) -> Path:
    np.savez(folder / f"{name}.npz", cube=smooth_cube(40, 36, BANDS, seed))
    return folder / f"{name}.npz"


def run(
    folder: Path,
    cluster: str,
    *paths: Path,
    ratios: tuple[float, ...] = (4, 8),
    codecs: tuple[AnyCodec, ...] = (Counting(),),
    facts: Facts = NOTHING_KNOWN,
) -> Outcome:
    plan = Plan(
        sources=tuple(SceneSource(path=path, facts=facts.of_scene(path.stem)) for path in paths),
        codecs=codecs,
        ratios=ratios,
        peak=None,
        facts=facts,
    )
    cache = MeasurementCache(folder=folder / "cache")
    return compare(plan, cache, scheduler=cluster, command="compare-codecs as typed")


def test_a_second_call_codes_nothing_and_a_wider_one_what_is_new(tmp_path: Path, cluster: str) -> None:
    scene = field(tmp_path)
    Counting.calls.clear()
    first = run(tmp_path, cluster, scene)
    assert first.coded == len(Counting.calls) == 2
    again = run(tmp_path, cluster, scene)
    assert again.coded == 0
    assert len(Counting.calls) == 2
    assert again.comparison.measurements == first.comparison.measurements
    shown = ("field", "counting", 8.0)
    assert set(again.comparison.previews) == {shown}
    for name in ("true_colour", "error", "spectra"):
        kept, made = (getattr(outcome.comparison.previews[shown], name) for outcome in (again, first))
        assert kept.dtype == made.dtype
        assert np.array_equal(kept, made)
    assert run(tmp_path, cluster, scene, ratios=(4, 6, 8)).coded == 1
    assert run(tmp_path, cluster, scene, codecs=(Counting(version=2),)).coded == 2
    assert run(tmp_path, cluster, scene, field(tmp_path, "other", seed=1)).coded == 2


def test_a_scene_is_known_by_its_content(tmp_path: Path, cluster: str) -> None:
    scene = field(tmp_path)
    run(tmp_path, cluster, scene)
    outcome = run(tmp_path, cluster, scene.rename(tmp_path / "renamed.npz"))
    assert outcome.coded == 0
    assert {point.scene for point in outcome.comparison.measurements} == {"renamed"}
    assert {scene for scene, _, _ in outcome.comparison.previews} == {"renamed"}


def test_two_files_of_one_content_are_measured_once_and_both_shown(tmp_path: Path, cluster: str) -> None:
    outcome = run(tmp_path, cluster, field(tmp_path), field(tmp_path, "copy"))
    assert outcome.coded == 2
    assert [point.scene for point in outcome.comparison.measurements] == ["field"] * 2 + ["copy"] * 2
    assert {scene for scene, _, _ in outcome.comparison.previews} == {"field", "copy"}


def test_a_damaged_entry_is_measured_again(tmp_path: Path, cluster: str) -> None:
    scene = field(tmp_path)
    first = run(tmp_path, cluster, scene)
    entries = sorted((tmp_path / "cache").rglob("*.json"))
    entries[0].write_text('{"scene": ', encoding="utf-8")
    entries[1].write_text("[]", encoding="utf-8")
    outcome = run(tmp_path, cluster, scene)
    assert outcome.coded == 2
    assert [point.octets for point in outcome.comparison.measurements] == [
        point.octets for point in first.comparison.measurements
    ]
    next((tmp_path / "cache").rglob("*.npz")).write_bytes(b"PK")
    assert run(tmp_path, cluster, scene).coded == 1


def test_a_gap_is_kept_with_its_reason(tmp_path: Path, cluster: str) -> None:
    scene = field(tmp_path)
    for coded in (2, 0):
        outcome = run(tmp_path, cluster, scene, ratios=(4, 128))
        assert outcome.coded == coded
        good, bad = outcome.comparison.measurements
        assert good.gap is None
        assert bad.gap == "too much is asked for"
        assert bad.octets is None
        assert not outcome.comparison.previews  # 128 is what would be shown


def test_what_a_codec_has_seen_is_marked(tmp_path: Path, cluster: str) -> None:
    facts = Facts(scenes={"fi*": SceneFacts(sensor="AVIRIS")}, seen={"counting": ("field*",)})
    outcome = run(tmp_path, cluster, field(tmp_path), field(tmp_path, "other", seed=1), facts=facts)
    assert [(p.scene, p.seen) for p in outcome.comparison.measurements[::2]] == [("field", True), ("other", False)]
    assert [scene.sensor for scene in outcome.comparison.scenes] == ["AVIRIS", None]


@dataclass(frozen=True)
class Ending:
    """What the system does to a process that takes too much memory, at one target."""

    name: str = "ending"
    identity: str = "ending"

    def encode(self, scene: Scene, target_ratio: float) -> bytes:
        if target_ratio == 8:
            os.kill(os.getpid(), signal.SIGKILL)
        return Pca().encode(scene, target_ratio)

    def decode(self, stream: bytes) -> Cube:
        return Pca().decode(stream)


@pytest.mark.slow
def test_a_codec_that_ends_its_process_is_a_gap_that_is_tried_again(tmp_path: Path) -> None:
    import cloudpickle

    plan = Plan(
        sources=(SceneSource(path=field(tmp_path), facts=SceneFacts()),),
        codecs=(Ending(),),
        ratios=(4, 8),
        peak=None,
        facts=NOTHING_KNOWN,
    )
    cache = MeasurementCache(folder=tmp_path / "cache")
    cloudpickle.register_pickle_by_value(sys.modules[Ending.__module__])  # workers cannot import this module
    for coded in (2, 1):
        outcome = compare(plan, cache, scheduler=None, command="")
        assert outcome.coded == coded
        good, bad = outcome.comparison.measurements
        assert good.gap is None
        assert bad.gap == "ending ended its process, most likely for want of memory"


def test_two_scenes_of_one_name_are_refused(tmp_path: Path, cluster: str) -> None:
    (tmp_path / "b").mkdir()
    with pytest.raises(ValueError, match="two scenes are called field; rename one"):
        run(tmp_path, cluster, field(tmp_path), field(tmp_path / "b"))


def test_the_peak_goes_with_the_bit_depth_unless_it_is_given() -> None:
    plan = Plan(sources=(), codecs=(), ratios=(8,), peak=None, facts=Facts())
    assert (plan.peak_of(16), plan.peak_of(8)) == (10_000, 255)
    assert Plan(sources=(), codecs=(), ratios=(8,), peak=4095, facts=Facts()).peak_of(16) == 4095


def test_facts_add_up_and_the_last_counts(tmp_path: Path) -> None:
    path = tmp_path / "facts.json"
    path.write_text(
        json.dumps(
            {
                "scenes": {
                    "a*": {"sensor": "AVIRIS", "wavelengths": {"start": 400, "stop": 2500}},
                    "a_pines": {"wavelengths": [400, 500.5], "no_data": -1},
                },
                "seen": {"hyvic*": ["a_[12]"]},
            }
        ),
        encoding="utf-8",
    )
    facts = read_facts(path)
    assert facts.of_scene("a_pines") == SceneFacts(sensor="AVIRIS", wavelengths=(400, 500.5), no_data=-1)
    assert facts.of_scene("a_1") == SceneFacts(sensor="AVIRIS", spread=(400, 2500))
    assert facts.of_scene("b") == SceneFacts()
    assert [facts.saw("hyvic-s", scene) for scene in ("a_1", "a_3")] == [True, False]
    assert not facts.saw("PCA", "a_1")
    # Of two bundles of one name, each goes by its parent's too.
    assert facts.saw("mine/hyvic-s", "a_1")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not a file of facts"),
        ("[]", "not a file of facts"),
        ('{"scene": {}}', "'scene' is neither 'scenes' nor 'seen'"),
        ('{"scenes": {"a": {"bands": 3}}}', "'bands' is not sensor, wavelengths or no_data"),
        ('{"scenes": {"a": {"wavelengths": {"start": 4}}}}', "not a file of facts .*stop"),
        ('{"scenes": {"a": {"wavelengths": ["x"]}}}', "not a file of facts"),
        ('{"scenes": {"a": {"wavelengths": "400"}}}', "wavelengths must be a list of centres, or start and stop"),
        ('{"seen": {"hyvic*": "a*"}}', r"'seen' of 'hyvic\*' is not a list"),
    ],
)
def test_facts_that_say_something_else_are_refused(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "facts.json").write_text(text, encoding="utf-8")
    with pytest.raises(SceneError, match=reason):
        read_facts(tmp_path / "facts.json")
    with pytest.raises(SceneError, match="cannot be read"):
        read_facts(tmp_path / "none.json")


def test_a_scene_is_interpolated_where_it_reaches_and_says_so(tmp_path: Path) -> None:
    path = field(tmp_path)
    bands = tuple(np.linspace(420, 2400, 15))
    spread = SceneFacts(spread=(400, 2500))
    prepared = SceneSource(path=path, facts=spread, bands=bands).read()
    original = Scene(cube=np.load(path)["cube"], wavelengths=np.linspace(400, 2500, BANDS))
    assert np.array_equal(prepared.scene.cube, resample_bands(original, np.array(bands)).cube)
    assert prepared.prepared == "its 20 bands, taken to lie evenly, were interpolated to the bundle's 15"
    np.savez(tmp_path / "told.npz", cube=original.cube, wavelengths=original.wavelengths)
    told = SceneSource(path=tmp_path / "told.npz", facts=spread, bands=bands).read()
    assert told.prepared == "its 20 bands were interpolated to the bundle's 15"
    narrow = SceneSource(path=path, facts=SceneFacts(spread=(400, 900)), bands=bands).read()
    assert narrow.scene.cube.shape == (40, 36, BANDS)
    assert str(narrow.prepared).startswith("it stays on its own bands: the scene's bands lie at 400 to 900 nm")
    assert SceneSource(path=path, facts=spread).read().prepared is None
    same = SceneSource(path=path, facts=spread, bands=tuple(np.linspace(400, 2500, BANDS))).read()
    assert same.prepared is None
    unknown = SceneSource(path=path, facts=SceneFacts(), bands=tuple(np.linspace(400, 2500, BANDS))).read()
    assert unknown.prepared == "its 20 bands have no known centres and are taken for the bundle's"
    with pytest.raises(SceneError, match=r"field.npz: 3 wavelengths for 20 bands"):
        SceneSource(path=path, facts=SceneFacts(wavelengths=(1.0, 2.0, 3.0))).read()
    assert len({prepared.digest(), narrow.digest(), unknown.digest()}) == 3


def test_a_bundle_keeps_the_budget_or_says_why_not(tiny_bundle: Path) -> None:
    codec = BundleCodec(folder=tiny_bundle, name="tiny")
    bands = read_bundle(tiny_bundle).manifest.wavelengths
    assert bands is not None
    scene = Scene(cube=smooth_cube(64, 64, BANDS), wavelengths=np.array(bands))
    stream = codec.encode(scene, 40)
    assert len(stream) <= scene.cube.nbytes / 40
    assert codec.decode(stream).shape == scene.cube.shape
    with pytest.raises(RateError, match=r"octets and the highest rate takes .*ask for a higher ratio"):
        codec.encode(scene, 1.5)
    with pytest.raises(RateError, match="the bundle's lowest rate takes"):
        codec.encode(scene, 100_000)
    moved = Scene(cube=scene.cube, wavelengths=np.array(bands) + 3)
    with pytest.raises(SceneError, match=r"band centres are up to 3.0 nm from the bundle's; compare with --resample"):
        codec.encode(moved, 40)
    with pytest.raises(SceneError, match="the scene has 21 bands and the bundle codes 20"):
        codec.encode(Scene(cube=smooth_cube(64, 64, BANDS + 1)), 40)


def test_a_scene_adaptive_bundle_codes_any_bands_and_names_what_runs_it(tiny_adaptive_bundle: Path) -> None:
    codec = BundleCodec(folder=tiny_adaptive_bundle, name="tiny")
    assert codec.wavelengths is None
    network = load_context_network(read_adaptive_bundle(tiny_adaptive_bundle))
    assert codec.identity.endswith(network.describe())
    scene = Scene(cube=smooth_cube(40, 50, BANDS + 3))
    stream = codec.encode(scene, 20)
    assert len(stream) <= scene.cube.nbytes / 20
    assert codec.decode(stream).shape == scene.cube.shape


def test_codecs_are_chosen_by_name_and_bundles_by_folder(tiny_bundle: Path) -> None:
    chosen = chosen_codecs(("pca", "jpeg2000"), [tiny_bundle])
    assert [codec.name for codec in chosen] == ["tiny", "PCA", "JPEG 2000"]
    assert len(chosen_codecs((), [])) == len(CODECS)
    with pytest.raises(ValueError, match="no codec is called 'jpeg'; known are pca-jpeg2000, pca"):
        chosen_codecs(("jpeg",), [])
    with pytest.raises(ValueError, match="a bundle is given twice"):
        chosen_codecs((), [tiny_bundle, tiny_bundle / ".." / tiny_bundle.name])


def command(scene: Path, report: Path, *options: str) -> list[str]:
    return [str(scene), "--report", str(report), "--json", *options]


def test_the_command_compares_a_tiny_scene_end_to_end(
    tmp_path: Path, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = field(tmp_path)
    facts = tmp_path / "facts.json"
    facts.write_text(json.dumps({"scenes": {"field": {"wavelengths": {"start": 400, "stop": 2500}}}}), encoding="utf-8")
    options = ("--bundle", str(tiny_bundle), "--resample", "--facts", str(facts), "--ratios", "64,16")
    assert compare_codecs(command(scene, tmp_path / "out", *options)) == 0
    result = json.loads(capsys.readouterr().out)
    points = result["measurements"]
    assert result["coded"] == len(points) == 9 * 2 + 4
    assert {point["codec"] for point in points} >= {"tiny", "PCA + JPEG 2000", "CCSDS-123, hybrid", "JPEG-LS lossless"}
    for point in points:
        if point["gap"] is None and point["target_ratio"] is not None:
            assert point["compression_ratio"] >= point["target_ratio"] * 0.999
            assert point["psnr_db"] > 15
        elif point["gap"] is None:
            assert (point["psnr_db"], point["max_abs_error"]) == (None, 0)
    assert any(point["codec"] == "tiny" and point["gap"] is None for point in points)
    assert result["gaps"] == sum(point["gap"] is not None for point in points)
    assert (tmp_path / "out" / "index.html").is_file()
    assert compare_codecs(command(scene, tmp_path / "out", *options)) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["coded"] == 0
    assert again["measurements"] == points


@pytest.mark.slow
def test_bundles_of_two_families_code_the_same_cube(
    tmp_path: Path, tiny_bundle: Path, tiny_adaptive_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "near.npz", cube=smooth_cube(40, 36, 25), wavelengths=np.linspace(400, 2500, 25))
    np.savez(tmp_path / "far.npz", cube=smooth_cube(40, 36, 7), wavelengths=np.linspace(300, 350, 7))
    facts = tmp_path / "facts.json"
    facts.write_text(json.dumps({"seen": {"tiny-adaptive*": ["near"]}}), encoding="utf-8")
    scenes = [str(tmp_path / "near.npz"), str(tmp_path / "far.npz")]
    # The one of any bands first: the other's bands are meant all the same.
    bundles = ("--bundle", str(tiny_adaptive_bundle), str(tiny_bundle), "--codecs", "pca-jpeg2000", "--ratios", "16")
    options = (*bundles, "--resample", "--facts", str(facts), "--report", str(tmp_path / "out"), "--json")
    assert compare_codecs([*scenes, *options]) == 0
    points = {(p["scene"], p["codec"]): p for p in json.loads(capsys.readouterr().out)["measurements"]}
    assert [codec for scene, codec in points if scene == "near"] == ["tiny-adaptive", "tiny", "PCA + JPEG 2000"]
    for (scene, codec), point in points.items():
        if (scene, codec) == ("far", "tiny"):
            assert "the scene has 7 bands and the bundle codes 20" in point["gap"]
        else:
            assert (
                16
                <= point["compression_ratio"]
                == pytest.approx(40 * 36 * (20, 7)[scene == "far"] * 2 / point["octets"])
            )
    document = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert [scene["shape"] for scene in document["scenes"]] == [[40, 36, 20], [40, 36, 7]]
    seen = {(p["scene"], p["codec"]) for p in document["measurements"] if p["training"] == "seen"}
    assert seen == {("near", "tiny-adaptive")}


def test_a_bundle_of_any_bands_leaves_scenes_on_their_own(
    tmp_path: Path, tiny_adaptive_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = field(tmp_path)
    options = ("--bundle", str(tiny_adaptive_bundle), "--codecs", "pca-jpeg2000", "--ratios", "16")
    assert compare_codecs(command(scene, tmp_path / "out", *options, "--resample")) == 1
    assert "no --bundle has band centres" in capsys.readouterr().err
    assert compare_codecs(command(scene, tmp_path / "out", *options)) == 0
    ours, _ = json.loads(capsys.readouterr().out)["measurements"]
    assert ours["compression_ratio"] == pytest.approx(40 * 36 * BANDS * 2 / ours["octets"])


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene = field(tmp_path)
    options = ("--codecs", "pca,jpeg2000-per-band", "--ratios", "2,3,4,5,6,7")
    arguments = command(scene, tmp_path / "out", *options)
    program = "import sys; from hyvic_compare.cli import compare_codecs; sys.exit(compare_codecs())"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", program, *arguments], env=environment, stderr=subprocess.PIPE)
    cache = tmp_path / "out.cache"
    deadline = time.monotonic() + 600
    while len(list(cache.rglob("*.json"))) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = len(list(cache.rglob("*.json")))
    assert 3 <= kept < 12
    assert compare_codecs(arguments) == 0
    assert json.loads(capsys.readouterr().out)["coded"] == 12 - kept


@pytest.mark.slow
def test_an_interrupted_run_says_what_it_kept(tmp_path: Path) -> None:
    scene = field(tmp_path)
    program = "import sys; from hyvic_compare.cli import compare_codecs; sys.exit(compare_codecs())"
    # So many that the last cannot be done by the time that the first is seen.
    ratios = ",".join(f"{2 + number / 100:.2f}" for number in range(300))
    arguments = command(scene, tmp_path / "out", "--codecs", "jpeg2000-per-band", "--ratios", ratios)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", program, *arguments], env=environment, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 600
    while not list((tmp_path / "out.cache").rglob("*.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    said = process.communicate()[1].decode()
    assert process.returncode == 130
    assert "of 300 points are kept in" in said
    assert "Traceback" not in said


def test_workers_of_another_scheduler_do_the_work(
    tmp_path: Path, cluster: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The cluster's only worker is this process; one of the command's own would be another and leave no trace."""
    from hyvic_compare import measure_codec as measuring

    workers = []
    coded = measuring._coded
    monkeypatch.setattr(measuring, "_coded", lambda *arguments: workers.append(os.getpid()) or coded(*arguments))
    options = ("--codecs", "pca", "--ratios", "4,8", "--scheduler", cluster)
    assert compare_codecs(command(field(tmp_path), tmp_path / "out", *options)) == 0
    assert json.loads(capsys.readouterr().out)["coded"] == 2
    assert workers == [os.getpid()] * 2


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (["none.npz", "--report", "out"], 1, "none.npz: no such file"),
        (["SCENE", "--report", "out", "--codecs", "jpeg"], 1, "no codec is called 'jpeg'"),
        (["SCENE", "--report", "out", "--bundle", "."], 1, "is no bundle"),
        (["SCENE", "--report", "out", "--scheduler", "tcp://127.0.0.1:9"], 1, "tcp://127.0.0.1:9"),
        (["SCENE", "--report", "out", "--facts", "none.json"], 1, "none.json: cannot be read"),
        (["SCENE"], 2, "SCENE and --report are needed"),
        (["--report", "out"], 2, "SCENE and --report are needed"),
        (["SCENE", "--report", "out", "--resample"], 2, "--resample needs a --bundle"),
        (["SCENE", "--report", "out", "--ratios", "16,x"], 2, "'16,x' is not a list of numbers"),
        (["SCENE", "--report", "out", "--ratios", "0"], 2, "'0' must hold positive numbers only"),
        (["SCENE", "--report", "out", "--peak", "-1"], 2, "--peak must be a positive number"),
    ],
)
def test_bad_input_is_one_clear_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    status: int,
    said: str,
) -> None:
    monkeypatch.setattr("hyvic_runtime.ground.stream_archive.CONNECT_TIMEOUT_S", 1)
    scene = field(tmp_path)
    monkeypatch.chdir(tmp_path)
    words = [str(scene) if word == "SCENE" else word for word in options]
    try:
        found = compare_codecs(words)
    except SystemExit as leaving:
        found = int(str(leaving.code))
    error = capsys.readouterr().err
    assert found == status
    assert said in error
    if status == 1:
        assert error.startswith("compare-codecs: ")
        assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_report_folder_with_something_else_is_refused_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("", encoding="utf-8")
    assert compare_codecs(command(field(tmp_path), tmp_path / "out")) == 1
    assert "holds thesis.tex, so it is not replaced; name another" in capsys.readouterr().err
    assert not (tmp_path / "out.cache").exists()


@pytest.mark.parametrize("cache", ["out", "out/cache"])
def test_a_cache_inside_the_report_is_refused_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], cache: str
) -> None:
    words = [*command(field(tmp_path), tmp_path / "out"), "--cache", str(tmp_path / cache)]
    assert compare_codecs(words) == 1
    assert "lies in the report, which is replaced as a whole; name a folder elsewhere" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_list_of_codecs_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert compare_codecs(["--codecs", "list"]) == 0
    assert "ccsds123-lossless-hybrid" in capsys.readouterr().out
