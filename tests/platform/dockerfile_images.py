"""Makes the Dockerfile's images without Docker: `flight` in a Debian arm64 root under QEMU, `ground` in another.

Debian stands in for the base images: for `ground` the same Debian, for `flight` one without JetPack's TensorRT, whose
stage `jetpack` is not run. Steps before which nothing of the checkout was copied are run once and kept, as Docker keeps
them.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import string
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from debian_root import (
    HOME,
    LENT,
    SUITE,
    DebianRoot,
    copy_tree,
    debootstrap,
    kept_root,
)
from dockerfile_parse import DockerfileParser

ROOT = Path(__file__).parents[2]
STAND_INS = {"jetpack": "arm64", "debian:bookworm-slim": "amd64"}
"""Stages and images that are not run, and the architecture of the Debian in their place."""
ENGINES = {"arm64": "onnxruntime==1.23.2"}
"""What pip may install on an architecture, beyond what the Dockerfile says. Later ones crash under QEMU."""
PROXIES = ("http_proxy", "https_proxy", "no_proxy")
PIP_OPTIONS = ("index-url", "proxy", "trusted-host", "cert", "timeout", "default-timeout")


@dataclass(frozen=True)
class Stage:
    """What follows a FROM.

    Attributes:
        base: another stage, or an image.
        steps: instructions and what they are told, in order.
    """

    base: str
    steps: list[tuple[str, str]]


@dataclass(frozen=True)
class Image:
    """What the steps of a stage have come to.

    Attributes:
        root: its files.
        architecture: in Debian's words.
        recipe: what these were made of; such a root is kept, and never altered. None: of the working tree too.
        environment: of its commands.
        arguments: what ARGs have told the steps.
        user: of its commands.
        folder: where they run.
        entrypoint: what a container runs.
        words: given to that where there are no others.
    """

    root: DebianRoot
    architecture: str
    recipe: str | None
    environment: Mapping[str, str] = field(default_factory=lambda: HOME)
    arguments: Mapping[str, str] = field(default_factory=dict)
    user: str = "root"
    folder: str = "/"
    entrypoint: tuple[str, ...] = ()
    words: tuple[str, ...] = ()

    def command(self, *words: str, settings: Mapping[str, str] | None = None, lent: Path | None = None) -> list[str]:
        """What runs some words as a container would; see DebianRoot."""
        environment = {**self.environment, **(settings or {})}
        return self.root.command(*words, cwd=self.folder, user=self.user, environment=environment, lent=lent)

    def run(self, *words: str, settings: Mapping[str, str] | None = None, lent: Path | None = None) -> str:
        """What a command says."""
        command = self.command(*words, settings=settings, lent=lent)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{self.architecture}: {shlex.join(words)}\n{(done.stdout + done.stderr)[-4000:]}")
        return done.stdout.strip()


class ImageBuilder:
    """Runs stages."""

    def __init__(self, scratch: Path) -> None:
        """Read the Dockerfile; `scratch` is for roots that are not kept."""
        self._scratch = scratch
        self._arguments, self._stages = read_dockerfile(ROOT / "Dockerfile")
        self._images: dict[str, Image] = {}
        self._lent = scratch / "lent"
        self._lent.mkdir()
        self._settings = network_settings(self._lent)
        for architecture in STAND_INS.values():
            (self._lent / f"{architecture}.txt").write_text(ENGINES.get(architecture, ""))

    def image(self, name: str) -> Image:
        """A stage's image, made once; or the Debian that stands in for it."""
        if name not in self._images:
            self._images[name] = self._stand_in(name) if name in STAND_INS else self._built(name)
        return self._images[name]

    def _stand_in(self, name: str) -> Image:
        architecture = STAND_INS[name]
        recipe = repr((SUITE, architecture))

        def make(folder: Path) -> None:
            debootstrap(folder, architecture)
            (folder / "etc" / "dpkg" / "dpkg.cfg.d" / "docker-apt-speedup").write_text("force-unsafe-io\n")  # as theirs

        kept = kept_root(f"debian-{architecture}", recipe, make)
        return Image(DebianRoot(kept), architecture, recipe)

    def _built(self, name: str) -> Image:
        if name not in self._stages:
            raise SystemExit(f"Dockerfile: nothing stands in for {name}")
        stage = self._stages[name]
        image = self.image(string.Template(stage.base).substitute(self._arguments))
        for instruction, value in stage.steps:
            begun = time.perf_counter()
            image = self._after(image, instruction, value, name)
            summary = " ".join(value.split())[:80]
            print(f"{name}: {time.perf_counter() - begun:5.1f} s  {instruction} {summary}", flush=True)
        return image

    def _after(self, image: Image, instruction: str, value: str, stage: str) -> Image:
        if instruction == "RUN":  # whose shell knows the variables itself
            return self._after_run(image, value)
        value = string.Template(value).substitute({**image.arguments, **image.environment})
        if instruction == "COPY":
            return self._after_copy(image, shlex.split(value), stage)
        if instruction == "WORKDIR":
            if not image.root.inside(value).is_dir():
                image = self._altered(image, stage)
                image.root.inside(value).mkdir(parents=True)
            return replace(image, folder=value)
        return replace(image, **self._told(image, instruction, value))

    def _told(self, image: Image, instruction: str, value: str) -> dict[str, Any]:
        """What an instruction without files changes in an image."""
        match instruction:
            case "ENV":
                return {"environment": {**image.environment, **dict(word.split("=", 1) for word in shlex.split(value))}}
            case "ARG":
                name, _, default = value.partition("=")
                return {"arguments": {**image.arguments, name: self._arguments.get(name, default)}}
            case "USER":
                return {"user": value}
            case "ENTRYPOINT":
                return {"entrypoint": tuple(json.loads(value))}
            case "CMD":
                return {"words": tuple(json.loads(value))}
        raise SystemExit(f"Dockerfile: {instruction} is not known to dockerfile_images.py")

    def _after_run(self, image: Image, script: str) -> Image:
        if image.recipe is None:
            self._execute(image, script)
            return image
        recipe = repr((image, script))

        def make(folder: Path) -> None:
            copy_tree(image.root.folder, folder)
            self._execute(replace(image, root=DebianRoot(folder)), script)

        return replace(image, root=DebianRoot(kept_root(f"image-{image.architecture}", recipe, make)), recipe=recipe)

    def _execute(self, image: Image, script: str) -> None:
        shutil.copy("/etc/resolv.conf", image.root.inside("/etc/resolv.conf"))  # as Docker does
        # QEMU takes longer to compile all of Python's modules than those that are imported below, each time.
        pip = {"PIP_CONSTRAINT": f"{LENT}/{image.architecture}.txt", "PIP_COMPILE": "0"}
        settings = {**image.arguments, **self._settings, **pip}
        image.run("/bin/sh", "-c", script, settings=settings, lent=self._lent)

    def _after_copy(self, image: Image, words: list[str], stage: str) -> Image:
        """COPY FILE... FOLDER/, COPY FOLDER FOLDER and either of them with --from=STAGE."""
        image = self._altered(image, stage)
        *sources, target = [word for word in words if not word.startswith("--from=")]
        place = image.root.inside(str(PurePosixPath(image.folder) / target))
        origin = next((self.image(word.removeprefix("--from=")).root for word in words if word.startswith("--")), None)
        for source in sources:
            if origin is not None:
                copy_tree(origin.inside(source), place)
            else:
                copy_context(source, place)
        return image

    def _altered(self, image: Image, stage: str) -> Image:
        """The image on a root that may be altered."""
        if image.recipe is None:
            return image
        copy_tree(image.root.folder, self._scratch / stage)
        return replace(image, root=DebianRoot(self._scratch / stage), recipe=None)


