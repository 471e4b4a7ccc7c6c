"""Run the tests of what is in C against a build that stops at the first access outside a buffer.

Run by `make sanitised`. Compiles a copy of the runtime with GCC's AddressSanitizer and UndefinedBehaviorSanitizer
beside nothing of the checkout, and fails on any report of theirs, on a warning of the compiler, and where the copy is
not what the tests would import.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = (
    "entropy/test_ans.py",
    "entropy/test_unit_coder.py",
    "families/adaptive/test_checkerboard.py",
    "families/adaptive/test_contexts.py",
    "families/adaptive/test_native_network.py",
    "families/adaptive/test_quantiser.py",
    "families/adaptive/test_table_choice.py",
    "families/adaptive/test_wavelet.py",
)
SANITISERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-g", "-O1")
WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="hyvic-sanitised-") as scratch:
        folder = Path(scratch)
        package = folder / "hyvic_runtime"
        shutil.copytree(ROOT / "runtime" / "hyvic_runtime", package, ignore=shutil.ignore_patterns("*.so"))
        headers = ("-isystem", sysconfig.get_path("include"), "-isystem", sysconfig.get_path("platinclude"))
        language = ("-std=c11", "-DPy_LIMITED_API=0x030B0000", "-fPIC", "-shared")
        library, sources = package / "kernels" / "_native.abi3.so", sorted((package / "kernels").glob("*.c"))
        subprocess.run(["gcc", *language, *SANITISERS, *WARNINGS, *headers, *sources, "-o", library], check=True)
        runtime = subprocess.run(["gcc", "-print-file-name=libasan.so"], stdout=subprocess.PIPE, text=True, check=True)
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(map(str, (folder, ROOT / "tests" / "support"))),
            "PYTHONMALLOC": "malloc",  # so that the sanitiser sees where Python's own buffers end
            "LD_PRELOAD": runtime.stdout.strip(),
            "ASAN_OPTIONS": "detect_leaks=0",  # the interpreter's
            "UBSAN_OPTIONS": "print_stacktrace=1",
        }

        def python(*words: str | Path) -> str:
            command = [sys.executable, *map(str, words)]
            done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=False)
            if done.returncode:
                sys.exit(f"{done.stdout}the sanitised build failed: exit status {done.returncode}")
            return done.stdout.strip()

        imported = python("-c", "from hyvic_runtime.kernels import _native; print(_native.__file__)")
        assert imported == str(library), f"{imported} would be tested"
        # capture=sys: the sanitisers write their reports to the descriptor, which pytest must leave alone.
        options = ["-q", "--capture=sys", "--noconftest", "--import-mode=importlib", "-p", "no:cacheprovider", "-c"]
        tests = [ROOT / "tests" / "runtime" / name for name in TESTS]
        print(python("-m", "pytest", *options, os.devnull, *tests).splitlines()[-1])
        print("no access outside a buffer, no undefined behaviour")


if __name__ == "__main__":
    main()
