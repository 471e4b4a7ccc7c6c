"""A Debian arm64 root that this machine runs through QEMU's user emulation: what stands in for a Jetson.

    python tests/platform/aarch64_root.py COMMAND ARGUMENT...

runs a command in a copy of it that is gone afterwards. The root itself is kept in the user's cache, under a name that
says what it is made of.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from debian_root import (
    SUITE,
    DebianRoot,
    NoRootError,
    copy_tree,
    debootstrap,
    kept_root,
    let_kernel_run_aarch64,
    run,
    scratch_folder,
)
from packaging.requirements import Requirement

PYTHON = "3.11"
"""The suite's."""
DEBIAN_PACKAGES = ("python3", "libpython3-dev", "gcc", "libc6-dev")
BUILD_PACKAGES = ("pip", "setuptools")
ENGINE = "onnxruntime==1.23.2"
"""Later ones crash under QEMU."""
WHEEL_PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64")
ARM = {"platform_machine": "aarch64", "sys_platform": "linux"}


@contextmanager
def throwaway_root() -> Iterator[DebianRoot]:
    """A copy of the root to do anything in, gone afterwards.

    Raises:
        NoRootError: there can be none here.
    """
    let_kernel_run_aarch64()
    declared = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["dependencies"]
    needed = [Requirement(line) for line in declared]
    # pip would judge a marker by the machine it runs on.
    here = [f"{r.name}{r.specifier}" for r in needed if r.marker is None or r.marker.evaluate(ARM)]
    requirements = (*BUILD_PACKAGES, ENGINE, *here)

    def make(folder: Path) -> None:
        debootstrap(folder, "arm64", DEBIAN_PACKAGES)
        # This machine's pip fetches and unpacks in seconds what takes a minute under QEMU.
        target = folder / "usr" / "local" / "lib" / f"python{PYTHON}" / "dist-packages"
        platforms = [f"--platform={name}" for name in WHEEL_PLATFORMS]
        options = (f"--target={target}", f"--python-version={PYTHON}", "--only-binary=:all:", *platforms)
        run(sys.executable, "-m", "pip", "install", "-q", *options, *requirements)

    kept = kept_root("aarch64", repr((SUITE, DEBIAN_PACKAGES, requirements, WHEEL_PLATFORMS)), make)
    with scratch_folder("aarch64") as scratch:
        copy_tree(kept, scratch / "root")
        yield DebianRoot(scratch / "root")


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
