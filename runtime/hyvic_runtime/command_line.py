"""What all commands have in common: help with an example, `--json`, exit statuses, errors in one line."""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from hyvic_runtime.errors import HyvicError

Result = tuple[dict[str, Any], str]
"""What `--json` prints, and the same for people."""


class PartlyDoneError(HyvicError):
    """Some of a command's work failed; the rest is done, and is printed as if all were where `--json` is given."""

    def __init__(self, message: str, result: dict[str, Any]) -> None:
        super().__init__(message)
        self.result = result


def command_parser(name: str, description: str, *examples: str) -> argparse.ArgumentParser:
    """A parser with `--json` and examples under its help."""
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
        parser: its options.
        argv: its words; None: the process's.
        command: does the work. What it gives a KeyboardInterrupt as text says what an interruption left.
        extra: of the distribution, that brings the libraries the command needs.

    Returns:
        0 done, 1 failed with one line on stderr, 130 interrupted. Wrong usage exits with 2, which is argparse's.
    """
    arguments = parser.parse_args(argv)
    logging.getLogger().addHandler(logging.NullHandler())  # libraries' warnings are not the one line
    text: str | None
    status = 0
    try:
        result, text = command(arguments)
    except PartlyDoneError as error:
        print(f"{parser.prog}: {_line(error)}", file=sys.stderr)
        result, text, status = error.result, None, 1
    except KeyboardInterrupt as error:
        print(f"{parser.prog}: interrupted; {error or 'nothing was written'}", file=sys.stderr)
        return 130
    except ImportError as error:
        print(f"{parser.prog}: {error.name} is missing: pip install 'hyvic-onboard[{extra}]'", file=sys.stderr)
        return 1
    except MemoryError as error:
        print(f"{parser.prog}: not enough memory ({_line(error) or 'no size given'})", file=sys.stderr)
        return 1
    except OSError as error:
        # strerror alone is what we raise ourselves; the system's lacks the file.
        what = error.strerror if error.strerror and error.filename is None else str(error)
        print(f"{parser.prog}: {what}", file=sys.stderr)
        return 1
    except (HyvicError, ArithmeticError, ValueError, RuntimeError) as error:  # torch's allocator raises RuntimeError
        print(f"{parser.prog}: {_line(error)}", file=sys.stderr)
        return 1
    # Outside UTF-8 a × or ² is shown as its escape, not as a traceback after the work is done.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        if arguments.json or text is not None:
            print(json.dumps(result) if arguments.json else text, flush=True)
    except BrokenPipeError:  # `... | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
