from __future__ import annotations

import subprocess
import sys

COMMAND = """
import sys
from hyvic_runtime.command_line import command_parser, run_command
parser = command_parser("probe", "Prints a text.", "probe")
sys.exit(run_command(parser, [], lambda arguments: ({}, "128 × 128\\n" * 100_000)))
"""


def test_a_reader_that_has_read_enough_is_no_error() -> None:
    probe = subprocess.Popen([sys.executable, "-c", COMMAND], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert probe.stdout is not None
    assert probe.stderr is not None
    probe.stdout.readline()
    probe.stdout.close()
    assert probe.stderr.read() == b""
    assert probe.wait(timeout=60) == 0
    probe.stderr.close()


def test_a_terminal_without_unicode_gets_escapes_and_no_traceback() -> None:
    command = [sys.executable, "-c", COMMAND]
    done = subprocess.run(command, env={"PYTHONIOENCODING": "ascii"}, capture_output=True, check=True, timeout=60)
    assert done.stdout.startswith(b"128 \\xd7 128\n")
    assert done.stderr == b""
