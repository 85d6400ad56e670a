"""`manage.py erase_user USER`: delete an account with all of its conversations."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from conversations.models import AccessContext
from conversations.services import ServiceError, count_user_data, erase_user, find_user
from conversations.services.audit import clean_reason


class Command(BaseCommand):
    help = (
        "Erase a user with all conversations and tokens. Refused while one of the conversations "
        "is on legal hold."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", help="username")
        parser.add_argument(
            "--namespace", default="", help="the namespace that the user belongs to"
        )
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="report what would be deleted, and delete nothing",
        )
        parser.add_argument("--reason", default="", help="stored with the entry in the audit log")

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
            counts = count_user_data(owner.pk)
        else:
            counts = erase_user(
                user_id=owner.pk, access=AccessContext(None, reason=clean_reason(reason))
            )
        verb = "Would erase" if dry_run else "Erased"
        what = f"{counts['conversations']:,} conversations and {counts['messages']:,} messages"
        held = f"; refused: {counts['held']:,} are on legal hold" if counts["held"] else ""
        self.stdout.write(f"{verb} {owner.username} with {what}{held}.")
