"""Messages, tokens and cost over HTTP: /api/usage."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from conversations.api import parameters
from conversations.api.fields import CostField, UserIdField
from conversations.api.queries import messages_of_user, visible_messages
from conversations.api.times import TIME_SCHEMA, time_of
from conversations.api.views import ApiViewSet
from conversations.db.bulk_rows import Row
from conversations.models import Message, UnstoredTurn
from conversations.selectors.usage import COUNTS, GROUPS, total_of, usage_between
from conversations.services import owner_to_read
from conversations.services.users import EVERYBODY, check_everybody

DEFAULT_DAYS, MAX_DAYS, MAX_ROWS = 30, 366, 10_000
BAD_GROUP = f"One or more of {', '.join(GROUPS)}, separated by commas."
EMPTY_RANGE = "The range ends before it begins."
LONG_RANGE = f"The range may be at most {MAX_DAYS} days long."
MANY_ROWS = f"More than {MAX_ROWS:,} rows: choose a shorter range, or group by less."

_FIGURES: dict[str, Any] = {
    "messages": serializers.IntegerField(),
    "turns": serializers.IntegerField(help_text="Messages of users, each of which begins a turn."),
    "prompt_tokens": serializers.IntegerField(help_text="As far as messages tell, as all below."),
    "completion_tokens": serializers.IntegerField(),
    "cached_tokens": serializers.IntegerField(help_text="Of the prompt tokens."),
    "reasoning_tokens": serializers.IntegerField(help_text="Of the completion tokens."),
    "cost": CostField(help_text="In `cost_currency`; null where no message has one."),
}
_ROW: dict[str, Any] = {
    "day": serializers.DateField(required=False, help_text="If grouped by day."),
    "user_id": UserIdField(required=False, help_text="The owner, if grouped by user."),
    "provider": serializers.CharField(required=False, help_text="If grouped by model."),
    "model": serializers.CharField(
        required=False, help_text="If grouped by model; empty for what people and tools said."
    ),
    **_FIGURES,
}
_RESPONSE = inline_serializer(
    "UsageReport",
    {
        "usage": inline_serializer("UsageRow", _ROW, many=True),
        "total": inline_serializer("UsageTotal", _FIGURES),
        "created_after": serializers.DateTimeField(),
        "created_before": serializers.DateTimeField(),
        "time_zone": serializers.CharField(help_text="Of the days."),
        "cost_currency": serializers.CharField(),
    },
)
_PARAMETERS = [
    parameters.USER_ID,
    OpenApiParameter(
        "group_by",
        {
            "type": "array",
            "items": {"type": "string", "enum": list(GROUPS)},
            "minItems": 1,
            "uniqueItems": True,
        },
        style="form",
        explode=False,
        description="Default: `day`.",
    ),
    OpenApiParameter(
        "created_after",
        TIME_SCHEMA,
        description=f"Messages created from this time on; {DEFAULT_DAYS} days before the end.",
    ),
    OpenApiParameter(
        "created_before",
        TIME_SCHEMA,
        description=f"Messages created before this time; now. At most {MAX_DAYS} days in all.",
    ),
]


@extend_schema(tags=["usage"])
class UsageViewSet(ApiViewSet):
    queryset = Message.objects.none()
    serializer_class = type(_RESPONSE)
    query_names = {"list": {"user_id", "group_by", "created_after", "created_before"}}
    read_on_replicas = ("list",)

    @extend_schema(
        operation_id="usage",
        summary="Messages, tokens and cost by day, user and model",
        description=(
            "Of the messages that are stored; those of deleted conversations do not count. A "
            f"combination without messages has no row; at most {MAX_ROWS:,} rows, else 400."
        ),
        parameters=_PARAMETERS,
        responses=_RESPONSE,
    )
    def list(self, request: Request) -> Response:
        groups = _groups(request.query_params.get("group_by"))
        after, before = _range(request)
        counted = self._counted(request.query_params.get("user_id"))
        rows = usage_between(counted, after, before, groups, MAX_ROWS + 1)
        if len(rows) > MAX_ROWS:
            raise ValidationError({"group_by": [ErrorDetail(MANY_ROWS, "too_many")]})
        return Response(
            {
                "usage": [self._shown(row) for row in rows],
                "total": total_of(rows),
                "created_after": after,
                "created_before": before,
                "time_zone": settings.TIME_ZONE,
                "cost_currency": settings.CHAT_COST_CURRENCY,
            }
        )

    def _counted(self, user: str | None) -> tuple[QuerySet[Any], ...]:
        """Whose messages and unstored turns to count. A look of staff at others' leaves its
        record."""
        detail = {"usage": True}
        if user == EVERYBODY:
            check_everybody(self.access, detail=detail)
            return visible_messages(self.access), UnstoredTurn.objects.visible_to(self.access)
        owner = owner_to_read(self.access, user, detail=detail)
        return messages_of_user(owner), UnstoredTurn.objects.filter(user=owner)

    def _shown(self, row: Row) -> Row:
        shown = {"user_id": self.caller.name_of(row["user"])} if "user" in row else {}
        names = ("day", "provider", "model")
        shown |= {name: row[name] for name in names if name in row}
        return shown | {name: row[name] for name in (*COUNTS, "cost")}


def _groups(text: str | None) -> list[str]:
    """The groups named, in the order of GROUPS."""
    named = ["day"] if text is None else text.split(",")
    if len(set(named)) != len(named) or not set(named) <= GROUPS.keys():
        raise ValidationError({"group_by": [ErrorDetail(BAD_GROUP, "invalid_choice")]})
    return [group for group in GROUPS if group in named]


def _range(request: Request) -> tuple[datetime, datetime]:
    query = request.query_params
    before = time_of(query.get("created_before"), "created_before") or timezone.now()
    after = time_of(query.get("created_after"), "created_after")
    if after is None:
        first = datetime.min.replace(tzinfo=UTC) + timedelta(days=DEFAULT_DAYS)
        after = max(before, first) - timedelta(days=DEFAULT_DAYS)
    if after > before:
        raise ValidationError({"created_after": [ErrorDetail(EMPTY_RANGE, "empty_range")]})
    if before - after > timedelta(days=MAX_DAYS):
        raise ValidationError({"created_after": [ErrorDetail(LONG_RANGE, "long_range")]})
    return after, before