def read_dockerfile(path: Path) -> tuple[dict[str, str], dict[str, Stage]]:
    """Its ARGs before the first stage, and the stages by name."""
    arguments: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    with path.open("rb") as file:
        structure = DockerfileParser(fileobj=file).structure
    for step in structure:
        instruction, value = step["instruction"], step["value"]
        if instruction == "FROM":
            base, _, name = value.partition(" AS ")
            stages[name] = Stage(base, [])
        elif instruction == "ARG" and not stages:
            arguments.update([value.split("=", 1)])
        elif instruction != "COMMENT":
            stages[name].steps.append((instruction, value))
    return arguments, stages


def copy_context(source: str, place: Path) -> None:
    """Copy a file of the checkout into a folder, or what git knows of a folder to one."""
    if f"!{source}" not in (ROOT / ".dockerignore").read_text().splitlines():
        raise SystemExit(f"Dockerfile: COPY {source}: .dockerignore hides it")
    listed = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", source)
    files = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")[:-1]
    if not files:
        raise SystemExit(f"Dockerfile: COPY {source}: there is no such file")
    for file in files:
        copy = place / Path(file).relative_to(source if file != source else Path(source).parent)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, copy)


def network_settings(lent: Path) -> dict[str, str]:
    """What this machine's apt and pip know of the network, for those of a root that has the folder as /mnt."""
    settings = {name: os.environ[name] for name in PROXIES if name in os.environ}
    apt = subprocess.run(["apt-config", "dump", "Acquire"], capture_output=True, text=True, check=True)
    (lent / "apt.conf").write_text(apt.stdout)
    settings["APT_CONFIG"] = f"{LENT}/apt.conf"
    pip = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    told = {name: value.strip("'") for name, value in (line.split("=", 1) for line in pip.stdout.splitlines())}
    for scope in ("global", "user", "site", ":env:"):  # each overrides those before it
        for option in PIP_OPTIONS:
            if f"{scope}.{option}" in told:
                settings[f"PIP_{option.upper().replace('-', '_')}"] = told[f"{scope}.{option}"]
    if "PIP_CERT" in settings:
        shutil.copy(settings["PIP_CERT"], lent / "certificates.pem")
        settings["PIP_CERT"] = f"{LENT}/certificates.pem"
    return settings
