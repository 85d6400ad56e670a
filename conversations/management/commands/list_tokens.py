"""`list_tokens`: list API tokens and their rights."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from conversations.models import ApiToken
from conversations.services.errors import ServiceError
from conversations.services.tokens import valid_tokens
from conversations.services.users import find_user

COLUMNS = ("ID", "USER", "NAME", "RIGHTS", "CREATED", "EXPIRES", "LAST USED", "CREATED BY")
NO_SUCH_USER = "There is no user {name!r}."


class Command(BaseCommand):
    help = "List the API tokens that have not expired, newest first."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--user", help="only the tokens of this user")

    def handle(self, *args: Any, **options: Any) -> None:
        tokens = valid_tokens()
        if (name := options["user"]) is not None:
            try:
                user = find_user(name)
            except ServiceError as error:
                raise CommandError(error.detail) from error
            if user is None:
                raise CommandError(NO_SUCH_USER.format(name=name))
            tokens = tokens.filter(user=user)
        self._print([COLUMNS, *(_cells(token) for token in tokens)])

    def _print(self, rows: list[tuple[str, ...]]) -> None:
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self.stdout.write("  ".join(cells).rstrip())


def _cells(token: ApiToken) -> tuple[str, ...]:
    rights = "trusted" if token.trusted else "own"
    times = (token.created_at, token.expires_at, token.last_used_at)
    return (
        token.key,
        token.user.username,
        token.name or "-",
        f"{rights} ({token.namespace})" if token.namespace else rights,
        *(f"{moment:%Y-%m-%d %H:%M}" if moment else "never" for moment in times),
        token.created_by or "-",
    )
