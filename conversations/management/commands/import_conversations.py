"""`import_conversations`: import the conversations of files for a user, or for those they name."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import IO, Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from conversations.admin.formatting import counted
from conversations.formats import AS_EXPORTED, AUTO, FORMATS, Files, Rejected
from conversations.management.arguments import (
    INCOMPLETE,
    INTERRUPTED,
    USAGE_ERROR,
    add_epilog,
    add_json_argument,
    file_errors,
    print_json,
)
from conversations.management.progress import progress_bar
from conversations.services.errors import InvalidValue, ServiceError
from conversations.services.import_files import add_files
from conversations.services.import_owners import OWNER, OwnersFrom, owner_to_import_for
from conversations.services.imports import Importer, ImportReport
from conversations.services.users import check_namespace

STANDARD_INPUT = "-"
SHOWN_REJECTIONS = 20

OUR_FORMATS = ("jsonl", "json")
NOT_OURS = f"With --as-exported only {' or '.join(OUR_FORMATS)}."
DRY_RUN = "Dry run: nothing was stored. The result of an import would be:"
MORE_REJECTED = "… and {count} more rejected; --report FILE writes all of them."
STOPPED = "Stopped."
REST_REMAINS = "The conversations imported so far are stored. Run the command again for the rest."

EPILOG = """
Each file, those of a folder or zip too, is read in the format that it is recognised as, or in the
one of --format; docs/formats.md describes them. A "line" in a report is the line of a file or the
place in its array or database.
Each conversation is stored completely or rejected, independently of the others. The import is
idempotent: a conversation is identified by its owner, the format, and its id in the file or,
without one, its content. So an import that was stopped or killed is completed by the same command,
and a later export adds what its conversations have beyond the stored ones ("extended").
--user-from names whose conversations they are: `owner`, where the format has it, or a path into
their metadata, such as customer.id. The users are made in --namespace, as by the first write of a
trusted client; a name of staff is rejected.
--as-exported reads what export_conversations wrote as jsonl or json, and stores it just so: for the
same owners, staff too, with the same ids, sequences, branches, times and reviews. An id that is
stored with other values, or was deleted, is rejected. Exit status: 0 if nothing was rejected, 1 if
something was rejected, 2 if the import could not run, 130 if it was stopped by Ctrl-C.

Examples:
  manage.py import_conversations conversations.zip --user alice
  manage.py import_conversations backup.jsonl --format json --user-from owner --dry-run
  manage.py import_conversations a.jsonl b.jsonl --user-from customer.id --namespace crm
  manage.py import_conversations chats.jsonl --user bot --report rejected.jsonl
  manage.py import_conversations everything.jsonl.gz --as-exported
  manage.py import_conversations ~/.codex/sessions --format codex --user bot
  zcat chats.jsonl.gz | manage.py import_conversations - --format openai --user bot --json
