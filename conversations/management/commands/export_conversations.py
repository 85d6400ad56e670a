"""`export_conversations`: write conversations to a file, to a folder or to standard output."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from conversations.formats import WRITERS
from conversations.formats.writers.vcon_signature import BadKey, VconSigner
from conversations.management.arguments import (
    INTERRUPTED,
    OUTPUT_CLOSED,
    USAGE_ERROR,
    add_epilog,
    add_json_argument,
    add_output_argument,
    file_errors,
    print_json,
)
from conversations.management.chosen_conversations import (
    add_choosing_arguments,
    chosen_conversations,
)
from conversations.management.output_file import (
    STANDARD_OUTPUT,
    close_standard_output,
    output_file,
)
from conversations.management.progress import Advance, progress_bar
from conversations.services.audit import SCRIPT
from conversations.services.errors import ServiceError
from conversations.services.export import ACTIVE, BRANCHES, export_conversations, export_files

MAX_JOBS = 16
STOPPED = "Stopped: {path} is as it was before."
STOPPED_IN_FOLDER = "Stopped: the files in {path} are complete, but not all are there."
EXPORTED = "exported {count}"
SIGN_VCON = "--sign-key: Only vcon is signed, with a key and its --sign-certificates."
JSON_TO_STDOUT = "--json: Standard output has the export: choose another file."

EPILOG = """
Formats: jsonl is JSON Lines with everything stored, and with all branches of a conversation; json
is the same as one JSON array; openai is OpenAI chat JSONL, as fine-tuning takes it; sharegpt is
for training, too; csv has a row for each message; markdown and html are transcripts. openai,
sharegpt, markdown, html and vcon have no branches: they get the active one, or with --branches all
each branch as a conversation. html and vcon have one conversation a file. vcon is the IETF's vCon,
signed where a key is given.

The order is that of ids, so two exports of the same rows are the same bytes. A folder (one that is
there, or a path that ends in /) gets a file for each conversation. A name that ends in .gz is
compressed. A file appears under its name once it is complete, and only its owner may read it. Exit
status: 0 if all is written, 2 if the export could not run, 130 if it is interrupted.

Examples:
  manage.py export_conversations --format jsonl -o everything.jsonl.gz
  manage.py export_conversations --format jsonl --jobs 4 -o everything.jsonl
  manage.py export_conversations --format html --user alice -o alice/
  manage.py export_conversations --format vcon --sign-key key.pem --sign-certificates chain.pem \\
      --user alice -o vcons/
  manage.py export_conversations --format openai --min-rating 1 --model llama3.2 -o good.jsonl
  manage.py export_conversations --format csv --since 2026-01-01 --until 2026-02-01 -o january.csv
  manage.py export_conversations --format jsonl --tag support --query refund -o - | head
"""


class Command(BaseCommand):
    help = "Export conversations, in order of their ids."

    def add_arguments(self, parser: CommandParser) -> None:
        add_epilog(parser, EPILOG)
        add_output_argument(parser, "path of the file or folder")
        parser.add_argument("--format", required=True, choices=sorted(WRITERS))
        parser.add_argument(
            "--branches",
            default=ACTIVE,
            choices=BRANCHES,
            help="of conversations with branches, in formats without: the active one or all",
        )
        parser.add_argument(
            "--sign-key", metavar="FILE", help="vcon: sign with this private key, in PEM"
        )
        parser.add_argument(
            "--sign-certificates", metavar="FILE", help="the chain of certificates of the key"
        )
        parser.add_argument(
            "-j",
            "--jobs",
            type=int,
            default=1,
            choices=range(1, MAX_JOBS + 1),
            metavar="N",
            help=f"jsonl, json in one file: database sessions that read at once, 1 to {MAX_JOBS}",
        )
        add_json_argument(parser)
        add_choosing_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        path, started = options["output"], time.monotonic()
        if options["json"] and path == STANDARD_OUTPUT:
            raise CommandError(JSON_TO_STDOUT, returncode=USAGE_ERROR)
        try:
            with file_errors(path):
                count = _exported(options)
        except ServiceError as error:
            text = f"--{error.field}: {error.detail}"
            raise CommandError(text, returncode=USAGE_ERROR) from error
        except KeyboardInterrupt:
            raise CommandError(_stopped(path), returncode=INTERRUPTED) from None
        if options["json"]:
            seconds = round(time.monotonic() - started, 3)
            print_json(self, {"output": path, "conversations": count, "seconds": seconds})
        else:
            self.stderr.write(EXPORTED.format(count=count), self.style.SUCCESS)


def _stopped(path: str) -> str:
    if path == STANDARD_OUTPUT:
        return "Stopped."
    return (STOPPED_IN_FOLDER if _is_folder(path) else STOPPED).format(path=path)


def _signer(options: dict[str, Any]) -> VconSigner | None:
    """Raises CommandError and OSError."""
    paths = options["sign_key"], options["sign_certificates"]
    if not any(paths):
        return None
    if options["format"] != "vcon" or not all(paths):
        raise CommandError(SIGN_VCON, returncode=USAGE_ERROR)
    try:
        return VconSigner(*(Path(path).read_bytes() for path in paths))
    except BadKey as error:
        raise CommandError(f"--sign-key: {error}", returncode=USAGE_ERROR) from None


def _is_folder(path: str) -> bool:
    return path != STANDARD_OUTPUT and (path.endswith("/") or Path(path).is_dir())


def _exported(options: dict[str, Any]) -> int:
    """The number of conversations. Ends the process where nobody reads its output any more."""
    try:
        return _export(options)
    except BrokenPipeError:
        close_standard_output()
        sys.exit(OUTPUT_CLOSED)


def _export(options: dict[str, Any]) -> int:
    """The number of conversations."""
    chosen = chosen_conversations(options)
    sign = _signer(options)
    with progress_bar(chosen.count()) as show:
        counted = _Counted(show)
        given = {
            "conversations": chosen,
            "file_format": options["format"],
            "branches": options["branches"],
            "access": SCRIPT,
            "sign": sign,
            "on_progress": counted,
        }
        if _is_folder(options["output"]):
            _write_folder(Path(options["output"]), given)
        else:
            with output_file(options["output"]) as file:
                for piece in export_conversations(**given, jobs=options["jobs"]):
                    file.write(piece.encode())
    return counted.done


class _Counted:
    """Shows progress, and keeps the last number."""

    def __init__(self, show: Advance) -> None:
        self.done, self._show = 0, show

    def __call__(self, exported: int) -> None:
        self.done = exported
        self._show(exported, f"{exported} exported")


def _write_folder(folder: Path, given: dict[str, Any]) -> None:
    files = export_files(**given)
    folder.mkdir(exist_ok=True)
    for name, pieces in files:
        with output_file(str(folder / name)) as file:
            for piece in pieces:
                file.write(piece.encode())
