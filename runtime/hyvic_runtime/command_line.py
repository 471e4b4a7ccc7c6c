"""Common parts of all commands: help with examples, `--json`, exit statuses, and errors in one line."""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hyvic_runtime.errors import HyvicError, one_line

Result = tuple[dict[str, Any], str]
"""Object that `--json` prints, and the text for people."""


class PartlyDoneError(HyvicError):
    """Part of the work of a command failed and the rest is done; `--json` still prints the result."""

    def __init__(self, message: str, result: dict[str, Any]) -> None:
        super().__init__(message)
        self.result = result


def command_parser(name: str, description: str, *examples: str) -> argparse.ArgumentParser:
    """Return a parser with `--json`, and with examples after its help."""
    parser = argparse.ArgumentParser(
        prog=name,
        description=description,
        epilog="\n  ".join(("example:", *examples)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    return parser


def run_command(
    parser: argparse.ArgumentParser,
    argv: Sequence[str] | None,
    command: Callable[[argparse.Namespace], Result],
    *,
    extra: str = "cpu",
) -> int:
    """Run a command.

    Args:
        parser: parser of the options.
        argv: arguments; None for the arguments of the process.
        command: function that does the work. The text of its KeyboardInterrupt says what the interruption left.
        extra: extra of the distribution that brings the libraries of the command.

    Returns:
        0 done, 1 failed with one line on stderr, 130 interrupted. After wrong usage argparse exits with 2.
    """
    arguments = parser.parse_args(argv)
    logging.getLogger().addHandler(logging.NullHandler())  # keeps warnings of libraries off stderr
    text: str | None
    status = 0
    try:
        with _own_warnings(parser.prog):
            result, text = command(arguments)
    except PartlyDoneError as error:
        print(f"{parser.prog}: {one_line(error)}", file=sys.stderr)
        result, text, status = error.result, None, 1
    except KeyboardInterrupt as error:
        print(f"{parser.prog}: interrupted; {error or 'nothing was written'}", file=sys.stderr)
        return 130
    except ImportError as error:
        print(f"{parser.prog}: {_import_problem(error, extra)}", file=sys.stderr)
        return 1
    except MemoryError as error:
        print(f"{parser.prog}: not enough memory ({one_line(error) or 'no size given'})", file=sys.stderr)
        return 1
    except OSError as error:
        # Our own errors name the file in strerror; str() adds the file to errors of the system.
        message = error.strerror if error.strerror and error.filename is None else str(error)
        print(f"{parser.prog}: {message}", file=sys.stderr)
        return 1
    except (HyvicError, ArithmeticError, ValueError, RuntimeError) as error:  # torch's allocator raises RuntimeError
        print(f"{parser.prog}: {one_line(error)}", file=sys.stderr)
        return 1
    # Without UTF-8, print escapes for characters such as × instead of a traceback after the work is done.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        if arguments.json or text is not None:
            print(json.dumps(result) if arguments.json else text, flush=True)
    except BrokenPipeError:  # the reader has closed the pipe, as `... | head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


def _import_problem(error: ImportError, extra: str) -> str:
    """Return what is missing, and what to do."""
    if isinstance(error, ModuleNotFoundError):
        return f"{error.name} is missing: pip install 'hyvic-onboard[{extra}]'"
    advice = f"pip install --force-reinstall 'hyvic-onboard[{extra}]'"
    return f"{one_line(error)}; installed packages do not fit together: {advice}"


@contextmanager
def _own_warnings(name: str) -> Iterator[None]:
    """Print the runtime's own warnings on stderr, one line each, after the name of the command."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(f"{name}: %(message)s"))
    logger = logging.getLogger("hyvic_runtime")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
