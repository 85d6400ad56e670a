"""Filters of the lists, by django-filter: query parameters, and the conditions they become.

drf-spectacular generates the query parameters of the OpenAPI schema from them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any, ClassVar, Self

from django import forms
from django.db.models import Exists, OuterRef, QuerySet, TextChoices
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

from conversations.api.times import BAD_TIME, TIME_SCHEMA, moment_of
from conversations.models import Conversation, Message, Role, Status, reads_as
from conversations.models.conversation import ConversationQuerySet
from conversations.services.validators import check_text

NEEDS_KEY = "Give `metadata_key` too."
NAME_A_KEY = "Name a key: `metadata[topic]=travel`."
# The parameter that holds keys, as OpenAPI's style deepObject writes them.
METADATA = "metadata"
EMPTY = "Give a value, or leave the filter out."
HIGHEST_SEQUENCE = 2**31 - 1


class _MomentField(forms.CharField):
    def clean(self, value: Any) -> datetime | None:
        text = super().clean(value)
        try:
            return moment_of(text) if text else None
        except ValueError:
            raise forms.ValidationError(BAD_TIME) from None


def described(given: Filter, description: str = "", **schema: Any) -> Filter:
    """The filter with its JSON schema and its description on the OpenAPI page, which
    drf-spectacular would take from the model's field."""
    text = description or str(given.extra.get("help_text", ""))
    set_override(given, "field", {"type": "string", **schema, "description": text})
    return given


def text_filter(column: str | None = None, **options: Any) -> Filter:
    return described(CharFilter(column, **options), pattern=r"\S")


def sequence_filter(lookup_expr: str, help_text: str) -> Filter:
    bounds = {"min_value": 0, "max_value": HIGHEST_SEQUENCE}
    given = NumberFilter("sequence", lookup_expr=lookup_expr, help_text=help_text, **bounds)
    given.field_class = forms.IntegerField  # type: ignore[assignment]
    return described(given, type="integer", minimum=0, maximum=HIGHEST_SEQUENCE)


def time_filter(column: str, lookup_expr: str) -> Filter:
    """From a time on (`gte`) or before it (`lt`)."""
    given = CharFilter(column, lookup_expr=lookup_expr)
    given.field_class = _MomentField
    bound = "from this time on" if lookup_expr == "gte" else "before this time"
    text = f"Only what was {column.removesuffix('_at')} {bound} (ISO 8601)."
    set_override(given, "field", TIME_SCHEMA | {"description": text})
    return given


def yes_no_filter(**options: Any) -> Filter:
    """`true` or `false`; django-filter's own takes anything else for no filter at all."""
    choices = [("true", "true"), ("false", "false")]
    given = TypedChoiceFilter(choices=choices, coerce="true".__eq__, **options)
    return described(given, type="boolean")


class _TextsField(forms.MultipleChoiceField):
    def valid_value(self, value: str) -> bool:
        return True


def texts_filter(help_text: str, **options: Any) -> Filter:
    """Any texts, the parameter repeated for each."""
    given = MultipleChoiceFilter(help_text=help_text, distinct=False, **options)
    given.field_class = _TextsField  # type: ignore[assignment]
    return described(given, minLength=1, pattern=r"\S")


class _KeysWidget(forms.Widget):
    """The values of `name[key]=value`, by key."""

    def value_from_datadict(self, data: Any, files: Any, name: str) -> dict[str, list[str]]:
        keys = filter(holds_key, parameters_of(data, name))
        return {key[len(name) + 1 : -1]: data.getlist(key) for key in keys}


class _KeysField(forms.Field):
    widget = _KeysWidget


def parameters_of(query: QueryDict, name: str) -> list[str]:
    """The parameters of a query string that this filter reads."""
    named = [name] if name in query else []
    return [*named, *sorted(filter(holds_key, query))] if name == METADATA else named


def holds_key(parameter: str) -> bool:
    """Whether it is one of `metadata[…]`."""
    return (
        parameter.startswith(f"{METADATA}[")
        and parameter.endswith("]")
        and len(parameter) > len(METADATA) + 2
    )


