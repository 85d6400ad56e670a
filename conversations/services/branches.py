"""Branches of a conversation: which is shown, deletion, and a new conversation from a path."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from conversations.db.bulk_rows import Row, insert_new_rows, row_of
from conversations.models import (
    AccessAction,
    AccessContext,
    Branch,
    Conversation,
    Message,
    Status,
    Tombstone,
    id_from_key,
    new_id,
)
from conversations.models.branch_path import CONTINUED, FIRST_LINE, LINE, Path, number_of
from conversations.models.conversation import ConversationQuerySet
from conversations.selectors.branches import (
    BEGINNING,
    Place,
    path_of,
    place_before,
    places_on,
)
from conversations.services.abandoned_turns import IsDead, interrupt_abandoned
from conversations.services.audit import owner_of
from conversations.services.conversations import (
    conversation_to_change,
    create_conversation,
    update_conversation,
)
from conversations.services.errors import (
    NO_SUCH_BRANCH,
    NO_SUCH_CONVERSATION,
    NO_SUCH_MESSAGE,
    Conflict,
    InvalidValue,
    KeyReused,
    NotFound,
    TurnRunning,
)

ANOTHER_FORK = "This Idempotency-Key is already used for a fork after another message."
ONLY_BRANCH = "The only branch cannot be deleted: delete the conversation or its messages."
COPIED_AT_ONCE = 1_000
# No client can send it as part of a key: those are printable.
_FORK = "fork\n"
_KEEP = """
    SELECT * FROM conversations_conversation WHERE user_id = %s AND id = %s FOR KEY SHARE
