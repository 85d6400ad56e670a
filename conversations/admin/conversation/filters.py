"""The filters of the list: by what a conversation is, and by what one of its messages is."""

from __future__ import annotations

from typing import Any

from django.db.models import Exists, OuterRef, Q

from conversations.admin.filters import (
    Filter,
    choice_field,
    choice_filter,
    date_filter,
    day_field,
    days_between,
    text_field,
    text_filter,
    yes_no_filter,
)
from conversations.models import Message, Review, Role, Status, reads_as
from conversations.selectors import known_values

_RATINGS = {"1": "Good", "-1": "Bad"}


def has_message(**columns: Any) -> Q:
    """Conversations of which one message has all of these values.

    Where an index names few messages, by day, rating or a status other than `complete`, they are
    looked up first (DISTINCT keeps the planner from checking each conversation in turn, which is
    slow where few match). Else the newest conversations are checked one by one, which is fast
    where many match, or an index is taken.
    """
    messages = Message.objects.filter(_condition(columns))
    if _names_few(columns):
        return Q(pk__in=messages.order_by().values("conversation_id").distinct())
    return Q(Exists(messages.filter(user=OuterRef("user"), conversation=OuterRef("pk"))))


def _condition(columns: dict[str, Any]) -> Q:
    """`status` is the one that readers see."""
    stored = {name: value for name, value in columns.items() if name != "status"}
    return Q(**stored) & reads_as([columns["status"]]) if "status" in columns else Q(**stored)


def _names_few(columns: dict[str, Any]) -> bool:
    by_day = any(name.startswith("created_at") for name in columns)
    return (
        by_day or "rating" in columns or columns.get("status", Status.COMPLETE) != Status.COMPLETE
    )


def _is_tagged(tag: str) -> Q:
    # As the partial index conversation_tags_idx has it.
    return ~Q(tags=[]) & Q(tags__contains=[tag])


def _calls_tool(name: str) -> Q:
    # As the index message_tool_calls_idx has it.
    return has_message(tool_calls__contains=[{"function": {"name": name}}])


def _is_reviewed(score: str) -> Q:
    reviews = Review.objects.filter(score=int(score)).order_by().values("conversation_id")
    return Q(pk__in=reviews.distinct())


def _has_message_with(values: dict[str, Any]) -> Q:
    columns: dict[str, Any] = {
        "status": values["status"],
        "rating": int(values["rating"]) if values["rating"] else None,
        "provider": values["provider"],
        "model": values["answer_model"],
        "detected_mode": values["mode"],
    }
    if values["provider"] or values["answer_model"]:
        # The column has a default: only an answer truly has a provider.
        columns["role"] = Role.ASSISTANT
    chosen = {name: value for name, value in columns.items() if value not in ("", None)}
    chosen |= days_between("created_at", values["said_from"], values["said_to"])
    return has_message(**chosen) if chosen else Q()


# All that is chosen here holds for one and the same message.
_MESSAGE = Filter(
    {
        "status": choice_field("message status", dict(Status.choices)),
        "rating": choice_field("owner rating", _RATINGS),
        "provider": text_field("provider"),
        "answer_model": text_field("answer model"),
        "mode": text_field("mode"),
        "said_from": day_field("message sent from"),
        "said_to": day_field("message sent to"),
    },
    _has_message_with,
    {
        "provider": known_values.providers,
        "answer_model": known_values.answer_models,
        "mode": known_values.modes,
    },
)

FILTERS = [
    text_filter("owner", "owner", "user__username", known_values.usernames),
    text_filter("model", "model", "model_used", known_values.models),
    text_filter("source", "source", "source", known_values.sources),
    text_filter("tag", "tag", _is_tagged, known_values.tags),
    text_filter("external_id", "external id", "external_id"),
    yes_no_filter("pinned", "pinned", Q(pinned=True)),
    yes_no_filter("archived", "archived", Q(archived_at__isnull=False)),
    yes_no_filter("legal_hold", "legal hold", Q(legal_hold=True)),
    choice_filter("role", "message role", dict(Role.choices), lambda role: has_message(role=role)),
    text_filter("tool", "tool", _calls_tool, known_values.tools),
    _MESSAGE,
    choice_filter("reviewed", "review", _RATINGS, _is_reviewed),
    date_filter("updated", "updated", "updated_at"),
    date_filter("created", "created", "created_at"),
]
