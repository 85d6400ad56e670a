"""`export_conversations`: write conversations to a file or to standard output."""

from __future__ import annotations

import sys
from typing import IO, Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import QuerySet

from conversations.formats import WRITERS
from conversations.management.arguments import (
    INTERRUPTED,
    OUTPUT_CLOSED,
    USAGE_ERROR,
    add_epilog,
)
from conversations.management.output_file import (
    STANDARD_OUTPUT,
    close_standard_output,
    output_file,
)
from conversations.management.progress import progress_bar
from conversations.models import Conversation
from conversations.services.audit import SCRIPT
from conversations.services.errors import NotFound, ServiceError
from conversations.services.export import ACTIVE, BRANCHES, export_conversations
from conversations.services.users import find_user

NO_SUCH_USER = "No such user."
STOPPED = "Stopped: {path} is as it was before."
EXPORTED = "exported {count}"

EPILOG = """
Formats: json is JSON Lines with everything stored, and with all branches of a conversation; openai
is OpenAI chat JSONL; markdown is a transcript. The last two have no branches: they get the active
one, or with --branches all each branch as a conversation. A file appears under its name once it is
complete, and only its owner may read it. Exit status: 0 if all is written, 2 if the export could
not run.

Examples:
  manage.py export_conversations --format json -o everything.jsonl
  manage.py export_conversations --format markdown --user alice --branches all -o alice.md
  manage.py export_conversations --format openai -o - | gzip > chats.jsonl.gz
"""


class Command(BaseCommand):
    help = "Export conversations, in order of their ids."

    def add_arguments(self, parser: CommandParser) -> None:
        add_epilog(parser, EPILOG)
        parser.add_argument(
            "-o",
            "--output",
            required=True,
            metavar="FILE",
            help="path of the file; - for standard output",
        )
        parser.add_argument("--format", required=True, choices=sorted(WRITERS))
        parser.add_argument("--user", help="only the conversations of the user of this name")
        parser.add_argument("--namespace", default="", help="the namespace of the user, if any")
        parser.add_argument(
            "--branches",
            default=ACTIVE,
            choices=BRANCHES,
            help="of conversations with branches, in formats without: the active one or all",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        path = options["output"]
        try:
            chosen = _chosen(options["user"], options["namespace"])
            with output_file(path) as file:
                count = _export(chosen, file, options)
        except ServiceError as error:
            raise CommandError(f"--user: {error.detail}", returncode=USAGE_ERROR) from error
        except BrokenPipeError:
            close_standard_output()
            sys.exit(OUTPUT_CLOSED)
        except OSError as error:
            text = f"{path}: {error.strerror}"
            raise CommandError(text, returncode=USAGE_ERROR) from error
        except KeyboardInterrupt:
            text = "Stopped." if path == STANDARD_OUTPUT else STOPPED.format(path=path)
            raise CommandError(text, returncode=INTERRUPTED) from None
        self.stderr.write(EXPORTED.format(count=count), self.style.SUCCESS)


def _chosen(user: str | None, namespace: str) -> QuerySet[Conversation]:
    """All conversations, or those of a user. Raises NotFound and InvalidValue."""
    if user is None:
        return Conversation.objects.all()
    owner = find_user(user, namespace=namespace)
    if owner is None:
        raise NotFound(NO_SUCH_USER)
    return Conversation.objects.owned_by(owner.pk)


def _export(chosen: QuerySet[Conversation], file: IO[bytes], options: dict[str, Any]) -> int:
    """The number of conversations."""
    done = 0

    def on_progress(exported: int) -> None:
        nonlocal done
        done = exported
        show(done, f"{done} exported")

    with progress_bar(chosen.count()) as show:
        pieces = export_conversations(
            conversations=chosen,
            file_format=options["format"],
            branches=options["branches"],
            access=SCRIPT,
            on_progress=on_progress,
        )
        for piece in pieces:
            file.write(piece.encode())
    return done
