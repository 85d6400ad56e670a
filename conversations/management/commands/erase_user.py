"""`manage.py erase_user USER`: the account, and everything that was said in its conversations."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from conversations.models import AccessContext
from conversations.services import ServiceError, erase_user, find_user, holdings_of
from conversations.services.audit import clean_reason


class Command(BaseCommand):
    help = "Erase a user with all conversations and tokens. One legal hold keeps everything."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", help="username")
        parser.add_argument("--namespace", default="", help="the application whose user it is")
        parser.add_argument("--dry-run", action="store_true", help="say what would go")
        parser.add_argument("--reason", default="", help="kept with the record of the erasure")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self._erase(**options)
        except ServiceError as refusal:
            raise CommandError(refusal.detail) from None

    def _erase(self, *, user: str, namespace: str, dry_run: bool, reason: str, **_: Any) -> None:
        owner = find_user(user, namespace=namespace)
        if owner is None:
            raise CommandError(f"There is no user {user!r}.")
        if dry_run:
            found = holdings_of(owner.pk)
        else:
            found = erase_user(
                user_id=owner.pk, access=AccessContext(None, reason=clean_reason(reason))
            )
        verb = "Would erase" if dry_run else "Erased"
        what = f"{found.conversations:,} conversations and {found.messages:,} messages"
        held = f"; {found.held:,} on legal hold keep everything" if found.held else ""
        self.stdout.write(f"{verb} {owner.username} with {what}{held}.")
