"""`create_token`: create an API token for a user; prints only the token to standard output."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from conversations.management.arguments import (
    USAGE_ERROR,
    add_epilog,
    add_json_argument,
    print_json,
)
from conversations.management.tokens import as_json
from conversations.services.audit import SCRIPT
from conversations.services.errors import InvalidValue, ServiceError
from conversations.services.tokens import (
    NAMESPACE_WITHOUT_TRUST,
    create_token,
    lifetime_of,
)
from conversations.services.users import find_or_create_user, similar_names

CREATED = "Token for {name}{rights}, valid until {until}. It is shown only once."
STAFF = (
    "{name} is a staff account: what its trusted token does with conversations of other users is "
    "recorded in the audit log. Use a separate account for the application instead."
)
SIMILAR = "Other usernames differ from {name} only in case: {names}."

EPILOG = """
The token is shown only this once: standard output has it alone, all else is on standard error. Exit
status: 0, or 2 if none was created.

Examples:
  TOKEN=$(manage.py create_token alice)
  manage.py create_token crm --trusted --namespace crm --name "CRM in production" --days 365
  manage.py create_token alice --json
"""


class Command(BaseCommand):
    help = "Create an API token and print it; only its hash is stored."

    def add_arguments(self, parser: CommandParser) -> None:
        add_epilog(parser, EPILOG)
        add_json_argument(parser)
        parser.add_argument("user", metavar="USER", help="username; created if there is none")
        parser.add_argument(
            "--trusted",
            action="store_true",
            help="the token reads and writes conversations of the users of an application",
        )
        parser.add_argument(
            "--namespace",
            default="",
            help="with --trusted: the token acts only for the users of this namespace",
        )
        parser.add_argument("--name", default="", help="what the token is for")
        parser.add_argument(
            "--days", type=int, help="validity in days; default: the setting TOKEN_DAYS"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        trusted, namespace = options["trusted"], options["namespace"]
        try:
            if namespace and not trusted:
                raise InvalidValue(NAMESPACE_WITHOUT_TRUST, field="namespace")
            lifetime = lifetime_of(options["days"])
            with transaction.atomic():
                user = find_or_create_user(options["user"])
                row, text = create_token(
                    user=user,
                    access=SCRIPT,
                    name=options["name"],
                    trusted=trusted,
                    namespace=namespace,
                    lifetime=lifetime,
                )
        except ServiceError as error:
            raise CommandError(error.detail, returncode=USAGE_ERROR) from error
        if trusted and (user.is_staff or user.is_superuser):
            self.stderr.write(STAFF.format(name=user.username))
        if names := similar_names(user):
            self.stderr.write(SIMILAR.format(name=user.username, names=", ".join(names)))
        rights = ", a trusted client" if trusted else ""
        self.stderr.write(
            CREATED.format(
                name=user.username,
                rights=f"{rights} of the namespace {namespace}" if namespace else rights,
                until=f"{row.expires_at:%Y-%m-%d %H:%M} UTC" if row.expires_at else "revoked",
            )
        )
        if options["json"]:
            print_json(self, as_json(row) | {"token": text})
        else:
            self.stdout.write(text)
