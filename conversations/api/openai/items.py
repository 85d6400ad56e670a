"""The items of a conversation: /v1/conversations/{id}/items."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from conversations.api import parameters
from conversations.api.openai import shapes
from conversations.api.openai.item_pages import NO_SUCH_ITEM, ItemPages
from conversations.api.openai.listing import (
    INCLUDE,
    NAMES,
    after_of,
    check_include,
    is_descending,
    limit_of,
    page,
)
from conversations.api.openai.views import OpenAIViewSet, shown_conversation
from conversations.api.views import idempotency_key_of, read_body
from conversations.db.bulk_rows import Row
from conversations.formats.item_types import Item
from conversations.formats.response_items import items_of, path_in_item
from conversations.models import AccessAction, Message
from conversations.selectors.conversation_pages import find_conversation
from conversations.services import (
    Conflict,
    MessageDraft,
    NotFound,
    ServiceError,
    append_drafts,
    delete_message,
    owner_of,
)
from conversations.services.errors import NO_SUCH_CONVERSATION

NOT_ONE_MESSAGE = (
    "This item is one of several that were stored as one message: delete the message itself, by "
    "DELETE /api/conversations/{conversation}/messages/{message}."
)

# An item of a request: what is to be stored, or the id of one that is there.
NewItem = MessageDraft | str


@extend_schema(tags=["openai"])
class OpenAIItemViewSet(OpenAIViewSet):
    queryset = Message.objects.none()
    query_names = {"list": {*NAMES, *INCLUDE}, "create": INCLUDE, "retrieve": INCLUDE}
    read_on_replicas = ("list", "retrieve")
    stores_anew = ("create",)

    @extend_schema(
        operation_id="openai_items_list",
        summary="The items of a conversation's active branch",
        parameters=[shapes.OWNER_HEADER, shapes.AFTER, *shapes.LISTING, shapes.INCLUDE],
        responses=shapes.ITEM_LIST,
    )
    def list(self, request: Request, **path: str) -> Response:
        check_include(request)
        after = after_of(request)
        descending, limit = is_descending(request), limit_of(request)
        items, has_more = self._pages().page(after=after, descending=descending, limit=limit)
        return Response(page(items, has_more=has_more))

    @extend_schema(
        operation_id="openai_items_create",
        summary="Add up to 20 items to a conversation, all or none",
        parameters=[shapes.OWNER_HEADER, parameters.IDEMPOTENCY_KEY, shapes.INCLUDE],
        request=shapes.NewOpenAIItemsSerializer,
        responses={200: shapes.ITEM_LIST},
    )
    def create(self, request: Request, **path: str) -> Response:
        check_include(request)
        items = read_body(request, shapes.NewOpenAIItemsSerializer)["items"]
        key = idempotency_key_of(request)
        owner = owner_of(self.access, self.conversation_id, action=AccessAction.CHANGE)
        there = resolved(items, ItemPages(owner.pk, self.conversation_id))
        rows = iter(self._append(owner.pk, items, key))
        stored = [there[item] if isinstance(item, str) else items_of(next(rows)) for item in items]
        return Response(page([one for made in stored for one in made], has_more=False))

    @extend_schema(
        operation_id="openai_items_retrieve",
        summary="One item of a conversation",
        parameters=[shapes.OWNER_HEADER, shapes.INCLUDE],
        responses=shapes.OpenAIItemSerializer,
    )
    def retrieve(self, request: Request, item_id: str, **path: str) -> Response:
        check_include(request)
        return Response(self._pages({"item": item_id}).find(item_id).item)

    @extend_schema(
        operation_id="openai_items_destroy",
        summary="Delete an item; the conversation is answered",
        description="409 for one of several items of a message: that is deleted as a whole.",
        parameters=[shapes.OWNER_HEADER],
        responses={200: shapes.OpenAIConversationSerializer},
    )
    def destroy(self, request: Request, item_id: str, **path: str) -> Response:
        key, detail = self.conversation_id, {"item": item_id}
        owner = owner_of(self.access, key, action=AccessAction.READ, detail=detail)
        found = ItemPages(owner.pk, key).find(item_id)
        if not found.is_only:
            names = {"conversation": key, "message": found.message_id}
            raise Conflict(NOT_ONE_MESSAGE.format_map(names), code="not_one_message")
        delete_message(conversation_id=key, message_id=found.message_id, access=self.access)
        left = find_conversation(owner.pk, key, user_id=self.caller.name_of(owner))
        if left is None:  # deleted this moment
            raise NotFound(NO_SUCH_CONVERSATION)
        return Response(shown_conversation(left))

    def _pages(self, detail: dict[str, Any] | None = None) -> ItemPages:
        key = self.conversation_id
        owner = owner_of(self.access, key, action=AccessAction.READ, detail=detail)
        return ItemPages(owner.pk, key)

    def _append(self, owner_id: int, items: Sequence[NewItem], key: str | None) -> Sequence[Row]:
        drafts = [item for item in items if isinstance(item, MessageDraft)]
        if not drafts:
            return []
        with stored_as_items(items):
            rows, _ = append_drafts(
                conversation_id=self.conversation_id,
                owner_id=owner_id,
                drafts=drafts,
                key=key,
                access=self.access,
            )
        return rows


def resolved(items: Sequence[NewItem], pages: ItemPages | None) -> dict[str, list[Item]]:
    """The items that references name, by the ids in those; none is in a new conversation. Raises
    NotFound."""
    found: dict[str, list[Item]] = {}
    for place, item in enumerate(items):
        if isinstance(item, str):
            field = f"items.{place}.id"
            if pages is None:
                raise NotFound(NO_SUCH_ITEM, field=field)
            found[item] = [pages.find(item, field=field).item]
    return found


@contextmanager
def stored_as_items(items: Sequence[NewItem]) -> Iterator[None]:
    """What services say of messages that are stored names the items that they were sent as."""
    drafts = [(place, item) for place, item in enumerate(items) if isinstance(item, MessageDraft)]
    try:
        yield
    except ServiceError as error:
        name, _, path = (error.field or "").partition(".")
        if name == "messages":
            number, _, path = path.partition(".")
            error.field = "items"
            if number.isdecimal():
                place, draft = drafts[int(number)]
                error.field = f"items.{place}.{path_in_item(draft, path)}".removesuffix(".")
        raise