"""


def activate_branch(*, conversation_id: uuid.UUID, number: int, access: AccessContext) -> None:
    """Show this branch from now on. Raises what `update_conversation` raises."""
    changes = {"active_branch": number}
    update_conversation(conversation_id=conversation_id, changes=changes, access=access)


def delete_branch(
    *,
    conversation_id: uuid.UUID,
    number: int,
    access: AccessContext,
    is_dead: IsDead = lambda runner: False,
) -> int:
    """Delete a branch, those that forked from it, and the messages that only these have.

    Returns the number of messages. Their ids stay reserved by tombstones. Raises Conflict for the
    last branch, NotFound, NotAllowed, ReasonRequired, OnLegalHold, TurnRunning.
    """
    detail = {"branch": number}
    with conversation_to_change(conversation_id, access, AccessAction.DELETE, detail) as locked:
        owner_id = locked.user_id
        interrupt_abandoned(owner_id=owner_id, conversation_id=conversation_id, is_dead=is_dead)
        branches = {each.number: each for each in _branches_of(locked)}
        if number not in branches and (number != FIRST_LINE or branches):
            raise NotFound(NO_SUCH_BRANCH, field="branch")
        gone = _with_descendants(branches.values(), number)
        left = [branch for branch in branches.values() if branch.number not in gone]
        if not left:
            raise Conflict(ONLY_BRANCH, field="branch", code="only_branch")
        removed = _delete_messages(locked, gone)
        Branch.objects.of(owner_id, conversation_id).filter(number__in=gone).delete()
        active = locked.active_branch
        if active in gone:
            active = _shown_after(branches[number], left)
        _row_of(locked).update(
            active_branch=active,
            branch_count=len(left),
            message_count=F("message_count") - removed,
        )
    return removed


def _with_descendants(branches: Iterable[Branch], number: int) -> set[int]:
    """Parents have lower numbers than the branches that forked from them."""
    gone = {number}
    for branch in sorted(branches, key=lambda each: each.number):
        # A second beginning has nothing of the first line.
        if branch.parent in gone and branch.fork_sequence:
            gone.add(branch.number)
    return gone


def _shown_after(deleted: Branch, left: Sequence[Branch]) -> int:
    numbers = {branch.number for branch in left}
    if deleted.parent in numbers:
        return deleted.parent
    return max(left, key=lambda branch: branch.last_sequence).number


def _delete_messages(conversation: Conversation, numbers: set[int]) -> int:
    values = numbers | ({CONTINUED} if FIRST_LINE in numbers else set())
    place = {"user_id": conversation.user_id, "conversation_id": conversation.pk}
    messages = Message.objects.filter(**place, branch__in=values)
    if messages.filter(status=Status.STREAMING).exists():
        raise TurnRunning
    ids = messages.values_list("id", flat=True)
    tombstones = [row_of(Tombstone(**place, id=id_)) for id_ in ids]
    for start in range(0, len(tombstones), COPIED_AT_ONCE):
        insert_new_rows(Tombstone, tombstones[start : start + COPIED_AT_ONCE])
    removed, _ = messages.delete()
    return removed


def place_of(conversation: Conversation, messages: QuerySet[Message]) -> Place | None:
    """That of the one message, where the conversation has branches."""
    if conversation.last_branch == 0:
        return None
    return messages.values_list("branch", "sequence").first()


def forget_message(conversation: Conversation, place: Place) -> None:
    """Adapt the branches to the deletion of a message: what forked after it now forks after the
    message before it. The conversation is locked."""
    value, sequence = place
    branches = list(_branches_of(conversation))
    rows = Branch.objects.of(conversation.user_id, conversation.pk)
    through = [each.number for each in branches if each.path.covers(value, sequence)]
    rows.filter(number__in=through).update(length=F("length") - 1)
    forked = [each for each in branches if (each.fork_branch, each.fork_sequence) == place]
    if forked:
        path = forked[0].path
        found = place_before(conversation.user_id, conversation.pk, path, sequence)
        before = found or BEGINNING
        rows.filter(number__in=[each.number for each in forked]).update(
            fork_branch=before[0], fork_sequence=before[1], parent=number_of(before[0])
        )


def fork_conversation(
    *,
    conversation_id: uuid.UUID,
    message_id: uuid.UUID,
    access: AccessContext,
    title: str | None = None,
    key: str | None = None,
) -> tuple[Conversation, bool]:
    """A new conversation of the same owner with the path up to a message, and whether it is new.

    It has the title, model, metadata and tags of the conversation. Messages get new ids and
    sequences from 1; reviews and notes are not copied. `key` (an Idempotency-Key) makes the call
    idempotent. Raises InvalidValue, NotFound, NotAllowed, ReasonRequired, TurnRunning where the
    path has a running answer, and KeyReused and Deleted for a key.
    """
    detail = {"fork": str(message_id)}
    owner = owner_of(access, conversation_id, action=AccessAction.CHANGE, detail=detail)
    with transaction.atomic():
        source = _kept(owner.pk, conversation_id)
        fork, created = create_conversation(
            owner=owner,
            title=title or source.title,
            model_used=source.model_used,
            metadata=source.metadata,
            tags=source.tags,
            id=id_from_key(conversation_id, f"{_FORK}{key}") if key else None,
            source="fork",
            forked_from=source.pk,
            field_of_id="Idempotency-Key",
        )
        if created:
            _copy(source, fork, message_id)
        elif not _ended_with(fork, message_id):
            raise KeyReused(ANOTHER_FORK, field="Idempotency-Key")
    return fork, created


def _kept(owner_id: int, conversation_id: uuid.UUID) -> Conversation:
    """The conversation, of which nothing is deleted until the transaction ends; appends go on."""
    found = Conversation.objects.raw(_KEEP, [owner_id, conversation_id])
    for conversation in found:
        return conversation
    raise NotFound(NO_SUCH_CONVERSATION)


def _path_to(source: Conversation, message_id: uuid.UUID) -> Path:
    messages = Message.objects.of(source.user_id, source.pk).filter(id=message_id)
    place = messages.values_list("branch", "sequence").first()
    if place is None:
        raise InvalidValue(NO_SUCH_MESSAGE, field="message_id", code="not_found")
    path = path_of(source.user_id, source.pk, number_of(place[0])) or LINE
    return path.cut(*place)


def _id_of_end(fork: Conversation, message_id: uuid.UUID) -> uuid.UUID:
    """The id of the last message that a fork began with tells which one it is a copy of."""
    return id_from_key(fork.pk, f"{_FORK}{message_id}")


def _ended_with(fork: Conversation, message_id: uuid.UUID) -> bool:
    """Whether it began as the path up to this message, which may have been deleted since."""
    end = {"user_id": fork.user_id, "conversation_id": fork.pk, "id": _id_of_end(fork, message_id)}
    return Message.objects.filter(**end).exists() or Tombstone.objects.filter(**end).exists()


def _copy(source: Conversation, fork: Conversation, message_id: uuid.UUID) -> None:
    count = 0
    for rows in _copied(source, _path_to(source, message_id)):
        for row in rows:
            count += 1
            id_ = _id_of_end(fork, message_id) if row["id"] == message_id else new_id()
            row |= {"id": id_, "conversation_id": fork.pk, "sequence": count}
            row |= {"branch": FIRST_LINE, "runner": None}
        insert_new_rows(Message, rows)
    values: dict[str, Any] = {
        "last_sequence": count,
        "message_count": count,
        "updated_at": timezone.now(),
    }
    _row_of(fork).update(**values)
    for name, value in values.items():
        setattr(fork, name, value)


def _copied(source: Conversation, path: Path) -> Iterator[list[Row]]:
    """The rows of a path in order, in batches. Raises TurnRunning for a running answer."""
    messages = Message.objects.of(source.user_id, source.pk)
    after = 0
    while places := places_on(messages, path, after=after, limit=COPIED_AT_ONCE):
        sequences = [sequence for _, sequence in places]
        found = messages.filter(sequence__in=sequences).in_order().values()
        rows: list[Row] = [dict(row) for row in found]
        if any(row["status"] == Status.STREAMING for row in rows):
            raise TurnRunning
        yield rows
        after = sequences[-1]


def _branches_of(conversation: Conversation) -> Iterable[Branch]:
    return Branch.objects.of(conversation.user_id, conversation.pk).order_by("number")


def _row_of(conversation: Conversation) -> ConversationQuerySet:
    return Conversation.objects.owned_by(conversation.user_id).filter(pk=conversation.pk)