def keys_filter(**options: Any) -> Filter:
    given = Filter(**options)
    given.field_class = _KeysField
    return described(given, type="object")


def rating_filter(**options: Any) -> Filter:
    given = TypedChoiceFilter(choices=[("1", "1"), ("-1", "-1")], coerce=int, **options)
    return described(given, type="integer", enum=[1, -1])


def choices_filter(choices: type[TextChoices], **options: Any) -> Filter:
    """One or more of the choices, the parameter repeated for each."""
    given = MultipleChoiceFilter(
        choices=choices.choices,
        help_text="May be given several times.",
        distinct=False,  # no join repeats a row
        **options,
    )
    return described(given, enum=choices.values)


ByMark = Callable[[ConversationQuerySet], ConversationQuerySet]


class Filters(FilterSet):
    """Base: raises the API's errors for values that are not valid.

    An empty value is one too: django-filter would take it for no filter at all.
    """

    may_be_empty: ClassVar[Collection[str]] = ()

    @classmethod
    def names(cls) -> list[str]:
        return list(cls.base_filters)  # type: ignore[attr-defined]

    @classmethod
    def narrow(cls, query: QueryDict, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The queryset under the filters of a query string; ValidationError names bad ones."""
        narrowed: QuerySet[Any] = cls.checked(query, queryset).qs
        return narrowed

    @classmethod
    def checked(cls, query: QueryDict, queryset: QuerySet[Any]) -> Self:
        """The filters of a query string; ValidationError names bad ones."""
        if METADATA in query:
            raise ValidationError({METADATA: [ErrorDetail(NAME_A_KEY, "invalid")]})
        for name in cls.names():
            for key in parameters_of(query, name):
                cls._check(name, key, query.getlist(key))
        given = cls(query, queryset)
        if not given.is_valid():
            raise ValidationError(
                {
                    name: [ErrorDetail(str(text), "invalid") for text in texts]
                    for name, texts in given.errors.items()
                }
            )
        return given

    @classmethod
    def _check(cls, name: str, parameter: str, values: list[str]) -> None:
        check_text(name, parameter)
        for value in values:
            check_text(name, value)
            if not value.strip() and name not in cls.may_be_empty:
                raise ValidationError({name: [ErrorDetail(EMPTY, "blank")]})

    @classmethod
    def asked(cls, query: QueryDict) -> list[str]:
        """The parameters of a query string that filter, in a fixed order."""
        return [key for name in cls.names() for key in parameters_of(query, name)]


class MarkFilters(Filters):
    """By what applications mark conversations with: their tags and metadata."""

    may_be_empty = ("metadata", "metadata_value")
    tag = texts_filter(
        "One of the conversation's tags. Given several times, it has all of them.", method="by_tag"
    )
    metadata = keys_filter(method="by_values")
    metadata_key = text_filter(
        method="by_metadata", help_text="A key at the top level of the conversation's `metadata`."
    )
    metadata_value = described(
        CharFilter(
            method="with_key",
            help_text="The value under `metadata_key`: a text, a number, true, false, null.",
        )
    )

    def of_conversations(self, queryset: Any, narrowed: ByMark) -> Any:
        """The rows whose conversation is left by `narrowed`."""
        return narrowed(queryset)

    def by_tag(self, queryset: Any, name: str, tags: list[str]) -> Any:
        trimmed = [tag.strip() for tag in tags]
        return self.of_conversations(queryset, lambda rows: rows.tagged(trimmed))

    def by_values(self, queryset: Any, name: str, values: dict[str, list[str]]) -> Any:
        for key, texts in values.items():
            for text in texts:
                queryset = self._with_value(queryset, key, text)
        return queryset

    def by_metadata(self, queryset: Any, name: str, key: str) -> Any:
        text = self.data.get("metadata_value")
        if text is None:
            return self.of_conversations(queryset, lambda rows: rows.filter(metadata__has_key=key))
        return self._with_value(queryset, key, text)

    def with_key(self, queryset: Any, name: str, value: str) -> Any:
        if not self.data.get("metadata_key"):
            raise ValidationError({name: [ErrorDetail(NEEDS_KEY, "invalid")]})
        return queryset

    def _with_value(self, queryset: Any, key: str, text: str) -> Any:
        values = [text, *_as_json(text)]
        return self.of_conversations(queryset, lambda rows: rows.with_metadata(key, values))


class ConversationFilters(MarkFilters):
    title = text_filter(lookup_expr="icontains", help_text="Part of the title.")
    model = text_filter("model_used", help_text="The conversation's `model_used`, exactly.")
    external_id = text_filter(help_text="The conversation's `external_id`, exactly.")
    archived = yes_no_filter(field_name="archived_at", lookup_expr="isnull", exclude=True)
    pinned = yes_no_filter()
    has_rating = yes_no_filter(
        method="by_any_rating", help_text="Whether any of its messages is rated."
    )
    rating = rating_filter(method="by_rating", help_text="The rating of one of its messages.")
    min_rating = rating_filter(
        method="by_min_rating",
        help_text="Some of its messages are rated, and none of them lower than this.",
    )
    mode = text_filter(method="by_mode", help_text="The `detected_mode` of one of its messages.")
    created_after = time_filter("created_at", "gte")
    created_before = time_filter("created_at", "lt")
    updated_after = time_filter("updated_at", "gte")
    updated_before = time_filter("updated_at", "lt")

    def by_any_rating(
        self, queryset: QuerySet[Conversation], name: str, value: bool
    ) -> QuerySet[Conversation]:
        rated = _has_message(rating__isnull=False)
        return queryset.filter(rated if value else ~rated)

    def by_rating(
        self, queryset: QuerySet[Conversation], name: str, rating: int
    ) -> QuerySet[Conversation]:
        return queryset.filter(_has_message(rating=rating))

    def by_min_rating(
        self, queryset: QuerySet[Conversation], name: str, rating: int
    ) -> QuerySet[Conversation]:
        rated = queryset.filter(_has_message(rating__isnull=False))
        return rated.exclude(_has_message(rating__lt=rating))

    def by_mode(
        self, queryset: QuerySet[Conversation], name: str, mode: str
    ) -> QuerySet[Conversation]:
        return queryset.filter(_has_message(detected_mode=mode))


class MessageColumnFilters(Filters):
    """By what a message is, wherever it stands."""

    role = choices_filter(Role)
    status = choices_filter(Status, method="by_status")
    provider = text_filter()
    model = text_filter()
    rating = rating_filter(help_text="The message's own rating.")
    mode = text_filter("detected_mode", help_text="The message's `detected_mode`.")
    created_after = time_filter("created_at", "gte")
    created_before = time_filter("created_at", "lt")

    def by_status(
        self, queryset: QuerySet[Message], name: str, statuses: list[str]
    ) -> QuerySet[Message]:
        return queryset.filter(reads_as(statuses))


class MessageFilters(MessageColumnFilters):
    after_sequence = sequence_filter("gt", "Only messages with a higher sequence.")
    before_sequence = sequence_filter("lt", "Only messages with a lower sequence.")


class AnyMessageFilters(MessageColumnFilters, MarkFilters):
    """Of messages in whichever conversation; tags and metadata are the conversation's."""

    def of_conversations(self, queryset: Any, narrowed: ByMark) -> Any:
        conversation = Conversation.objects.owned_by(OuterRef("user"))
        return queryset.filter(Exists(narrowed(conversation.filter(pk=OuterRef("conversation")))))


def _has_message(**columns: Any) -> Exists:
    messages = Message.objects.filter(user=OuterRef("user"), conversation=OuterRef("pk"))
    return Exists(messages.filter(**columns))


def _as_json(text: str) -> list[Any]:
    """The value of a text that is a JSON number, boolean or null; nothing of any other."""
    try:
        value = json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return []
    return [] if isinstance(value, str | dict | list) else [value]
