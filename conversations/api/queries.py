"""The rows that the API reads and responds with: the columns that `serializers` declares.

Each look-up says whose conversation it is."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Case, F, OuterRef, QuerySet, Subquery, When

from conversations.api.serializers import MessageSerializer
from conversations.db.bulk_rows import Row
from conversations.models import (
    AccessAction,
    AccessContext,
    Branch,
    Caller,
    Conversation,
    Message,
)
from conversations.models.branch_path import number_of
from conversations.models.message import MessageQuerySet
from conversations.selectors.conversation_pages import SHOWN_FIELDS, find_conversation
from conversations.selectors.message_pages import SHOWN_COLUMNS
from conversations.services import NotFound, owner_of
from conversations.services.errors import NO_SUCH_CONVERSATION

# Those of a message besides its place among the branches.
MESSAGE_COLUMNS = SHOWN_COLUMNS
# As stored columns and `with_path_length`: the name of the owner depends on the caller and is in
# none of them.
CONVERSATION_COLUMNS = tuple(
    "archived_at" if name == "archived" else name for name in SHOWN_FIELDS if name != "user_id"
)


def read_conversation(
    access: AccessContext,
    conversation_id: uuid.UUID,
    *,
    action: AccessAction = AccessAction.READ,
    detail: dict[str, Any] | None = None,
) -> tuple[User, Row]:
    """The owner, and the conversation as responses have it. Raises NotFound where this caller has
    none of this id. A read of staff leaves its AccessRecord."""
    owner = owner_of(access, conversation_id, action=action, detail=detail)
    name = caller_of(access).name_of(owner)
    found = find_conversation(owner.pk, conversation_id, user_id=name)
    if found is None:
        raise NotFound(NO_SUCH_CONVERSATION)
    return owner, found


def check_is_there(conversation_id: uuid.UUID, owner_id: int) -> None:
    """NotFound unless this owner has this conversation."""
    if find_conversation(owner_id, conversation_id) is None:
        raise NotFound(NO_SUCH_CONVERSATION)


def messages_of_conversation(owner_id: int, conversation_id: uuid.UUID) -> MessageQuerySet:
    """The messages of a conversation, none where it is not this owner's."""
    return Message.objects.of(owner_id, conversation_id)


def messages_of_user(owner: User | None) -> MessageQuerySet:
    """All messages of an owner, in whichever conversation; none of nobody."""
    return Message.objects.filter(user=owner) if owner else Message.objects.none()


def visible_messages(access: AccessContext) -> MessageQuerySet:
    """Those of all owners that the caller may read."""
    return Message.objects.visible_to(access)


def caller_of(access: AccessContext) -> Caller:
    """Every authenticated request has a caller."""
    assert access.caller is not None
    return access.caller


def conversation_from_row(row: Row, user_id: int | str) -> Row:
    """A row of CONVERSATION_COLUMNS as responses have it; `user_id` is what the caller calls the
    owner."""
    row["archived"] = row["archived_at"] is not None
    row["user_id"] = user_id
    return {name: row[name] for name in SHOWN_FIELDS}


def conversation_from_model(conversation: Conversation, user_id: int | str) -> Row:
    shown = {"user_id": user_id, "path_length": conversation.message_count}
    if conversation.last_branch > 0:
        rows = Branch.objects.of(conversation.user_id, conversation.pk)
        active = rows.filter(number=conversation.active_branch)
        shown["path_length"] = active.values_list("length", flat=True).get()
    return {
        name: shown[name] if name in shown else getattr(conversation, name) for name in SHOWN_FIELDS
    }


def with_path_length(
    conversations: QuerySet[Conversation], owner: int | OuterRef
) -> QuerySet[Conversation]:
    """With the column `path_length`; the branch is looked up only where there are several.

    `owner` is the one of all of them, or a reference to that of each.
    """
    active = Branch.objects.of(owner, OuterRef("id"))
    length = active.filter(number=OuterRef("active_branch")).values("length")
    line = When(last_branch=0, then=F("message_count"))
    return conversations.annotate(path_length=Case(line, default=Subquery(length)))


def message_from_row(row: Row) -> Row:
    """A row of all columns, and `parent_id`, of a message without siblings as responses have it."""
    known = row | {"branch": number_of(row["branch"]), "siblings": None}
    return {name: known[name] for name in MessageSerializer.Meta.fields}
