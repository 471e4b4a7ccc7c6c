"""The documents' examples run, their links lead somewhere, and the commands and paths that they name exist."""

from __future__ import annotations

import doctest
import importlib.util
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
BUNDLE = ROOT / "tests" / "golden" / "stream" / "bundle"  # 6 bands, tiles of 16, two rates
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!`)\[[^\]]*\]\(([^)\s]+)\)")
FOLDERS = r"(?:\.ci|ccsds_compare|checkpoints|docs|examples|export|runtime|tests|train)"
NAMED_PATH = re.compile(rf"`({FOLDERS}/[\w./-]+)`")
MODULE = re.compile(r"python -m ((?:hyvic_|studies|ccsds123)[\w.]*)")


def _documents() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    return [ROOT / name for name in listed.splitlines()] or sorted(ROOT.glob("*.md")) + sorted(
        ROOT.glob("docs/**/*.md")
    )


DOCUMENTS = _documents()


def _cube(lines: int, samples: int) -> np.ndarray:
    line, sample, band = np.ogrid[:lines, :samples, :6]
    return (2000 + 800 * np.sin(line / 9 + band) + 500 * np.cos(sample / 7)).astype(np.uint16)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which a reader would try the examples."""
    for name in ("hyvic.bundle", "adaptive.bundle"):
        shutil.copytree(BUNDLE, tmp_path / name)
    key = tmp_path / "flight.key"
    key.touch(mode=0o600)
    key.write_bytes(bytes(range(32)))
    np.save(tmp_path / "scene.npy", _cube(64, 48))
    np.savez(tmp_path / "scene.npz", cube=_cube(64, 48))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.usefixtures("folder")
def test_the_examples_of_the_interface_run() -> None:
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    without_fences = re.sub(r"^```.*$", "", text, flags=re.MULTILINE)
    examples = doctest.DocTestParser().get_doctest(without_fences, {}, "docs/api.md", "docs/api.md", 0)
    assert len(examples.examples) > 50
    told: list[str] = []
    result = doctest.DocTestRunner().run(examples, out=told.append)
    assert result.failed == 0, "".join(told)


def test_the_interfaces_page_names_every_public_name() -> None:
    import hyvic_runtime

    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert [name for name in hyvic_runtime.__all__ if not re.search(rf"\b{name}\b", text)] == []


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 100


@pytest.mark.usefixtures("folder")
def test_the_library_examples_of_the_readme_run(capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = [code for language, code in FENCE.findall(text) if language == "python"]
    assert len(blocks) == 2
    sent: list[bytes] = []
    names: dict[str, object] = {"send": sent.extend}
    for code in blocks:
        # The golden bundle has tiles of 16 pixels, whose headers alone take more than a sixty-fourth.
        exec(code.replace("target_ratio=64", "target_ratio=3"), names)
    assert capsys.readouterr().out == "(64, 48, 6) 3\n"
    assert sum(map(len, sent)) <= 2000 * 64
    assert sent


@pytest.mark.slow  # Numba compiles the coder
def test_the_example_of_the_standards_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "docs" / "ccsds123.md").read_text(encoding="utf-8")
    (code,) = (code for language, code in FENCE.findall(text) if language == "python")
    exec(code, {})
    assert int(capsys.readouterr().out) >= 0


def test_a_scene_goes_round_trip(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(folder / "scene.npy"), "--bundle", str(folder / "hyvic.bundle"), "--target-ratio", "3"]
    assert _example("roundtrip").main(arguments) == 0
    size, quality = capsys.readouterr().out.splitlines()
    assert float(size.split()[-1]) >= 3
    assert quality.endswith("100% of the pixels are as the encoder meant them")


def test_lines_become_packets_within_the_budget(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from hyvic_runtime import decode

    out = folder / "scene.packets"
    arguments = [str(folder / "scene.npy"), "--bundle", str(folder / "hyvic.bundle"), "--out", str(out)]
    assert _example("push_broom").main([*arguments, "--bytes-per-line", "150"]) == 0
    assert out.stat().st_size <= 150 * 64
    assert capsys.readouterr().out.startswith(f"64 lines: {out.stat().st_size:,} of 9,600 bytes used")
    assert decode(out.read_bytes(), folder / "hyvic.bundle").scene.cube.shape == (64, 48, 6)


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "examples").glob("*.py")))
def test_every_example_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        _example(name).main(["--help"])
    assert done.value.code == 0
    assert "--bundle" in capsys.readouterr().out


def _anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", t).lower()).replace(" ", "-") for t in titles
    }


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_document_names_exists(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    missing = []
    for link in LINK.findall(FENCE.sub("", text)):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        path = document if not target else (document.parent / target).resolve()
        if not path.exists() or (anchor and path.suffix == ".md" and anchor not in _anchors(path)):
            missing.append(link)
    if document.name != "CHANGELOG.md":  # it names what is gone
        missing += [path for path in NAMED_PATH.findall(text) if not (ROOT / path).exists()]
        missing += [module for module in MODULE.findall(text) if importlib.util.find_spec(module) is None]
    assert missing == []
