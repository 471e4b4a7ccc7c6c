"""Run tests with the newest and with the oldest libraries that pyproject.toml allows.

    python tests/platform/libraries.py                                     # all legs
    python tests/platform/libraries.py --python 3.11 --only oldest tests/runtime

A leg is an environment of its own, resolved by uv: `highest`, and `lowest-direct`, where each library that the project
names is as old as its lower bound. An interpreter that is missing is named and fails the run; nothing is downloaded in
its place.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
PYTHONS = ("3.11", "3.13")
RESOLUTIONS = {"newest": "highest", "oldest": "lowest-direct"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run all legs and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--python", action="append", choices=PYTHONS, help="this Python alone; may be given again")
    parser.add_argument("--only", choices=tuple(RESOLUTIONS), help="these libraries alone")
    parser.add_argument("--extra", default="dev", help="extra of pyproject.toml to install (default: dev)")
    parser.add_argument("tests", nargs="*", help="tests to run (default: all but the slow ones)")
    options = parser.parse_args(argv)
    uv = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    if uv is None:
        parser.error("uv is missing: python -m pip install uv")

    results = []
    for version in options.python or PYTHONS:
        interpreter = _interpreter(uv, version)
        for name, resolution in RESOLUTIONS.items():
            if options.only in (None, name):
                leg = f"Python {version}, {name}"
                done = (
                    _leg(uv, interpreter, resolution, options.extra, options.tests)
                    if interpreter
                    else f"no Python {version} on this machine; install it (Debian: python{version}, or pyenv)"
                )
                results.append((leg, done))
                print(f"{leg:<22} {done or 'passed'}", flush=True)
    return int(any(done for _, done in results))


def _interpreter(uv: str, version: str) -> str | None:
    """Path of an installed interpreter that starts."""
    found = subprocess.run(
        [uv, "python", "find", "--no-python-downloads", "--no-project", version],
        capture_output=True,
        text=True,
        check=False,
        cwd=tempfile.gettempdir(),
    )
    return found.stdout.strip() or None if found.returncode == 0 else None


def _leg(uv: str, interpreter: str, resolution: str, extra: str, tests: Sequence[str]) -> str:
    """Install and test; what failed, empty where nothing did."""
    with tempfile.TemporaryDirectory(prefix="libraries-") as folder:
        clone, environment = Path(folder) / "clone", Path(folder) / "env"
        python = str(environment / "bin" / "python")
        # Beside the checkout's own build: the extensions are compiled for each Python.
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        variables = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
        variables.setdefault("OMP_NUM_THREADS", "1")
        steps = {
            "environment": [uv, "venv", "-q", "--no-python-downloads", "-p", interpreter, str(environment)],
            "installation": [
                *(uv, "pip", "install", "-q", "-p", python, "--resolution", resolution, "-e", f".[{extra}]")
            ],
            "versions": [uv, "pip", "list", "-q", "-p", python, "--format", "freeze"],
            "tests": [
                *(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow"),
                *("-n", "2", "--dist", "loadscope", *tests),
            ],
        }
        for step, command in steps.items():
            done = subprocess.run(command, cwd=clone, env=variables, capture_output=True, text=True, check=False)
            if step == "versions":
                print(*sorted(done.stdout.split()), flush=True)
            if done.returncode:
                failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
                said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
                if failed:
                    print(*(line for line in said if line.startswith("E  ")), sep="\n", flush=True)
                return f"FAILED in {step}: " + "; ".join(failed or said[-3:])
    return ""


if __name__ == "__main__":
    raise SystemExit(main())
