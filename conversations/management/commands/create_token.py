"""`create_token`: an API token for a user; standard output is the token alone."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from conversations.services.errors import ServiceError
from conversations.services.tokens import create_token

USAGE_ERROR = 2
MADE = "Token for {name} (user {number}){trusted}, valid until {until}. It is shown only this once."


class Command(BaseCommand):
    help = "Make an API token and print it; only its hash is stored."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", metavar="USER", help="number or name; made if there is none")
        parser.add_argument(
            "--trusted",
            action="store_true",
            help="let the user act for any user: read and write all conversations over the API",
        )
        parser.add_argument(
            "--days", type=int, help="how long it is valid (the setting TOKEN_DAYS if not given)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            row, text = create_token(
                user_id=options["user"], trusted=options["trusted"], days=options["days"]
            )
        except ServiceError as error:
            raise CommandError(error.detail, returncode=USAGE_ERROR) from error
        self.stderr.write(
            MADE.format(
                name=row.user.username,
                number=row.user.pk,
                trusted=", a trusted client" if options["trusted"] else "",
                until=f"{row.expiry:%Y-%m-%d %H:%M} UTC" if row.expiry else "revoked",
            )
        )
        self.stdout.write(text)
