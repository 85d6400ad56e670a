"""GET /v1/chat/completions and what follows from one: answers that are recorded, read again."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from typing import Any, ClassVar

from django.db.models import Q
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from conversations.api.filters import METADATA, holds_key
from conversations.api.openai import completion_shapes as shapes
from conversations.api.openai.ids import uuid_in
from conversations.api.openai.listing import NAMES, limit_of, page
from conversations.api.openai.owners import HEADER, check_owner, name_of_owner
from conversations.api.openai.shapes import AFTER, LISTING, OWNER_HEADER
from conversations.api.openai.views import OpenAIViewSet
from conversations.api.views import choice_of, read_body
from conversations.formats.chat_completion import completion_of, stored_message_of
from conversations.models import AccessAction, Message, Role
from conversations.selectors.completions import completion_row, completion_rows, rows_asked
from conversations.selectors.turn_log import find_message
from conversations.services import NotFound, delete_message, owner_of, owner_to_read, update_message
from conversations.services.validators import check_text

NO_SUCH_COMPLETION = "No such chat completion."
NO_SUCH_MESSAGE = "No such message before this completion."

_LISTING = [
    LISTING[0],
    OpenApiParameter("order", {"type": "string", "enum": ["asc", "desc"], "default": "asc"}),
]

Json = dict[str, Any]
Row = dict[str, Any]


@extend_schema(tags=["openai"])
class StoredCompletionViewSet(OpenAIViewSet):
    """The base of that which makes them, on the same routes."""

    queryset = Message.objects.none()
    query_names: ClassVar[dict[str, Collection[str]]] = {
        "list": {*NAMES, "model", METADATA},
        "messages": NAMES,
    }
    read_on_replicas = ("list",)

    @extend_schema(
        operation_id="openai_chat_completions_list",
        summary="Recorded answers, by time",
        parameters=[OWNER_HEADER, AFTER, *_LISTING, shapes.MODEL, shapes.METADATA],
        responses=shapes.CompletionListSerializer,
    )
    def list(self, request: Request) -> Response:
        owner = owner_to_read(
            self.access, name_of_owner(request, self.access), field=HEADER, detail={"list": True}
        )
        limit, descending = limit_of(request), _descends(request)
        if model := request.query_params.get("model"):
            check_text("model", model)
        rows = completion_rows(
            -1 if owner is None else owner.pk,
            model=model,
            metadata=_metadata_of(request),
            after=_after(request, NO_SUCH_COMPLETION),
            descending=descending,
            limit=limit + 1,
        )
        if rows is None:
            raise NotFound(NO_SUCH_COMPLETION, field="after")
        return _page([completion_of(row) for row in rows], limit)

    @extend_schema(
        operation_id="openai_chat_completions_retrieve",
        summary="One of them",
        parameters=[OWNER_HEADER],
        responses=shapes.StoredCompletionSerializer,
    )
    def retrieve(self, request: Request, completion_id: str) -> Response:
        return Response(completion_of(self._found(completion_id)[1]))

    @extend_schema(
        operation_id="openai_chat_completions_messages",
        summary="The messages that it was an answer to",
        parameters=[OWNER_HEADER, AFTER, *_LISTING],
        responses=shapes.CompletionMessageListSerializer,
    )
    def messages(self, request: Request, completion_id: str) -> Response:
        owner_id, row = self._found(completion_id)
        limit = limit_of(request)
        rows = rows_asked(
            owner_id,
            row["conversation_id"],
            (row["branch"], row["sequence"]),
            after=_after(request, NO_SUCH_MESSAGE),
            descending=_descends(request),
            limit=limit + 1,
        )
        if rows is None:
            raise NotFound(NO_SUCH_MESSAGE, field="after")
        return _page([stored_message_of(one) for one in rows], limit)

    @extend_schema(
        operation_id="openai_chat_completions_update",
        summary="Replace its metadata",
        parameters=[OWNER_HEADER],
        request=shapes.CompletionChangesSerializer,
        responses=shapes.StoredCompletionSerializer,
    )
    def update(self, request: Request, completion_id: str) -> Response:
        message = self._named(completion_id)
        changes = read_body(request, shapes.CompletionChangesSerializer)
        update_message(
            conversation_id=message.conversation_id,
            message_id=message.id,
            changes={"metadata": changes["metadata"] or {}},
            access=self.access,
        )
        return Response(completion_of(_row(message)))

    @extend_schema(
        operation_id="openai_chat_completions_destroy",
        summary="Delete the message of the answer",
        parameters=[OWNER_HEADER],
        responses={200: shapes.CompletionDeletedSerializer},
    )
    def destroy(self, request: Request, completion_id: str) -> Response:
        message = self._named(completion_id)
        delete_message(
            conversation_id=message.conversation_id, message_id=message.id, access=self.access
        )
        name = f"chatcmpl-{message.id.hex}"
        return Response({"id": name, "object": "chat.completion.deleted", "deleted": True})

    def _found(self, completion_id: str) -> tuple[int, Row]:
        """The owner and the row of a completion that the path names and the caller may read."""
        message = self._named(completion_id)
        detail = {"message": str(message.id)}
        owner_of(self.access, message.conversation_id, action=AccessAction.READ, detail=detail)
        return message.user_id, _row(message)

    def _named(self, completion_id: str) -> Message:
        id_ = uuid_in(completion_id)
        named = Q(id=id_, role=Role.ASSISTANT) & ~Q(provider="")
        message = None if id_ is None else find_message(named, access=self.access)
        if message is None:
            raise NotFound(NO_SUCH_COMPLETION)
        check_owner(self.request, self.access, message.conversation_id, text=NO_SUCH_COMPLETION)
        return message


def _row(message: Message) -> Row:
    row = completion_row(message.user_id, message.conversation_id, message.id)
    if row is None:
        raise NotFound(NO_SUCH_COMPLETION)
    return row


def _page(shown: list[Json], limit: int) -> Response:
    """`shown` has one more where there are more."""
    return Response(page(shown[:limit], has_more=len(shown) > limit))


def _descends(request: Request) -> bool:
    """Other than in OpenAI's other lists, the oldest come first."""
    return choice_of(request, "order", {"asc": False, "desc": True})


def _after(request: Request, text: str) -> uuid.UUID | None:
    name = request.query_params.get("after")
    if not name:
        return None
    id_ = uuid_in(name)
    if id_ is None:
        raise NotFound(text, field="after")
    return id_


def _metadata_of(request: Request) -> dict[str, str]:
    """The values of `metadata[key]`, by key. Raises InvalidValue."""
    query = request.query_params
    named = [name for name in query if holds_key(name)]
    for name in named:
        check_text(METADATA, name + query[name])
    return {name[len(METADATA) + 1 : -1]: query[name] for name in named}
