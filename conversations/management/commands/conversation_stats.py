"""`conversation_stats`: how much is stored and used, by day and model."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from datetime import datetime, time, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Sum
from django.utils import timezone
from django.utils.dateparse import parse_date

from conversations.management.arguments import (
    USAGE_ERROR,
    add_epilog,
    add_json_argument,
    print_json,
)
from conversations.management.table import print_table
from conversations.models import Conversation, Message, Role
from conversations.models.conversation_count import ConversationCount
from conversations.models.unstored_turn import UnstoredTurn
from conversations.selectors.statistics import totals_since
from conversations.selectors.usage import total_of, usage_between
from conversations.services.errors import ServiceError
from conversations.services.users import find_user

NO_SUCH_USER = "There is no user {name!r}."
NOT_A_TIME = "a number of days such as 30d, or a date such as 2026-01-31, not in the future"
MAX_DAYS = 36_500
MAX_ROWS = 100_000

EPILOG = """
Days are those of the setting TIME_ZONE. Tokens, cost and turns include those of questions with
`store: false`; messages, ratings and times do not. A turn is a question; with tools, it may have
several answers.
Exit status: 0, or 2 for arguments that are wrong.

Examples:
  manage.py conversation_stats
  manage.py conversation_stats --since 7d --user alice
  manage.py conversation_stats --since 2026-01-01 --json | jq .models
"""


def _since(text: str) -> datetime:
    """The begin of a day."""
    now = timezone.localtime()
    if re.fullmatch(r"[0-9]{1,5}d", text) and int(text[:-1]) <= MAX_DAYS:
        day = now.date() - timedelta(days=int(text[:-1]))
    else:
        try:
            found = parse_date(text)
        except ValueError:
            found = None
        if found is None or found > now.date():
            raise ArgumentTypeError(NOT_A_TIME)
        day = found
    return timezone.make_aware(datetime.combine(day, time()))


class Command(BaseCommand):
    help = "Show how many conversations, messages, turns and tokens there are, and what they cost."

    def add_arguments(self, parser: CommandParser) -> None:
        add_epilog(parser, EPILOG)
        parser.add_argument(
            "--since", type=_since, default="30d", help="a date, or days such as 7d; default: 30d"
        )
        parser.add_argument("--user", help="only the conversations of the user of this name")
        parser.add_argument("--namespace", default="", help="the namespace of the user, if any")
        add_json_argument(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        owner = _owner(options["user"], options["namespace"])
        figures = _figures(options["since"], owner)
        if options["json"]:
            print_json(self, figures)
        else:
            self._print(figures)

    def _print(self, figures: dict[str, Any]) -> None:
        of = f"of {figures['user']}" if figures["user"] else "of all users"
        self.stdout.write(f"Since {figures['since']:%Y-%m-%d}, {of}\n\n")
        print_table(self, None, [(_words(name), _cell(figures[name])) for name in _SHOWN])
        for name, columns in _TABLES.items():
            if figures[name]:
                self.stdout.write("")
                rows = [[_cell(row[column]) for column in columns] for row in figures[name]]
                print_table(self, [_words(column) for column in columns], rows)


_SHOWN = (
    *("conversations", "new_conversations", "messages", "users", "turns", "answers", "failed"),
    *("good", "bad", "latency_ms", "first_token_ms"),
    *("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens", "cost"),
)
_TOKENS = ("prompt_tokens", "completion_tokens", "cost")
_TABLES = {
    "models": ("provider", "model", "answers", *_TOKENS),
    "days": ("day", "messages", "turns", *_TOKENS),
}


def _owner(name: str | None, namespace: str) -> Any:
    if name is None:
        return None
    try:
        owner = find_user(name, namespace=namespace)
    except ServiceError as error:
        raise CommandError(f"--user: {error.detail}", returncode=USAGE_ERROR) from error
    if owner is None:
        raise CommandError(NO_SUCH_USER.format(name=name), returncode=USAGE_ERROR)
    return owner


def _figures(since: datetime, owner: Any) -> dict[str, Any]:
    """Pairs of milliseconds are [median, 95th percentile]."""
    now = timezone.now()
    messages, unstored = Message.objects.all(), UnstoredTurn.objects.all()
    conversations, kept = Conversation.objects.all(), ConversationCount.objects.all()
    if owner is not None:
        messages, unstored = messages.filter(user=owner), unstored.filter(user=owner)
        conversations, kept = conversations.owned_by(owner.pk), kept.filter(user=owner)
    days = usage_between([messages, unstored], since, now, ["day"], MAX_ROWS)
    answers = messages.filter(role=Role.ASSISTANT)
    models = usage_between([answers, unstored], since, now, ["model"], MAX_ROWS)
    for row in models:  # of what is not stored, a turn counts as one
        row["answers"] = row.pop("messages") + row.pop("turns")
    models.sort(key=lambda row: -row["answers"])
    totals = totals_since(since, owner and owner.pk)
    return {
        "since": since,
        "until": now,
        "user": owner and owner.username,
        "conversations": kept.aggregate(number=Sum("number", default=0))["number"],
        "new_conversations": conversations.filter(created_at__gte=since).count(),
        "latency_ms": totals.pop("latency"),
        "first_token_ms": totals.pop("first_token"),
        **total_of(days),
        **totals,
        "currency": settings.CHAT_COST_CURRENCY,
        "models": models,
        "days": days,
    }


def _words(name: str) -> str:
    return name.replace("_", " ").upper()


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, list):
        return " / ".join("-" if one is None else f"{one:,.0f}" for one in value)
    if isinstance(value, Decimal):
        return f"{value:,.4f} {settings.CHAT_COST_CURRENCY}"
    return f"{value:,}" if isinstance(value, int) else str(value)
