"""The trace of who of the staff looked at whose conversations."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User

from conversations.models import AccessAction, AccessRecord, Caller, Conversation
from conversations.services.errors import ReasonRequired

# Who did it, where a command did.
SCRIPT = "manage.py"
MAX_REASON_CHARS = 500


def wants_reason(caller: Caller, owner_id: int | None) -> bool:
    """Whether this caller must say why before a look at that owner's chats (None: everybody's)."""
    return bool(settings.CHAT_REQUIRE_READ_REASON) and caller.leaves_record(owner_id)


def clean_reason(text: str) -> str:
    """A reason as it is stored: one line, at most MAX_REASON_CHARS characters."""
    return " ".join(text.replace("\0", "").split())[:MAX_REASON_CHARS]


def record_read(
    *,
    caller: Caller,
    owner_id: int,
    owner_name: str = "",
    conversation_id: uuid.UUID | str | None = None,
    address: str | None = None,
    reason: str = "",
    detail: dict[str, Any] | None = None,
) -> None:
    """Leave the trace of a look, before anything is shown; nothing for one at one's own chats.

    Raises ReasonRequired where the settings ask for a reason and none is given.
    """
    if not caller.leaves_record(owner_id):
        return
    if not reason and wants_reason(caller, owner_id):
        raise ReasonRequired
    record_access(
        caller=caller,
        action=AccessAction.READ,
        owner_id=owner_id,
        owner_name=owner_name,
        conversation_id=conversation_id,
        address=address,
        reason=reason,
        detail=detail,
    )


def record_access(
    *,
    caller: Caller | None,
    action: AccessAction,
    owner_id: int | None = None,
    owner_name: str = "",
    conversation_id: uuid.UUID | str | None = None,
    address: str | None = None,
    reason: str = "",
    detail: dict[str, Any] | None = None,
) -> AccessRecord:
    """Write one AccessRecord. `address` is the client's IP address, where there is one; `caller`
    None is a script on the server.

    `owner_name` is looked up from `owner_id` where it is not given.
    """
    return AccessRecord.objects.create(
        staff_id=caller.user.pk if caller else None,
        staff_name=caller.user.username if caller else SCRIPT,
        action=action,
        owner_id=owner_id,
        owner_name=owner_name or _username_of(owner_id),
        conversation_id=conversation_id,
        address=address,
        reason=reason,
        detail=detail or {},
    )


def record_exports(
    *,
    caller: Caller,
    conversations: Iterable[Conversation],
    file_format: str,
    address: str | None = None,
    reason: str = "",
) -> None:
    """One record for each conversation that is about to leave, its owner loaded beside it."""
    AccessRecord.objects.bulk_create(
        AccessRecord(
            staff_id=caller.user.pk,
            staff_name=caller.user.username,
            action=AccessAction.EXPORT,
            owner_id=conversation.user_id,
            owner_name=conversation.user.username,
            conversation_id=conversation.pk,
            address=address,
            reason=reason,
            detail={"format": file_format, "messages": conversation.message_count},
        )
        for conversation in conversations
    )


def _username_of(user_id: int | None) -> str:
    if user_id is None:
        return ""
    return User.objects.filter(pk=user_id).values_list("username", flat=True).first() or ""
