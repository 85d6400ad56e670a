"""`import_conversations`: the conversations of a file become those of a user."""

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
from conversations.management.progress import progress_bar
from conversations.services.errors import ServiceError
from conversations.services.imports import ImportReport, import_conversations, rehearsal
from conversations.services.users import find_or_create_user

SHOWN_REJECTIONS = 20
SOME_REJECTED = 1
USAGE_ERROR = 2
INTERRUPTED = 130

DRY_RUN = "Dry run: nothing was stored. What an import would do:"
MORE_REJECTED = "… and {count} more rejected; --report FILE writes all of them."
STOPPED = "Stopped."
REST_REMAINS = "What was imported so far is stored; run the same command again for the rest."

EPILOG = """
Formats: openai is OpenAI chat JSONL; json is what an export as "JSON Lines, everything stored"
writes. A conversation is stored whole or not at all, and a bad one never keeps out the others.
Running the same import again adds nothing: a conversation is known by its id in the file or,
without one, by its content. Exit status: 0 when nothing was rejected, 1 when something was, 2 when
the import could not run.
"""


class Command(BaseCommand):
    help = "Import the conversations of a file."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.epilog = EPILOG
        parser.add_argument("file", metavar="FILE", help="the file; - is standard input")
        parser.add_argument("--format", required=True, choices=sorted(READERS))
        parser.add_argument(
            "--user",
            required=True,
            help="whose conversations they become: a username, made if there is none",
        )
        parser.add_argument(
            "--namespace", default="", help="the application whose user that is, if any"
        )
        parser.add_argument("--dry-run", action="store_true", help="report only, store nothing")
        parser.add_argument(
            "--report", metavar="FILE", help="write every rejection there, as a line of JSON each"
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
        self._tell(report, dry_run=options["dry_run"])
        if report.rejected:
            sys.exit(SOME_REJECTED)

    def _tell(self, report: ImportReport, *, dry_run: bool) -> None:
        for rejected in report.rejected[:SHOWN_REJECTIONS]:
            self.stderr.write(f"line {rejected.line}: {rejected.reason}")
        if (more := len(report.rejected) - SHOWN_REJECTIONS) > 0:
            self.stderr.write(MORE_REJECTED.format(count=more))
        if dry_run:
            self.stdout.write(DRY_RUN)
        created = f"{report.messages} messages, {report.tool_calls} tool calls"
        self.stdout.write(f"read           {report.read}")
        self.stdout.write(f"created        {report.created} ({created})")
        self.stdout.write(f"already there  {report.already_there}")
        self.stdout.write(f"rejected       {len(report.rejected)}")


def _import(file: BinaryIO, options: dict[str, Any]) -> ImportReport:
    read = READERS[options["format"]]
    size = _size(file)
    with progress_bar(size) as show, rehearsal() if options["dry_run"] else nullcontext():
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
    """Opened before the import, so that a wrong path costs nothing."""
    if path is None:
        yield None
    else:
        with open(path, "w", encoding="utf-8") as file:
            yield file


def _size(file: BinaryIO) -> int | None:
    """In bytes; None where it cannot be known, as in a pipe."""
    found = os.fstat(file.fileno())
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _write_rejections(report: ImportReport, file: IO[str] | None) -> None:
    if file is not None:
        for rejected in report.rejected:
            file.write(json.dumps({"line": rejected.line, "reason": rejected.reason}) + "\n")
