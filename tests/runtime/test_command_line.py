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
    assert probe.wait(timeout=600) == 0
    probe.stderr.close()


def test_a_terminal_without_unicode_gets_escapes_and_no_traceback() -> None:
    command = [sys.executable, "-c", COMMAND]
    done = subprocess.run(command, env={"PYTHONIOENCODING": "ascii"}, capture_output=True, check=True, timeout=600)
    assert done.stdout.startswith(b"128 \\xd7 128\n")
    assert done.stderr == b""


WARNING = """
import logging, sys
from hyvic_runtime.command_line import command_parser, run_command
def command(arguments):
    logging.getLogger("hyvic_runtime.kernels").warning("takes %d times as long", 3)
    logging.getLogger("library").warning("not ours")
    return {}, "done"
sys.exit(run_command(command_parser("probe", "Warns.", "probe"), [], command))
"""


def test_a_warning_of_our_own_is_one_line_on_stderr_and_a_librarys_is_none() -> None:
    done = subprocess.run([sys.executable, "-c", WARNING], capture_output=True, text=True, check=True, timeout=600)
    assert (done.stdout, done.stderr) == ("done\n", "probe: takes 3 times as long\n")
