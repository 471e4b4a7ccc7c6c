"""Debian in a folder: made by debootstrap, kept in the user's cache, entered by chroot, through QEMU where it is arm64.

What is kept has a name that says what it is made of, and is copied before anything runs in it.
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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SUITE = "bookworm"
MIRROR = "http://deb.debian.org/debian"
LENT = "/mnt"
"""Where a root has a folder of this machine's."""
HOME = {"HOME": "/root", "LANG": "C.UTF-8", "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}

BINFMT = Path("/proc/sys/fs/binfmt_misc")
BINFMT_RULE = Path("/usr/lib/binfmt.d/qemu-aarch64.conf")
# Mounts in a name space of their own end with the command, however it ends. ONNX Runtime counts processors in /sys.
ENTER = (
    'user=$1 lent=$2; shift 2; mount -t proc proc "$0/proc" && mount --rbind /sys "$0/sys" && '
    '{ [ -z "$lent" ] || mount --bind "$lent" "$0/mnt"; } && exec chroot --userspec="$user" "$0" "$@"'
)


class NoRootError(Exception):
    """The root cannot be made or entered here."""


@dataclass(frozen=True)
class DebianRoot:
    """A root to enter.

    Attributes:
        folder: where its / lies here.
    """

    folder: Path

    def inside(self, path: str) -> Path:
        """Where a path of the root lies here."""
        return self.folder / path.lstrip("/")

    def command(
        self,
        *words: str | Path,
        cwd: str = "/",
        user: str = "root",
        environment: Mapping[str, str] = HOME,
        lent: Path | None = None,
    ) -> list[str]:
        """What runs some words in the root, in its folder `cwd`, with this machine's folder `lent` as LENT."""
        settings = [f"{name}={value}" for name, value in environment.items()]
        inside = ["env", "-i", f"--chdir={cwd}", *settings, *map(str, words)]
        return ["unshare", "--mount", "sh", "-c", ENTER, str(self.folder), user, str(lent or ""), *inside]


def cache_folder() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hyvic-onboard"
    cache.mkdir(parents=True, exist_ok=True)
    return cache


@contextmanager
def scratch_folder(kind: str) -> Iterator[Path]:
    """Beside what is kept, because a temporary file system often allows no device nodes."""
    with tempfile.TemporaryDirectory(prefix=f"{kind}-copy-", dir=cache_folder()) as scratch:
        yield Path(scratch)


@contextmanager
def memory_folder() -> Iterator[Path]:
    """In memory, where copies of many small files cost little, and with device nodes allowed."""
    with tempfile.TemporaryDirectory(prefix="hyvic-roots-") as scratch:
        run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", scratch)
        try:
            yield Path(scratch)
        finally:
            run("umount", scratch)


def copy_tree(source: Path, copy: Path) -> None:
    """Copy a folder's content into another, made if it is not there."""
    subprocess.run(["cp", "-a", "--reflink=auto", f"{source}/.", copy], check=True)


def kept_root(kind: str, recipe: str, make: Callable[[Path], None]) -> Path:
    """The root in the cache, made if it is not there.

    Args:
        kind: begins its name.
        recipe: what it is made of.
        make: makes it in a folder that does not exist.
    """
    cache = cache_folder()
    kept = cache / f"{kind}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    with (cache / f"{kind}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            for abandoned in cache.glob(f"{kind}-partial-*"):  # no one else makes one while we hold the lock
                shutil.rmtree(abandoned)
            with tempfile.TemporaryDirectory(prefix=f"{kind}-partial-", dir=cache) as scratch:
                partial = Path(scratch) / "root"
                make(partial)
                partial.rename(kept)
    return kept


def debootstrap(folder: Path, architecture: str, packages: tuple[str, ...] = ()) -> None:
    """Make a root of Debian's essential packages and some more."""
    print(f"making a Debian {SUITE} {architecture} root, which takes some minutes", file=sys.stderr, flush=True)
    included = [f"--include={','.join(packages)}"] if packages else []
    debian = ("debootstrap", f"--arch={architecture}", "--variant=minbase", *included)
    run("unshare", "--mount", *debian, SUITE, folder, MIRROR)
    for package in (folder / "var" / "cache" / "apt" / "archives").glob("*.deb"):
        package.unlink()


def let_kernel_run_aarch64() -> None:
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
            run("mount", "-t", "binfmt_misc", "binfmt_misc", BINFMT)
        if not (BINFMT / "qemu-aarch64").exists():
            (BINFMT / "register").write_bytes(BINFMT_RULE.read_bytes().strip())
    except (OSError, NoRootError) as error:
        raise NoRootError(
            f"the kernel cannot be told to run aarch64 programs through QEMU ({error}); in a container, pass "
            "--privileged or register qemu-user-static on its host"
        ) from error


def run(*words: str | Path) -> None:
    done = subprocess.run(
        [str(w) for w in words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise NoRootError(f"{Path(words[0]).name}: {done.stdout.strip().splitlines()[-1] if done.stdout else 'failed'}")
