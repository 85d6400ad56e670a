"""The feed of changes over HTTP: /api/changes."""

from __future__ import annotations

from functools import partial
from typing import Any, Final, Literal

from django.http.response import HttpResponseBase
from drf_spectacular.utils import (
    OpenApiResponse,
    extend_schema,
    extend_schema_view,
    inline_serializer,
)
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import (
    ChoiceField,
    DateTimeField,
    IntegerField,
    ListField,
    URLField,
    UUIDField,
)

from conversations.api import parameters
from conversations.api.fields import UserIdField
from conversations.api.pagination import url_with
from conversations.api.serializers import ErrorSerializer
from conversations.api.views import ApiViewSet, whole_number_of
from conversations.api.waiting import answer_later
from conversations.chat.runtime.watched_changes import wait_for_changes
from conversations.db.bulk_rows import Row
from conversations.models import ChangeKind, Conversation
from conversations.models.user_names import LARGEST_EXACT_NUMBER, name_of
from conversations.selectors.changes import (
    NOBODYS,
    ChangeScope,
    FoundChange,
    changes_of_everybody,
    changes_of_owner,
)
from conversations.services import owner_to_read
from conversations.services.changes import ChangePage, end_of_feed, read_changes
from conversations.services.users import EVERYBODY, check_everybody

# The value of `after` for the end of the feed.
NOW: Final = "now"
DEFAULT_SIZE, MAX_SIZE = 200, 1_000
MAX_WAIT_SECONDS = 30
BAD_AFTER = f"A whole number, taken from `next_cursor` or `cursor`, or `{NOW}`."

_CHANGE: dict[str, Any] = {
    "cursor": IntegerField(help_text="Its place: `after` this number the feed goes on behind it."),
    "type": ChoiceField(choices=ChangeKind.choices),
    "user_id": UserIdField(allow_null=True, help_text="The owner; null where they were erased."),
    "conversation_id": UUIDField(),
    "message_ids": ListField(
        child=UUIDField(),
        help_text=(
            "In order. Of created messages those that still exist; empty for `conversation.…`."
        ),
    ),
    "first_sequence": IntegerField(allow_null=True, help_text="Of these messages."),
    "last_sequence": IntegerField(allow_null=True),
    "at": DateTimeField(help_text="When it was written."),
}
_RESPONSE = inline_serializer(
    "Changes",
    {
        "changes": inline_serializer("Change", _CHANGE, many=True),
        "next": URLField(help_text="Where the feed goes on; never null."),
        "next_cursor": IntegerField(help_text="The `after` of `next`."),
    },
)


@extend_schema_view(
    list=extend_schema(
        operation_id="changes",
        summary="What was created, changed and deleted, in order",
        description=(
            "For trusted clients and staff. Each change appears once, after everything that was "
            "read before. Content is not in it: read the conversation or its messages."
        ),
        parameters=parameters.CHANGES,
        responses={
            200: _RESPONSE,
            410: OpenApiResponse(
                ErrorSerializer,
                description=(
                    "The feed does not reach back to this cursor (`changes_removed`), or not up "
                    "to it (`unknown_cursor`): read the lists again."
                ),
            ),
        },
    )
)
@extend_schema(tags=["changes"])
class ChangesViewSet(ApiViewSet):
    queryset = Conversation.objects.none()
    serializer_class = type(_RESPONSE)
    query_names = {"list": ["after", "user_id", "wait", "page_size"]}

    def list(self, request: Request) -> HttpResponseBase:
        size = whole_number_of(
            request, "page_size", default=DEFAULT_SIZE, minimum=1, maximum=MAX_SIZE
        )
        seconds = whole_number_of(request, "wait", default=0, maximum=MAX_WAIT_SECONDS)
        given = _cursor_of(request)
        scope = self._scope(request.query_params.get("user_id", EVERYBODY))
        after = end_of_feed() if given == NOW else given
        page = read_changes(scope=scope, after=after, limit=size)
        if page.changes or not seconds:
            return self._shown(page)
        wait = partial(wait_for_changes, scope=scope, page=page, limit=size, seconds=seconds)
        return answer_later(self, wait, self._shown)

    def _shown(self, page: ChangePage) -> Response:
        return Response(
            {
                "changes": [_shown(change, self.caller.namespace) for change in page.changes],
                "next": url_with(self.request, "after", str(page.next_position)),
                "next_cursor": page.next_position,
            }
        )

    def _scope(self, user: str) -> ChangeScope:
        """Whose changes. A read of staff leaves its AccessRecord."""
        detail = {"changes": True}
        if user == EVERYBODY or not self.caller.may_read_any:
            check_everybody(self.access, detail=detail)
            return changes_of_everybody(self.caller)
        owner = owner_to_read(self.access, user, detail=detail)
        return NOBODYS if owner is None else changes_of_owner(owner.pk)


def _cursor_of(request: Request) -> int | Literal["now"] | None:
    text = request.query_params.get("after")
    if text is None:
        return None
    if text == NOW:
        return NOW
    return whole_number_of(request, "after", maximum=LARGEST_EXACT_NUMBER, problem=BAD_AFTER)


def _shown(change: FoundChange, namespace: str) -> Row:
    return {
        "cursor": change.position,
        "type": change.kind,
        "user_id": None if change.username is None else name_of(change.username, namespace),
        "conversation_id": change.conversation_id,
        "message_ids": change.message_ids,
        "first_sequence": change.first_sequence,
        "last_sequence": change.last_sequence,
        "at": change.created_at,
    }
