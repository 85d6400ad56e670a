"""`list_tokens`: list API tokens and their rights."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from conversations.management.arguments import (
    USAGE_ERROR,
    add_epilog,
    add_json_argument,
    print_json,
)
from conversations.management.table import print_table
from conversations.management.tokens import as_json
from conversations.models import ApiToken
from conversations.services.errors import ServiceError
from conversations.services.tokens import valid_tokens
from conversations.services.users import find_user

COLUMNS = ("ID", "USER", "NAME", "RIGHTS", "CREATED", "EXPIRES", "LAST USED", "CREATED BY")
NO_SUCH_USER = "There is no user {name!r}."

EPILOG = """
A token that was not used for long can be revoked by its id. Exit status: 0, or 2 if there is no
such user.

Examples:
  manage.py list_tokens
  manage.py list_tokens --user crm
  manage.py list_tokens --json | jq -r '.tokens[] | select(.last_used_at == null) | .id'
"""


class Command(BaseCommand):
    help = "List the API tokens that have not expired, newest first."

    def add_arguments(self, parser: CommandParser) -> None:
        add_epilog(parser, EPILOG)
        parser.add_argument("--user", help="only the tokens of this user")
        add_json_argument(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        tokens = valid_tokens()
        if (name := options["user"]) is not None:
            try:
                user = find_user(name)
            except ServiceError as error:
                raise CommandError(error.detail, returncode=USAGE_ERROR) from error
            if user is None:
                raise CommandError(NO_SUCH_USER.format(name=name), returncode=USAGE_ERROR)
            tokens = tokens.filter(user=user)
        if options["json"]:
            print_json(self, {"tokens": [as_json(token) for token in tokens]})
        else:
            print_table(self, COLUMNS, [_cells(token) for token in tokens])


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
