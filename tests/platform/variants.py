"""Run the README's two commands, or some tests, as other processors and other libraries would.

    python tests/platform/variants.py                                 # make demo and make test, in a fresh clone
    python tests/platform/variants.py --quick tests/export tests/train/families/latent
    python tests/platform/variants.py --quick --only "onnxruntime 1.23.2" tests/runtime/families/latent/test_codec.py

A variant is this machine with some environment variables, with another ONNX Runtime, or with one that sees fewer
instructions. Every library but ONNX Runtime has a variable that forbids instructions; see `without_instructions`.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
OLDEST_ONNXRUNTIME = "1.23.2"
KERNELS = {"Sandybridge": "avx", "Haswell": "avx2", "Zen": "avx2", "SkylakeX": "avx512f"}
"""OpenBLAS kernels and the instructions that they need."""
TORCH_VARIABLES = {
    "default": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"},
    "avx2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
}
READ_ENABLED, SSE_AND_AVX, SSE = b"\x0f\x01\xd0", b"\xb0\x07\x90", b"\xb0\x03\x90"
"""Machine code of `xgetbv`, and of `mov al, 7; nop` and `mov al, 3; nop`, which are as long."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A way to run.

    Attributes:
        name: what the table calls it.
        variables: environment variables that it sets.
        library: makes a folder that stands before all others on the import path; None: there is none.
    """

    name: str
    variables: dict[str, str] = field(default_factory=dict)
    library: Callable[[Path], None] | None = None


def variants(instructions: frozenset[str]) -> Iterator[Variant]:
    """All that this processor can run.

    Args:
        instructions: flags of /proc/cpuinfo.
    """
    yield Variant("as it is")
    yield Variant("one thread", {"OMP_NUM_THREADS": "1"})
    for kernel, needed in KERNELS.items():
        if needed in instructions:
            yield Variant(f"OpenBLAS {kernel}", {"OPENBLAS_CORETYPE": kernel})
    for capability, variables in TORCH_VARIABLES.items():
        if capability == "default" or capability in instructions:
            yield Variant(f"torch {capability}", variables)
    yield Variant(f"onnxruntime {OLDEST_ONNXRUNTIME}", library=installed(f"onnxruntime=={OLDEST_ONNXRUNTIME}"))
    yield Variant("onnxruntime newest", library=installed("onnxruntime"))
    if "avx512f" in instructions:
        yield Variant("onnxruntime without AVX-512", library=without_instructions(SSE_AND_AVX))
    if "avx" in instructions:
        yield Variant("onnxruntime without AVX", library=without_instructions(SSE))


def installed(requirement: str) -> Callable[[Path], None]:
    """A library's folder from the package index, without what it depends on."""

    def install(folder: Path) -> None:
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder), requirement]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{requirement} cannot be installed: {done.stderr.strip()}")

    return install


def without_instructions(enabled: bytes) -> Callable[[Path], None]:
    """A copy of the installed ONNX Runtime that believes the system to enable fewer registers.

    It asks the processor (cpuid), which nothing can forbid, and whether the system saves the registers (xgetbv). The
    answer to the second is replaced in the library's code; no other x86 instruction has these three octets.

    Args:
        enabled: what stands for `xgetbv`.
    """

    def copy(folder: Path) -> None:
        import onnxruntime

        package = Path(onnxruntime.__file__).parent
        shutil.copytree(package, folder / package.name)
        (library,) = (folder / package.name).glob("capi/onnxruntime_pybind11_state*.so")
        code = library.read_bytes()
        if READ_ENABLED not in code:
            raise SystemExit(f"{library.name} of ONNX Runtime {onnxruntime.__version__} has no xgetbv; is this x86?")
        library.write_bytes(code.replace(READ_ENABLED, enabled))

    return copy


def main(argv: Sequence[str] | None = None) -> int:
    """Run all variants and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--quick", nargs="+", metavar="TEST", help="run these tests here instead of a fresh clone")
    parser.add_argument("--only", action="append", metavar="NAME", help="run this variant; may be given again")
    parser.add_argument("--list", action="store_true", help="name the variants of this processor and stop")
    options = parser.parse_args(argv)
    every = list(variants(_instructions()))
    if options.list:
        print(*(variant.name for variant in every), sep="\n")
        return 0
    unknown = set(options.only or ()) - {variant.name for variant in every}
    if unknown:
        parser.error(f"no variant {', '.join(sorted(unknown))} on this processor; --list names them")
    for test in options.quick or ():
        if not (ROOT / test.partition("::")[0]).exists():
            parser.error(f"there is no {test}; name tests from the repository's root")

    failed = False
    with tempfile.TemporaryDirectory(prefix="variants-") as scratch:
        if not options.quick:
            # One clone and its environment, which takes as long to install as the tests to run.
            clone = Path(scratch) / "clone"
            subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
            subprocess.run(["make", ".venv/dev.stamp"], cwd=clone, stdout=subprocess.DEVNULL, check=True)
        print(f"{'variant':<30} {'result':<8} {'seconds':>7}  tests", flush=True)
        for variant in every:
            if options.only and variant.name not in options.only:
                continue
            begun = time.perf_counter()
            with tempfile.TemporaryDirectory(dir=scratch) as library:
                passed, summary = _run(variant, Path(library), ROOT if options.quick else clone, options.quick)
            failed |= not passed
            seconds = time.perf_counter() - begun
            print(f"{variant.name:<30} {'passed' if passed else 'FAILED':<8} {seconds:7.0f}  {summary}", flush=True)
    return int(failed)


def _instructions() -> frozenset[str]:
    flags = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return frozenset(flags[1].split() if flags else ())


def _run(variant: Variant, library: Path, where: Path, quick: Sequence[str] | None) -> tuple[bool, str]:
    """Whether all passed, and pytest's last line with the names of what failed.

    Args:
        variant: how to run.
        library: empty folder for a library of the variant's own.
        where: checkout to run in.
        quick: tests to run instead of `make demo` and `make test`.
    """
    environment = os.environ | variant.variables
    path = [environment["PYTHONPATH"]] if environment.get("PYTHONPATH") else []
    if variant.library:
        variant.library(library)
        path.insert(0, str(library))
    environment["PYTHONPATH"] = os.pathsep.join(path)
    commands = [["make", "demo"], ["make", "test"]]
    if quick:
        commands = [[sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *quick, "-m", "not slow"]]
    said = ""
    for command in commands:
        done = subprocess.run(command, cwd=where, env=environment, capture_output=True, text=True, check=False)
        said = done.stdout
        if done.returncode:
            names = re.findall(r"^(?:FAILED|ERROR) (\S+)", said, re.MULTILINE)
            ends = (done.stdout + done.stderr).strip().splitlines()[-1:]
            return False, "; ".join([" ".join(command[:2]), *names, *ends])
    return True, (said.strip().splitlines() or [""])[-1]


if __name__ == "__main__":
    raise SystemExit(main())
