"""What the commands have in common: examples in `--help`, `-o`, `--json`, and exit codes."""

from __future__ import annotations

import json
import re
from argparse import ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.core.management.base import (
    BaseCommand,
    CommandError,
    CommandParser,
    DjangoHelpFormatter,
)

# Exit codes, besides 0. A shell adds 128 to the number of the signal that ended a process.
INCOMPLETE = 1
USAGE_ERROR = 2
INTERRUPTED = 130
OUTPUT_CLOSED = 141


_AGE = re.compile(r"([0-9]{1,7})([hdwy])")
_HOURS = {"h": 1, "d": 24, "w": 7 * 24, "y": 365 * 24}
NOT_AN_AGE = (
    "{text!r} is not an age: a whole number from 1 and a unit, such as 12h, 90d, 2w or 1y "
    "(hours, days, weeks, years of 365 days)."
)
TOO_OLD = "{text!r} is more than 100 years."


class _KeepsLines(RawDescriptionHelpFormatter, DjangoHelpFormatter):
    """Does not fill the lines of the epilog anew."""


def add_epilog(parser: CommandParser, text: str) -> None:
    """What `--help` shows below the arguments, with its line breaks: notes, `Examples:`."""
    parser.epilog = text.strip()
    parser.formatter_class = _KeepsLines


def add_json_argument(parser: CommandParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the result as a JSON object")


def add_output_argument(parser: CommandParser, what: str = "path of the file") -> None:
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="FILE",
        help=f"{what}; - for standard output",
    )


@contextmanager
def file_errors(path: object = "") -> Iterator[None]:
    """An OSError in the block is a wrong usage of the command, by which this file is named unless
    the error names one. Raises CommandError."""
    try:
        yield
    except OSError as error:
        text = f"{error.filename or path}: {error.strerror or error}"
        raise CommandError(text, returncode=USAGE_ERROR) from error


def print_json(command: BaseCommand, result: dict[str, Any]) -> None:
    """The whole result, on standard output: everything else a command says is on standard error."""
    command.stdout.write(json.dumps(result, indent=2, ensure_ascii=False, default=str))


def age(text: str) -> timedelta:
    """The `type` of an argument such as 90d. Raises ArgumentTypeError."""
    found = _AGE.fullmatch(text)
    if found is None or int(found[1]) == 0:
        raise ArgumentTypeError(NOT_AN_AGE.format(text=text))
    hours = int(found[1]) * _HOURS[found[2]]
    if hours > 100 * _HOURS["y"]:
        raise ArgumentTypeError(TOO_OLD.format(text=text))
    return timedelta(hours=hours)
