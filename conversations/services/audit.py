"""Access to other people's conversations: the one place that looks up their owner, and that writes
the AccessRecord of staff who read or change one."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib.auth.models import User

from conversations.db import replicas
from conversations.db.owners import conversation_with_id
from conversations.models import AccessAction, AccessContext, AccessRecord, Conversation
from conversations.services.errors import (
    NO_SUCH_CONVERSATION,
    READ_ONLY,
    NotAllowed,
    NotFound,
    ReasonRequired,
)

# The name in records of what a command did.
SCRIPT_NAME = "manage.py"
MAX_REASON_CHARS = 500
# The access context of a script on the server; the API and the admin never use it.
SCRIPT = AccessContext(caller=None)

# The details of a record, besides staff member, owner, time and reason.
Detail = Mapping[str, Any]

# What the details of a record may be made of.
_OF_CONVERSATIONS = ("message_count", "active_branch", "last_branch")
_READS = frozenset({AccessAction.READ, AccessAction.SEARCH, AccessAction.EXPORT})


def owner_of(
    access: AccessContext,
    conversation_id: uuid.UUID,
    *,
    action: AccessAction,
    detail: Detail | Callable[[Conversation], Detail] | None = None,
) -> User:
    """The owner of a conversation that this caller may read or, by `action`, write to.

    Everything that reads or writes a conversation by its id calls this first, and then filters by
    the owner in its statement. An act of staff on somebody else's conversation is recorded, in the
    transaction that is open. An ordinary caller can only be the owner: nothing is looked up then,
    and the statement finds nothing where they are not. `detail` may be a function of the
    conversation, of which `message_count` and the columns about branches are loaded. Raises
    NotFound, NotAllowed, ReasonRequired.
    """
    caller = access.caller
    if caller is not None and not (caller.trusted or caller.is_staff):
        _note_use(access, caller.user, reads=action in _READS)
        return caller.user
    known = conversation_with_id(conversation_id).select_related("user")
    rows = known.only(*_OF_CONVERSATIONS, "user__username", "user__is_staff", "user__is_superuser")
    reads = action in _READS
    found = (rows.visible_to(access) if reads else rows.writable_by(access)).first()
    if found is None:
        if not reads and rows.visible_to(access).exists():
            raise NotAllowed(READ_ONLY)
        raise NotFound(NO_SUCH_CONVERSATION)
    owner: User = found.user
    said = detail(found) if callable(detail) else detail
    record_act(access, action, owner=owner, conversation_id=conversation_id, detail=said)
    _note_use(access, owner, reads=reads)
    return owner


def _note_use(access: AccessContext, owner: User, *, reads: bool) -> None:
    if reads:
        replicas.reads_of(owner.pk)
    else:
        note_write(access, owner)


def note_write(access: AccessContext, owner: User) -> None:
    """This request writes to the owner's data: who reads that later sees it on any replica.

    Staff see it in what they read of all owners, too. A trusted client would make one row of all
    its writes; it reads of all owners on the primary.
    """
    caller = access.caller
    also = {caller.user.pk} if caller is not None and not caller.trusted else set()
    replicas.writes_of(owner.pk, *also)


def record_act(
    access: AccessContext,
    action: AccessAction,
    *,
    owner: User | None,
    conversation_id: uuid.UUID | None = None,
    detail: Detail | None = None,
) -> None:
    """Record an act of staff on somebody else's (None: everybody's) conversations.

    Nothing for an act on one's own, of a trusted client or of a script. Raises ReasonRequired
    where the settings ask for a reason and none is given.
    """
    if not access.leaves_record(None if owner is None else owner.pk):
        return
    if settings.CHAT_REQUIRE_READ_REASON and not access.reason:
        raise ReasonRequired
    record_access(access, action, owner=owner, conversation_id=conversation_id, detail=detail)


def record_access(
    access: AccessContext,
    action: AccessAction,
    *,
    owner: User | None = None,
    conversation_id: uuid.UUID | None = None,
    detail: Detail | None = None,
) -> None:
    """Write one AccessRecord, whoever acted: a hold, an erasure, an export of the audit log."""
    _record(access, action, owner, conversation_id, detail).save(force_insert=True)


class ListedChat(NamedTuple):
    """What the record of an export says of a conversation, and what its export needs first."""

    pk: uuid.UUID
    user_id: int
    username: str
    message_count: int
    last_sequence: int
    last_branch: int
    branch_count: int


def record_exports(
    access: AccessContext,
    conversations: Iterable[ListedChat],
    *,
    file_format: str,
    branches: str | None,
) -> None:
    """One record for each conversation of somebody else that staff are about to export.

    `branches` are those that leave of one that has several, None for all of its messages.
    """
    AccessRecord.objects.bulk_create(
        _record(
            access,
            AccessAction.EXPORT,
            User(pk=one.user_id, username=one.username),
            one.pk,
            export_detail(file_format, one.message_count, one.branch_count > 1, branches),
        )
        for one in conversations
        if access.leaves_record(one.user_id)
    )


def export_detail(
    file_format: str, messages: int, has_branches: bool, branches: str | None
) -> Detail:
    """What a record says of one exported conversation."""
    return {"format": file_format, "messages": messages} | (
        {"branches": branches} if branches and has_branches else {}
    )


def wants_reason(access: AccessContext, owner_id: int | None) -> bool:
    """Whether this caller must give a reason to act on that owner's chats (None: everybody's)."""
    return bool(settings.CHAT_REQUIRE_READ_REASON) and access.leaves_record(owner_id)


def clean_reason(text: str) -> str:
    """A reason as it is stored: one line, at most MAX_REASON_CHARS characters."""
    return " ".join(text.replace("\0", "").split())[:MAX_REASON_CHARS]


def _record(
    access: AccessContext,
    action: AccessAction,
    owner: User | None,
    conversation_id: uuid.UUID | None,
    detail: Detail | None,
) -> AccessRecord:
    caller = access.caller
    return AccessRecord(
        staff_id=caller.user.pk if caller else None,
        staff_name=caller.user.username if caller else SCRIPT_NAME,
        action=action,
        owner_id=owner.pk if owner else None,
        owner_name=owner.username if owner else "",
        conversation_id=conversation_id,
        address=access.address,
        reason=access.reason,
        detail=dict(detail or {}),
    )
