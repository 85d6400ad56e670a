"""`revoke_token ID`: revoke an API token, effective immediately."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from conversations.services.errors import ServiceError
from conversations.services.tokens import revoke_token

NO_SUCH_TOKEN = "There is no token {key!r}. See list_tokens for the ids."


class Command(BaseCommand):
    help = "Revoke an API token."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("token", metavar="ID", help="the id shown by list_tokens")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            token = revoke_token(key=options["token"])
        except ServiceError as error:
            raise CommandError(NO_SUCH_TOKEN.format(key=options["token"])) from error
        self.stdout.write(f"Revoked the token {token.key} of {token.user.username}.")
