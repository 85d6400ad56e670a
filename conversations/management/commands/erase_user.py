"""`manage.py erase_user USER`: delete an account with all of its conversations, and prove it."""

from __future__ import annotations

import json
from contextlib import ExitStack, nullcontext
from functools import partial
from typing import IO, Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser

from conversations.admin.formatting import counted
from conversations.management.arguments import (
    INCOMPLETE,
    INTERRUPTED,
    USAGE_ERROR,
    add_epilog,
    add_json_argument,
    file_errors,
    print_json,
)
from conversations.management.output_file import output_file
from conversations.management.progress import progress_bar
from conversations.models import AccessContext, Conversation
from conversations.services import ServiceError, count_user_data, erase_user, find_user
from conversations.services.audit import SCRIPT, clean_reason
from conversations.services.erasure_certificate import certify
from conversations.services.export import export_conversations

STOPPED = "Stopped. The account is closed; run the command again for the rest."
UNEXPECTED = "Something was found that should not be there."

EPILOG = """
With --export-to the account is closed first (no login, no token), then exported as JSON Lines with
everything stored, then erased; what an application writes for the user meanwhile is not erased, and
the command says so. Much data goes in short transactions, beside everybody else's writes: stopped,
the command is run again for the rest. Afterwards every text, JSON, id and search column of every
table is searched for the person's names, ids and words. Exit status: 0 if the user is erased and
nothing unexpected was found, 1 if it was found, or if the user could not be erased, 2 if the
command could not run. docs/retention.md says what remains, and where else something may be left.

Examples:
  manage.py erase_user alice --dry-run
  manage.py erase_user alice --reason "request of 3 May" --certificate alice.json
  manage.py erase_user 4711 --namespace crm --export-to crm-4711.jsonl --json
"""


class Command(BaseCommand):
    help = (
        "Erase a user with all conversations, tokens and traces, and search for what is left. "
        "Refused while one of the conversations is on legal hold."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add_epilog(parser, EPILOG)
        parser.add_argument("user", help="username")
        parser.add_argument(
            "--namespace", default="", help="the namespace that the user belongs to"
        )
        parser.add_argument(
            "--export-to", metavar="FILE", help="first write all conversations there, or erase none"
        )
        parser.add_argument(
            "--certificate", metavar="FILE", help="write the certificate of the erasure there"
        )
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="report what would be deleted, and delete nothing",
        )
        parser.add_argument("--reason", default="", help="stored with the entry in the audit log")
        add_json_argument(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with file_errors():
                self._run(**options)
        except ServiceError as refusal:
            raise CommandError(refusal.detail) from None
        except KeyboardInterrupt:
            raise CommandError(STOPPED, returncode=INTERRUPTED) from None

    def _run(self, *, user: str, namespace: str, dry_run: bool, **options: Any) -> None:
        owner = find_user(user, namespace=namespace)
        if owner is None:
            raise CommandError(f"There is no user {user!r}.", returncode=USAGE_ERROR)
        if dry_run:
            counts = count_user_data(owner.pk)
            self._say(owner, counts, "Would erase")
            if options["json"]:
                print_json(self, {"dry_run": True, **counts})
            return
        certificate = self._erase(owner, **options)
        if options["json"]:
            print_json(self, certificate)
        if certificate["check"]["unexpected"]:
            raise CommandError(UNEXPECTED, returncode=INCOMPLETE)

    def _erase(
        self,
        owner: User,
        *,
        export_to: str | None,
        certificate: str | None,
        reason: str,
        **_: Any,
    ) -> dict[str, Any]:
        access = AccessContext(None, reason=clean_reason(reason))
        # Both files are opened before anything is erased, and the export is whole by then.
        with (
            output_file(certificate) if certificate else nullcontext() as file,
            ExitStack() as exporting,
        ):
            export = None
            if export_to:
                into = exporting.enter_context(output_file(export_to))
                export = partial(_export, owner, into, exporting)
            with progress_bar(None) as show:
                erasure = erase_user(
                    user_id=owner.pk,
                    access=access,
                    export=export,
                    on_progress=lambda done: show(done, f"{done:,} conversations"),
                )
            self._say(owner, {"held": 0, **erasure.erased}, "Erased")
            proof = certify(erasure, access=access)
            if file is not None:
                file.write(json.dumps(proof, indent=2).encode() + b"\n")
        self._show(proof["check"])
        return proof

    def _say(self, owner: User, counts: dict[str, int], verb: str) -> None:
        conversations = counted(counts["conversations"], "conversation")
        what = f"{conversations} and {counted(counts['messages'], 'message')}"
        held = f"; refused: {counts['held']:,} on legal hold" if counts["held"] else ""
        self.stderr.write(f"{verb} {owner.username} with {what}{held}.")

    def _show(self, check: dict[str, Any]) -> None:
        looked = ", ".join(f"{kind}: {count}" for kind, count in check["looked_for"].items())
        self.stderr.write(
            f"Searched {check['columns']:,} columns of {check['tables']:,} tables with "
            f"{check['rows']:,} rows for traces ({looked})."
        )
        for hit in check["remaining"]:
            self.stderr.write(
                f"  {hit['table']}.{hit['column']}: {hit['kind']} in {hit['rows']:,} rows. "
                f"{hit['reason']}"
            )
        for hit in check["unexpected"]:
            self.stderr.write(
                f"  FOUND {hit['table']}.{hit['column']}: {hit['kind']} in {hit['rows']:,} rows"
            )
        if not check["unexpected"]:
            self.stderr.write("Nothing unexpected was found.", self.style.SUCCESS)


def _export(owner: User, file: IO[bytes], exporting: ExitStack) -> None:
    conversations = Conversation.objects.owned_by(owner.pk)
    pieces = export_conversations(conversations=conversations, file_format="jsonl", access=SCRIPT)
    for piece in pieces:
        file.write(piece.encode())
    exporting.close()
