"""A Debian arm64 root that this machine runs through QEMU's user emulation: what stands in for a Jetson.

    python tests/aarch64_root.py COMMAND ARGUMENT...

runs a command in a copy of it that is gone afterwards. The root itself is kept in the user's cache, under a name that
says what it is made of.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

SUITE = "bookworm"
PYTHON = "3.11"
"""The suite's."""
MIRROR = "http://deb.debian.org/debian"
DEBIAN_PACKAGES = ("python3", "libpython3-dev", "gcc", "libc6-dev")
BUILD_PACKAGES = ("pip", "setuptools")
ENGINE = "onnxruntime==1.23.2"
"""Later ones crash under QEMU."""
WHEEL_PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64")
ARM = {"platform_machine": "aarch64", "sys_platform": "linux"}

BINFMT = Path("/proc/sys/fs/binfmt_misc")
BINFMT_RULE = Path("/usr/lib/binfmt.d/qemu-aarch64.conf")
# Mounts in a name space of their own end with the command, however it ends. ONNX Runtime counts processors in /sys.
ENTER = 'mount -t proc proc "$0/proc" && mount --rbind /sys "$0/sys" && exec chroot "$0" "$@"'


class NoRootError(Exception):
    """The root cannot be made or entered here."""


@dataclass(frozen=True)
class Aarch64Root:
    """A root to enter.

    Attributes:
        folder: where its / lies here.
    """

    folder: Path

    def command(self, *words: str | Path, cwd: str = "/") -> list[str]:
        """What runs some words in the root, in its folder `cwd`."""
        inside = [
            "env",
            "-i",
            f"--chdir={cwd}",
            "HOME=/root",
            "LANG=C.UTF-8",
            "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        ]
        return ["unshare", "--mount", "sh", "-c", ENTER, str(self.folder), *inside, *map(str, words)]


@contextmanager
def throwaway_root() -> Iterator[Aarch64Root]:
    """A copy of the root to do anything in, gone afterwards.

    Raises:
        NoRootError: there can be none here.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hyvic-onboard"
    _let_kernel_run_aarch64()
    kept = _kept_root(cache)
    # Beside it, because a temporary file system often allows no device nodes.
    with tempfile.TemporaryDirectory(prefix="aarch64-copy-", dir=cache) as scratch:
        folder = Path(scratch) / "root"
        subprocess.run(["cp", "-a", "--reflink=auto", kept, folder], check=True)
        yield Aarch64Root(folder)


def _let_kernel_run_aarch64() -> None:
    """Register QEMU with the kernel, as Debian's package does where an init system runs."""
    if os.geteuid() != 0:
        raise NoRootError("an aarch64 root needs chroot and mounts: run this as root")
    if platform.machine() == "aarch64":
        raise NoRootError("this machine is aarch64 itself; run this on the other architecture")
    for tool in ("debootstrap", "qemu-aarch64-static"):
        if shutil.which(tool) is None:
            raise NoRootError(f"{tool} is missing: apt-get install debootstrap qemu-user-static")
    try:
        if not (BINFMT / "register").exists():
            _run("mount", "-t", "binfmt_misc", "binfmt_misc", BINFMT)
        if not (BINFMT / "qemu-aarch64").exists():
            (BINFMT / "register").write_bytes(BINFMT_RULE.read_bytes().strip())
    except (OSError, NoRootError) as error:
        raise NoRootError(
            f"the kernel cannot be told to run aarch64 programs through QEMU ({error}); in a container, pass "
            "--privileged or register qemu-user-static on its host"
        ) from error


def _kept_root(cache: Path) -> Path:
    """The root in the cache, made if it is not there."""
    declared = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]["dependencies"]
    needed = [Requirement(line) for line in declared]
    # pip would judge a marker by the machine it runs on.
    here = [f"{r.name}{r.specifier}" for r in needed if r.marker is None or r.marker.evaluate(ARM)]
    requirements = (*BUILD_PACKAGES, ENGINE, *here)
    recipe = repr((SUITE, DEBIAN_PACKAGES, requirements, WHEEL_PLATFORMS)).encode()
    kept = cache / f"aarch64-{hashlib.sha256(recipe).hexdigest()[:12]}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "aarch64.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            for abandoned in cache.glob("aarch64-partial-*"):  # no one else makes one while we hold the lock
                shutil.rmtree(abandoned)
            with tempfile.TemporaryDirectory(prefix="aarch64-partial-", dir=cache) as scratch:
                partial = Path(scratch) / "root"
                _make(partial, requirements)
                partial.rename(kept)
    return kept


def _make(folder: Path, requirements: tuple[str, ...]) -> None:
    print(f"making a Debian {SUITE} arm64 root, which takes some minutes the first time", file=sys.stderr, flush=True)
    debian = ("debootstrap", "--arch=arm64", "--variant=minbase", f"--include={','.join(DEBIAN_PACKAGES)}")
    _run("unshare", "--mount", *debian, SUITE, folder, MIRROR)
    for package in (folder / "var" / "cache" / "apt" / "archives").glob("*.deb"):
        package.unlink()
    # This machine's pip fetches and unpacks in seconds what takes a minute under QEMU.
    target = folder / "usr" / "local" / "lib" / f"python{PYTHON}" / "dist-packages"
    platforms = [f"--platform={name}" for name in WHEEL_PLATFORMS]
    options = (f"--target={target}", f"--python-version={PYTHON}", "--only-binary=:all:", *platforms)
    _run(sys.executable, "-m", "pip", "install", "-q", *options, *requirements)


def _run(*words: str | Path) -> None:
    done = subprocess.run(
        [str(w) for w in words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise NoRootError(f"{Path(words[0]).name}: {done.stdout.strip().splitlines()[-1] if done.stdout else 'failed'}")


def main() -> int:
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        with throwaway_root() as root:
            return subprocess.run(root.command(*sys.argv[1:]), check=False).returncode
    except NoRootError as error:
        print(f"aarch64_root: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
