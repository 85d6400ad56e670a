"""Filters of the lists, by django-filter: what may be asked, and the conditions it becomes.

drf-spectacular reads the query parameters of the OpenAPI page from them.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime
from typing import Any, ClassVar

from django import forms
from django.db.models import Exists, OuterRef, Q, QuerySet, TextChoices
from django.http import QueryDict
from django_filters.filters import (
    CharFilter,
    Filter,
    MultipleChoiceFilter,
    NumberFilter,
    TypedChoiceFilter,
)
from django_filters.filterset import FilterSet
from drf_spectacular.drainage import set_override
from rest_framework.exceptions import ErrorDetail, ValidationError

from conversations.api.times import BAD_TIME, moment_of
from conversations.models import Conversation, Message, Role, Status, reads_as
from conversations.services.validators import check_text

NEEDS_KEY = "Give `metadata_key` too."
EMPTY = "Give a value, or leave the filter out."
HIGHEST_SEQUENCE = 2**31 - 1


class DescribedFilter(Filter):
    """Tells drf-spectacular its JSON schema, with its help text as the description."""

    schema: ClassVar[dict[str, Any]] = {"type": "string"}

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # Left alone, drf-spectacular would take type and description from the model's field.
        set_override(self, "field", self.schema | {"description": self.description})

    @property
    def description(self) -> str:
        return str(self.extra.get("help_text", ""))


class AnyTextFilter(DescribedFilter, CharFilter):
    """A text that may be empty."""


class TextFilter(DescribedFilter, CharFilter):
    schema = {"type": "string", "pattern": r"\S"}


class SequenceFilter(DescribedFilter, NumberFilter):
    schema = {"type": "integer", "minimum": 0, "maximum": HIGHEST_SEQUENCE}
    field_class = forms.IntegerField  # type: ignore[assignment]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, min_value=0, max_value=HIGHEST_SEQUENCE, **options)


class MomentField(forms.CharField):
    def clean(self, value: Any) -> datetime | None:
        text = super().clean(value)
        try:
            return moment_of(text) if text else None
        except ValueError:
            raise forms.ValidationError(BAD_TIME) from None


class MomentFilter(DescribedFilter, CharFilter):
    schema = {"anyOf": [{"type": "string", "format": kind} for kind in ("date-time", "date")]}
    field_class = MomentField

    @property
    def description(self) -> str:
        bound = "from this time on" if self.lookup_expr == "gte" else "before this time"
        return f"Only what was {str(self.field_name).removesuffix('_at')} {bound} (ISO 8601)."


class YesNoFilter(DescribedFilter, TypedChoiceFilter):
    """`true` or `false`; django-filter's own takes anything else for no filter at all."""

    schema = {"type": "boolean"}

    def __init__(self, **options: Any) -> None:
        choices = [("true", "true"), ("false", "false")]
        coerce = "true".__eq__
        super().__init__(choices=choices, coerce=coerce, **options)


class SomeOfFilter(DescribedFilter, MultipleChoiceFilter):
    """One or more of the choices, the parameter repeated for each."""

    def __init__(self, *, choices: type[TextChoices], **options: Any) -> None:
        self.schema = {"type": "string", "enum": choices.values}  # type: ignore[misc]
        super().__init__(choices=choices.choices, help_text="May be repeated.", **options)


class Filters(FilterSet):
    """Base: turns what django-filter finds wrong into the API's errors.

    An empty value is an error too: django-filter would take it for no filter at all.
    """

    may_be_empty: ClassVar[Collection[str]] = ()

    @classmethod
    def names(cls) -> list[str]:
        return list(cls.base_filters)  # type: ignore[attr-defined]

    @classmethod
    def narrow(cls, query: QueryDict, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The queryset under the filters of a query string; ValidationError names bad ones."""
        for name in cls.names():
            for value in query.getlist(name):
                check_text(name, value)
                if not value.strip() and name not in cls.may_be_empty:
                    raise ValidationError({name: [ErrorDetail(EMPTY, "blank")]})
        given = cls(query, queryset)
        if not given.is_valid():
            raise ValidationError(
                {
                    name: [ErrorDetail(str(text), "invalid") for text in texts]
                    for name, texts in given.errors.items()
                }
            )
        narrowed: QuerySet[Any] = given.qs
        return narrowed

    @classmethod
    def asked(cls, query: QueryDict) -> list[str]:
        """The filters that a query string uses, in a fixed order."""
        return [name for name in cls.names() if name in query]


class ConversationFilters(Filters):
    may_be_empty = ("metadata_value",)
    title = TextFilter(lookup_expr="icontains", help_text="Part of the title.")
    model = TextFilter("model_used", help_text="The conversation's `model_used`, exactly.")
    archived = YesNoFilter(field_name="archived_at", lookup_expr="isnull", exclude=True)
    pinned = YesNoFilter()
    has_rating = YesNoFilter(method="by_rating", help_text="Whether any of its messages is rated.")
    created_after = MomentFilter("created_at", lookup_expr="gte")
    created_before = MomentFilter("created_at", lookup_expr="lt")
    updated_after = MomentFilter("updated_at", lookup_expr="gte")
    updated_before = MomentFilter("updated_at", lookup_expr="lt")
    metadata_key = TextFilter(
        method="by_metadata", help_text="A key at the top level of `metadata`."
    )
    metadata_value = AnyTextFilter(
        method="with_key",
        help_text="The value under `metadata_key`: a text, a number, true, false, null.",
    )

    class Meta:
        model = Conversation
        fields: list[str] = []

    def by_rating(
        self, queryset: QuerySet[Conversation], name: str, value: bool
    ) -> QuerySet[Conversation]:
        rated = Exists(Message.objects.filter(conversation_id=OuterRef("pk"), rating__isnull=False))
        return queryset.filter(rated if value else ~rated)

    def by_metadata(
        self, queryset: QuerySet[Conversation], name: str, key: str
    ) -> QuerySet[Conversation]:
        text = self.data.get("metadata_value")
        if text is None:
            return queryset.filter(metadata__has_key=key)
        condition = Q(metadata__contains={key: text})
        for value in _as_json(text):
            condition |= Q(metadata__contains={key: value})
        return queryset.filter(condition)

    def with_key(
        self, queryset: QuerySet[Conversation], name: str, value: str
    ) -> QuerySet[Conversation]:
        if not self.data.get("metadata_key"):
            raise ValidationError({name: [ErrorDetail(NEEDS_KEY, "invalid")]})
        return queryset


class MessageFilters(Filters):
    role = SomeOfFilter(choices=Role)
    status = SomeOfFilter(choices=Status, method="by_status")
    provider = TextFilter()
    model = TextFilter()
    mode = TextFilter("detected_mode", help_text="The message's `detected_mode`.")
    after_sequence = SequenceFilter(
        "sequence", lookup_expr="gt", help_text="Only messages with a higher sequence."
    )
    before_sequence = SequenceFilter(
        "sequence", lookup_expr="lt", help_text="Only messages with a lower sequence."
    )
    created_after = MomentFilter("created_at", lookup_expr="gte")
    created_before = MomentFilter("created_at", lookup_expr="lt")

    class Meta:
        model = Message
        fields: list[str] = []

    def by_status(
        self, queryset: QuerySet[Message], name: str, statuses: list[str]
    ) -> QuerySet[Message]:
        return queryset.filter(reads_as(statuses))


def _as_json(text: str) -> list[Any]:
    """What a text stands for as JSON: nothing, unless it is a number, boolean, null, …"""
    try:
        value = json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return []
    return [] if isinstance(value, str | dict | list) else [value]
