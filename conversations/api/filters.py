"""Filters of the lists, by django-filter: what may be asked, and the conditions it becomes."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime
from typing import Any, ClassVar

from django import forms
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import QueryDict
from django_filters.filters import (
    CharFilter,
    MultipleChoiceFilter,
    NumberFilter,
    TypedChoiceFilter,
)
from django_filters.filterset import FilterSet
from rest_framework.exceptions import ErrorDetail, ValidationError

from conversations.api.times import BAD_TIME, moment_of
from conversations.models import Conversation, Message, Role, Status, reads_as
from conversations.services.validators import check_text

NEEDS_KEY = "Give `metadata_key` too."
EMPTY = "Give a value, or leave the filter out."
SEQUENCE = {"min_value": 0, "max_value": 2**31 - 1}


class WholeNumberFilter(NumberFilter):
    field_class = forms.IntegerField  # type: ignore[assignment]


class MomentField(forms.CharField):
    def clean(self, value: Any) -> datetime | None:
        text = super().clean(value)
        try:
            return moment_of(text) if text else None
        except ValueError:
            raise forms.ValidationError(BAD_TIME) from None


class MomentFilter(CharFilter):
    field_class = MomentField


class YesNoFilter(TypedChoiceFilter):
    """`true` or `false`; django-filter's own takes anything else for no filter at all."""

    def __init__(self, **options: Any) -> None:
        choices = [("true", "true"), ("false", "false")]
        coerce = "true".__eq__
        super().__init__(choices=choices, coerce=coerce, **options)


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
    title = CharFilter(lookup_expr="icontains", help_text="Part of the title.")
    model = CharFilter("model_used", help_text="The model, exactly.")
    archived = YesNoFilter(field_name="archived_at", lookup_expr="isnull", exclude=True)
    pinned = YesNoFilter()
    has_rating = YesNoFilter(method="by_rating", help_text="Whether any message is rated.")
    created_after = MomentFilter("created_at", lookup_expr="gte")
    created_before = MomentFilter("created_at", lookup_expr="lt")
    updated_after = MomentFilter("updated_at", lookup_expr="gte")
    updated_before = MomentFilter("updated_at", lookup_expr="lt")
    metadata_key = CharFilter(
        method="by_metadata", help_text="A key at the top level of `metadata`."
    )
    metadata_value = CharFilter(
        method="with_key", help_text="Its value: a text, or a value as JSON."
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
    role = MultipleChoiceFilter(choices=Role.choices, help_text="May be repeated.")
    status = MultipleChoiceFilter(
        choices=Status.choices, method="by_status", help_text="May be repeated."
    )
    provider = CharFilter()
    model = CharFilter()
    mode = CharFilter("detected_mode")
    after_sequence = WholeNumberFilter("sequence", lookup_expr="gt", **SEQUENCE)
    before_sequence = WholeNumberFilter("sequence", lookup_expr="lt", **SEQUENCE)
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
