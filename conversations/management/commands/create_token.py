"""`create_token`: an API token for a user; standard output is the token alone."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from conversations.services.audit import SCRIPT
from conversations.services.errors import InvalidValue, ServiceError
from conversations.services.tokens import (
    NAMESPACE_WITHOUT_TRUST,
    create_token,
    lifetime_of,
)
from conversations.services.users import find_or_create_user, similar_names

USAGE_ERROR = 2
MADE = "Token for {name}{rights}, valid until {until}. It is shown only this once."
STAFF = (
    "{name} is a staff account. What its trusted token does with other people's conversations "
    "leaves access records; an account of its own for the application is better."
)
SIMILAR = "There are users whose names differ from {name} in case alone: {names}."


class Command(BaseCommand):
    help = "Make an API token and print it; only its hash is stored."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", metavar="USER", help="username; made if there is none")
        parser.add_argument(
            "--trusted",
            action="store_true",
            help="this token acts for an application's users: reads and writes their chats",
        )
        parser.add_argument(
            "--namespace",
            default="",
            help="with --trusted: the token's users are those of this namespace, so that their "
            "names mean nobody else",
        )
        parser.add_argument("--name", default="", help="what the token is for, to tell it by")
        parser.add_argument(
            "--days", type=int, help="how long it is valid (the setting TOKEN_DAYS if not given)"
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
            MADE.format(
                name=user.username,
                rights=f"{rights} of the namespace {namespace}" if namespace else rights,
                until=f"{row.expires_at:%Y-%m-%d %H:%M} UTC" if row.expires_at else "revoked",
            )
        )
        self.stdout.write(text)
