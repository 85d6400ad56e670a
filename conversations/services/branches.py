"""Branches of a conversation: which is shown, deletion, and a new conversation from a path."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from conversations.db.bulk_rows import Row, insert_new_rows
from conversations.models import (
    AccessAction,
    AccessContext,
    Branch,
    Conversation,
    Message,
    Status,
    Tombstone,
    new_id,
)
from conversations.models.branch_path import CONTINUED, FIRST_LINE, LINE, Path, number_of
from conversations.models.conversation import ConversationQuerySet
from conversations.selectors.branches import Place, path_of, place_before, places_on
from conversations.services.audit import owner_of
from conversations.services.branch_placement import NO_SUCH_BRANCH
from conversations.services.conversations import conversation_to_change, create_conversation
from conversations.services.errors import (
    NO_SUCH_CONVERSATION,
    NO_SUCH_MESSAGE,
    InvalidValue,
    NotFound,
    TurnRunning,
)

ONLY_BRANCH = "The only branch cannot be deleted: delete the conversation or its messages."
COPIED_AT_ONCE = 1_000


def activate_branch(*, conversation_id: uuid.UUID, number: int, access: AccessContext) -> None:
    """Show this branch from now on. Raises NotFound, NotAllowed, ReasonRequired, OnLegalHold."""
    detail = {"active_branch": number}
    with conversation_to_change(conversation_id, access, AccessAction.CHANGE, detail) as locked:
        if path_of(locked.user_id, conversation_id, number) is None:
            raise NotFound(NO_SUCH_BRANCH, field="active_branch")
        _row_of(locked).update(active_branch=number)


def branch_through(owner_id: int, conversation_id: uuid.UUID, message_id: uuid.UUID) -> int:
    """The number of the newest branch whose path has this message. Raises NotFound."""
    messages = Message.objects.of(owner_id, conversation_id).filter(id=message_id)
    place = messages.values_list("branch", "sequence").first()
    if place is None:
        raise NotFound(NO_SUCH_MESSAGE, field="active_message_id")
    branches = Branch.objects.of(owner_id, conversation_id).order_by("-last_sequence", "-number")
    through = (branch.number for branch in branches if branch.path.covers(*place))
    return next(through, number_of(place[0]))


def delete_branch(*, conversation_id: uuid.UUID, number: int, access: AccessContext) -> int:
    """Delete a branch, those that forked from it, and the messages that only these have.

    Returns the number of messages. Their ids stay reserved by tombstones. Raises InvalidValue for
    the last branch, NotFound, NotAllowed, ReasonRequired, OnLegalHold, TurnRunning.
    """
    detail = {"branch": number}
    with conversation_to_change(conversation_id, access, AccessAction.DELETE, detail) as locked:
        branches = {each.number: each for each in _branches_of(locked)}
        if number not in branches and (number != FIRST_LINE or branches):
            raise NotFound(NO_SUCH_BRANCH, field="branch")
        gone = _with_descendants(branches.values(), number)
        left = [branch for branch in branches.values() if branch.number not in gone]
        if not left:
            raise InvalidValue(ONLY_BRANCH, field="branch", code="only_branch")
        removed = _delete_messages(locked, gone)
        Branch.objects.of(locked.user_id, conversation_id).filter(number__in=gone).delete()
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
    Tombstone.objects.bulk_create(
        [Tombstone(**place, id=id_) for id_ in ids], batch_size=COPIED_AT_ONCE
    )
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
    for branch in branches:
        if branch.path.covers(value, sequence):
            branch.length -= 1
            branch.save(update_fields=["length"])
    forked = [each for each in branches if (each.fork_branch, each.fork_sequence) == place]
    if forked:
        path = forked[0].path
        before = place_before(conversation.user_id, conversation.pk, path, sequence)
        for branch in forked:
            branch.fork_branch, branch.fork_sequence = before or (FIRST_LINE, 0)
            branch.parent = number_of(branch.fork_branch)
            branch.save(update_fields=["fork_branch", "fork_sequence", "parent"])


def fork_conversation(
    *,
    conversation_id: uuid.UUID,
    message_id: uuid.UUID,
    access: AccessContext,
    title: str | None = None,
    new_conversation_id: uuid.UUID | None = None,
) -> tuple[User, Conversation, bool]:
    """A new conversation of the same owner with the path up to a message, and whether it is new.

    Messages get new ids and sequences from 1; reviews and notes are not copied. Raises NotFound,
    NotAllowed, ReasonRequired, TurnRunning where the path has a running answer.
    """
    owner = owner_of(access, conversation_id, action=AccessAction.CHANGE)
    with transaction.atomic():
        source = Conversation.objects.owned_by(owner.pk).filter(pk=conversation_id).first()
        if source is None:
            raise NotFound(NO_SUCH_CONVERSATION)
        fork, created = create_conversation(
            owner=owner,
            title=title or source.title,
            model_used=source.model_used,
            metadata=source.metadata,
            id=new_conversation_id,
            source="fork",
            field_of_id="Idempotency-Key",
        )
        if created:
            _copy(source, fork, _path_to(source, message_id))
    return owner, fork, created


def _path_to(source: Conversation, message_id: uuid.UUID) -> Path:
    messages = Message.objects.of(source.user_id, source.pk).filter(id=message_id)
    place = messages.values_list("branch", "sequence").first()
    if place is None:
        raise NotFound(NO_SUCH_MESSAGE, field="message_id")
    path = path_of(source.user_id, source.pk, number_of(place[0])) or LINE
    return path.cut(*place)


def _copy(source: Conversation, fork: Conversation, path: Path) -> None:
    count = 0
    for rows in _copied(source, path):
        for row in rows:
            count += 1
            row |= {"id": new_id(), "conversation_id": fork.pk, "sequence": count}
            row |= {"branch": FIRST_LINE, "runner": None}
        insert_new_rows(Message, rows)
    values: dict[str, Any] = {
        "last_sequence": count,
        "message_count": count,
        "forked_from": source.pk,
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
