"""`import_conversations`: import the conversations of a file for a user."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import IO, Any, BinaryIO

from django.core.management.base import BaseCommand, CommandError, CommandParser

from conversations.formats import READERS
from conversations.management.arguments import (
    INCOMPLETE,
    INTERRUPTED,
    USAGE_ERROR,
    add_epilog,
)
from conversations.management.progress import progress_bar
from conversations.services.errors import ServiceError
from conversations.services.imports import ImportReport, import_conversations, rolled_back
from conversations.services.users import find_or_create_user

SHOWN_REJECTIONS = 20

DRY_RUN = "Dry run: nothing was stored. The result of an import would be:"
MORE_REJECTED = "… and {count} more rejected; --report FILE writes all of them."
STOPPED = "Stopped."
REST_REMAINS = "The conversations imported so far are stored. Run the command again for the rest."

EPILOG = """
Formats: openai is OpenAI chat JSONL; json is the export format "JSON Lines, everything stored";
oasst is OpenAssistant's message trees or messages as JSON Lines; chatgpt is ChatGPT's data export,
a zip or the conversations.json in it, of which a "line" is the place in the array. All but openai
keep the branches of a conversation.
Each conversation is stored completely or rejected, independently of the others. The import is
idempotent: a conversation is identified by its id in the file or, without one, by its content. Exit
status: 0 if nothing was rejected, 1 if something was rejected, 2 if the import could not run.

Examples:
  manage.py import_conversations conversations.zip --format chatgpt --user alice
  manage.py import_conversations backup.jsonl --format json --user alice --dry-run
  zcat chats.jsonl.gz | manage.py import_conversations - --format openai --user bot
"""


class Command(BaseCommand):
    help = "Import the conversations of a file."

    def add_arguments(self, parser: CommandParser) -> None:
        add_epilog(parser, EPILOG)
        parser.add_argument("file", metavar="FILE", help="path of the file; - for standard input")
        parser.add_argument("--format", required=True, choices=sorted(READERS))
        parser.add_argument(
            "--user",
            required=True,
            help="username of the owner of the conversations; created if there is none",
        )
        parser.add_argument("--namespace", default="", help="the namespace of the user, if any")
        parser.add_argument("--dry-run", action="store_true", help="only report, store nothing")
        parser.add_argument(
            "--report", metavar="FILE", help="write all rejections to this file as JSON Lines"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with _opened(options["file"]) as file, _report_file(options["report"]) as report_file:
                report = _import(file, options)
                _write_rejections(report, report_file)
        except ServiceError as error:
            raise CommandError(f"--user: {error.detail}", returncode=USAGE_ERROR) from error
        except OSError as error:
            text = f"{error.filename or options['file']}: {error.strerror}"
            raise CommandError(text, returncode=USAGE_ERROR) from error
        except KeyboardInterrupt:
            text = STOPPED if options["dry_run"] else f"{STOPPED} {REST_REMAINS}"
            raise CommandError(text, returncode=INTERRUPTED) from None
        self._print_report(report, dry_run=options["dry_run"])
        if report.rejected:
            sys.exit(INCOMPLETE)

    def _print_report(self, report: ImportReport, *, dry_run: bool) -> None:
        for rejected in report.rejected[:SHOWN_REJECTIONS]:
            self.stderr.write(f"line {rejected.line}: {rejected.reason}")
        if (more := len(report.rejected) - SHOWN_REJECTIONS) > 0:
            self.stderr.write(MORE_REJECTED.format(count=more))
        if dry_run:
            self.stdout.write(DRY_RUN)
        created = f"{report.messages} messages, {report.tool_calls} tool calls"
        self.stdout.write(f"read           {report.read}")
        self.stdout.write(f"created        {report.created} ({created})")
        self.stdout.write(f"already stored {report.already_there}")
        self.stdout.write(f"rejected       {len(report.rejected)}")


def _import(file: BinaryIO, options: dict[str, Any]) -> ImportReport:
    read = READERS[options["format"]]
    size = _size(file)
    with progress_bar(size) as show, rolled_back() if options["dry_run"] else nullcontext():
        return import_conversations(
            chats=read(file),
            owner_id=find_or_create_user(options["user"], namespace=options["namespace"]).pk,
            source=f"import:{options['format']}",
            on_progress=lambda report: show(file.tell() if size else 0, f"{report.read} read"),
        )


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    if path == "-":
        yield sys.stdin.buffer
    else:
        with open(path, "rb") as file:
            yield file


@contextmanager
def _report_file(path: str | None) -> Iterator[IO[str] | None]:
    """Opened before the import, so that a wrong path fails at once."""
    if path is None:
        yield None
    else:
        with open(path, "w", encoding="utf-8") as file:
            yield file


def _size(file: BinaryIO) -> int | None:
    """Size in bytes; None if it is not a regular file, such as a pipe."""
    found = os.fstat(file.fileno())
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _write_rejections(report: ImportReport, file: IO[str] | None) -> None:
    if file is not None:
        for rejected in report.rejected:
            file.write(json.dumps({"line": rejected.line, "reason": rejected.reason}) + "\n")