"""


class Command(BaseCommand):
    help = "Import the conversations of files."

    def add_arguments(self, parser: CommandParser) -> None:
        add_epilog(parser, EPILOG)
        parser.add_argument(
            "files",
            metavar="FILE|DIR|-",
            nargs="+",
            help="path of a file, plain or as gzip or zip, or of a folder; - for standard input",
        )
        parser.add_argument(
            "--format",
            default=AUTO,
            choices=[AUTO, *sorted(FORMATS)],
            help="by default each file is recognised by its content",
        )
        owners = parser.add_mutually_exclusive_group(required=True)
        owners.add_argument(
            "--user",
            help="username of the owner of the conversations; created if there is none",
        )
        owners.add_argument(
            "--user-from",
            metavar="FIELD",
            help="the owners are those whom the file names here; created where there are none",
        )
        owners.add_argument(
            "--as-exported",
            action="store_true",
            help="store an export of this project as it was, with its owners, ids and reviews",
        )
        parser.add_argument("--namespace", default="", help="the namespace of the users, if any")
        parser.add_argument("--dry-run", action="store_true", help="only report, store nothing")
        parser.add_argument(
            "--report", metavar="FILE", help="write all rejections to this file as JSON Lines"
        )
        add_json_argument(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with (
                file_errors("The file"),
                _opened(options["files"]) as files,
                _report_file(options["report"]) as report_file,
            ):
                rejections = _Rejections(report_file)
                importer = Importer(
                    owners=_owners(options),
                    dry_run=options["dry_run"],
                    on_rejected=rejections.add,
                )
                _import(importer, files, _format(options))
        except ServiceError as error:
            option = "--user" if error.field == "user_id" else f"--{error.field}"
            raise CommandError(f"{option}: {error.detail}", returncode=USAGE_ERROR) from error
        except KeyboardInterrupt:
            text = STOPPED if options["dry_run"] else f"{STOPPED} {REST_REMAINS}"
            raise CommandError(text, returncode=INTERRUPTED) from None
        self._print_report(importer.report, rejections, options)
        if importer.report.rejections:
            sys.exit(INCOMPLETE)

    def _print_report(
        self, report: ImportReport, rejections: _Rejections, options: dict[str, Any]
    ) -> None:
        if options["json"]:
            print_json(self, _as_json(report, rejections, options["dry_run"]))
            return
        for shown in rejections.first:
            place = "" if [shown["file"]] == options["files"] else f"{shown['file']}, "
            self.stderr.write(f"{place}line {shown['line']}: {shown['reason']}")
        if (more := report.rejections - len(rejections.first)) > 0:
            self.stderr.write(MORE_REJECTED.format(count=more))
        if options["dry_run"]:
            self.stdout.write(DRY_RUN)
        new = f"{counted(report.messages, 'message')}, {counted(report.tool_calls, 'tool call')}"
        self.stdout.write(f"read           {report.read}{_as_formats(report)}")
        self.stdout.write(f"created        {report.created}")
        self.stdout.write(f"extended       {report.extended}")
        self.stdout.write(f"already stored {report.already_there}")
        self.stdout.write(f"rejected       {report.rejections}")
        self.stdout.write(f"stored         {new}")


class _Rejections:
    """Writes each to the file, if there is one, and keeps the first ones to show them."""

    def __init__(self, file: IO[str] | None) -> None:
        self._file = file
        self.first: list[dict[str, Any]] = []

    def add(self, place: str, rejected: Rejected) -> None:
        file = f"{place}/{rejected.file}" if rejected.file else place
        record = {"file": file, "line": rejected.line, "reason": rejected.reason}
        if len(self.first) < SHOWN_REJECTIONS:
            self.first.append(record)
        if self._file is not None:
            self._file.write(json.dumps(record, ensure_ascii=False) + "\n")


def _as_formats(report: ImportReport) -> str:
    """In which formats, so that it is seen what a file was taken for."""
    if len(report.formats) <= 1:
        names = list(report.formats)
    else:
        names = [f"{name}: {count}" for name, count in sorted(report.formats.items())]
    return f" ({', '.join(names)})" if names else ""


def _as_json(report: ImportReport, rejections: _Rejections, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "read": report.read,
        "formats": dict(sorted(report.formats.items())),
        "created": report.created,
        "extended": report.extended,
        "messages": report.messages,
        "tool_calls": report.tool_calls,
        "already_stored": report.already_there,
        "rejected": report.rejections,
        "first_rejections": rejections.first,
    }


def _owners(options: dict[str, Any]) -> int | OwnersFrom:
    """Raises InvalidValue."""
    namespace = options["namespace"]
    check_namespace(namespace)
    if options["as_exported"]:
        return OwnersFrom(OWNER, namespace, with_staff=True)
    if options["user"] is None:
        return OwnersFrom(options["user_from"], namespace)
    return owner_to_import_for(options["user"], namespace=namespace, dry_run=options["dry_run"])


def _format(options: dict[str, Any]) -> str:
    """Raises InvalidValue."""
    if not options["as_exported"]:
        return str(options["format"])
    if options["format"] not in {AUTO, *OUR_FORMATS}:
        raise InvalidValue(NOT_OURS, field="format")
    return AS_EXPORTED


def _import(importer: Importer, given: Mapping[str, Files], file_format: str) -> None:
    sizes = [files.size for files in given.values()]
    total = None if None in sizes else sum(size or 0 for size in sizes)
    with progress_bar(total, in_bytes=True) as show:
        importer.on_progress = lambda report: show(
            sum(files.position for files in given.values()), f"{report.read:,} conversations"
        )
        for path, files in given.items():
            add_files(importer, files, file_format=file_format, name=path)
        importer.finish()


@contextmanager
def _opened(paths: Sequence[str]) -> Iterator[dict[str, Files]]:
    """All of them before anything is stored, so that a wrong path stops the import at once."""
    with ExitStack() as stack:
        opened: dict[str, Files] = {}
        for path in dict.fromkeys(paths):
            source = sys.stdin.buffer if path == STANDARD_INPUT else path
            opened[path] = stack.enter_context(closing(Files(source)))
        yield opened


@contextmanager
def _report_file(path: str | None) -> Iterator[IO[str] | None]:
    """Opened before the import, so that a wrong path fails at once."""
    if path is None:
        yield None
    else:
        with open(path, "w", encoding="utf-8") as file:
            yield file
