"""What the commands have in common: examples in `--help`, and `--json`."""

from __future__ import annotations

import json
from argparse import RawDescriptionHelpFormatter
from typing import Any

from django.core.management.base import BaseCommand, CommandParser, DjangoHelpFormatter

# Exit codes, besides 0. A shell adds 128 to the number of the signal that ended a process.
INCOMPLETE = 1
USAGE_ERROR = 2
INTERRUPTED = 130
OUTPUT_CLOSED = 141


class _KeepsLines(RawDescriptionHelpFormatter, DjangoHelpFormatter):
    """Does not fill the lines of the epilog anew."""


def add_epilog(parser: CommandParser, text: str) -> None:
    """What `--help` shows below the arguments, with its line breaks: notes, `Examples:`."""
    parser.epilog = text.strip()
    parser.formatter_class = _KeepsLines


def add_json_argument(parser: CommandParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the result as a JSON object")


def print_json(command: BaseCommand, result: dict[str, Any]) -> None:
    """The whole result, on standard output: everything else a command says is on standard error."""
    command.stdout.write(json.dumps(result, indent=2, ensure_ascii=False, default=str))
