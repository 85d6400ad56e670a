"""`revoke_token ID`: revoke an API token, effective immediately."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from conversations.management.arguments import (
    USAGE_ERROR,
    add_epilog,
    add_json_argument,
    print_json,
)
from conversations.management.tokens import as_json
from conversations.services.errors import ServiceError
from conversations.services.tokens import revoke_token

NO_SUCH_TOKEN = "There is no token {key!r}. See list_tokens for the ids."

EPILOG = """
Requests with the token are refused from now on. Exit status: 0, or 2 if there is no such token.

Examples:
  manage.py revoke_token 1f0c2a9be4d37788
  manage.py list_tokens --user crm --json | jq -r '.tokens[].id' | xargs -n1 manage.py revoke_token
"""


class Command(BaseCommand):
    help = "Revoke an API token."

    def add_arguments(self, parser: CommandParser) -> None:
        add_epilog(parser, EPILOG)
        add_json_argument(parser)
        parser.add_argument("token", metavar="ID", help="the id shown by list_tokens")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            token = revoke_token(key=options["token"])
        except ServiceError as error:
            text = NO_SUCH_TOKEN.format(key=options["token"])
            raise CommandError(text, returncode=USAGE_ERROR) from error
        if options["json"]:
            print_json(self, {"revoked": as_json(token)})
        else:
            self.stdout.write(f"Revoked the token {token.key} of {token.user.username}.")
