"""Filters by what a conversation's messages are: one subquery a filter, through an index."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.db.models import Exists, OuterRef, Q
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from conversations.admin.filters import ChoiceFilter, FormFilter, TextFilter, day_field, start_of
from conversations.models import Message, Review, Role, Status, reads_as

_RATINGS = {"1": "Good", "-1": "Bad"}


def has_message(**columns: Any) -> Q:
    """Conversations of which one message has all of these.

    Where an index names few messages, by day, rating or trouble, they are looked up first
    (DISTINCT keeps the planner from asking each conversation in turn, which is slow where few
    fit). Else the newest conversations are asked one by one, which is fast where many fit, or
    an index is taken.
    """
    messages = Message.objects.filter(_condition(columns))
    if _names_few(columns):
        return Q(pk__in=messages.order_by().values("conversation_id").distinct())
    return Q(Exists(messages.filter(conversation_id=OuterRef("pk"))))


def _condition(columns: dict[str, Any]) -> Q:
    """`status` is the one that readers see."""
    stored = {name: value for name, value in columns.items() if name != "status"}
    return Q(**stored) & reads_as([columns["status"]]) if "status" in columns else Q(**stored)


def _names_few(columns: dict[str, Any]) -> bool:
    by_day = any(name.startswith("created_at") for name in columns)
    return (
        by_day or "rating" in columns or columns.get("status", Status.COMPLETE) != Status.COMPLETE
    )


class RoleFilter(ChoiceFilter):
    title, parameter, choices_offered = "message role", "role", dict(Role.choices)

    def condition_of(self, value: str) -> Q:
        return has_message(role=value)


class ToolFilter(TextFilter):
    title, parameter, lookup = "tool", "tool", "name"

    def condition(self, values: dict[str, Any]) -> Q:
        name = values[self.parameter]
        # As the index message_tool_calls_idx has it.
        calls = [{"function": {"name": name}}]
        return has_message(tool_calls__contains=calls) if name else Q()


class AnswerFilter(FormFilter):
    """All that is chosen here holds for one and the same message."""

    title = "message"

    @classmethod
    def fields(cls) -> dict[str, forms.Field]:
        return {
            "status": _choice("status", dict(Status.choices)),
            "rating": _choice("owner rating", _RATINGS),
            "provider": _text("provider"),
            "answer_model": _text("answer model"),
            "mode": _text("mode"),
            "said_from": day_field("message sent from"),
            "said_to": day_field("message sent to"),
        }

    def condition(self, values: dict[str, Any]) -> Q:
        columns: dict[str, Any] = {
            "status": values["status"],
            "rating": int(values["rating"]) if values["rating"] else None,
            "provider": values["provider"],
            "model": values["answer_model"],
            "detected_mode": values["mode"],
            "created_at__gte": values["said_from"] and start_of(values["said_from"]),
            "created_at__lt": values["said_to"] and start_of(values["said_to"] + timedelta(days=1)),
        }
        if values["provider"] or values["answer_model"]:
            # A provider is the column's default: only an answer truly has one.
            columns["role"] = Role.ASSISTANT
        chosen = {name: value for name, value in columns.items() if value not in ("", None)}
        return has_message(**chosen) if chosen else Q()


class ReviewedFilter(ChoiceFilter):
    """What staff think of a message; what its owner thinks is `rating`."""

    title, parameter, choices_offered = "review", "reviewed", _RATINGS

    def condition_of(self, value: str) -> Q:
        reviews = Review.objects.filter(score=int(value)).order_by().values("conversation_id")
        return Q(pk__in=reviews.distinct())


def _choice(label: str, choices: dict[str, str]) -> forms.ChoiceField:
    offered = [("", "All"), *choices.items()]
    widget = UnfoldAdminSelectWidget
    return forms.ChoiceField(label=label, choices=offered, required=False, widget=widget)


def _text(label: str) -> forms.CharField:
    return forms.CharField(label=label, required=False, widget=UnfoldAdminTextInputWidget)
