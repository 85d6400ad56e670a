"""The places of new messages in a conversation: sequences, and branches where it has any."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from conversations.formats import MessageDraft
from conversations.models import Conversation
from conversations.models.branch_path import FIRST_LINE
from conversations.services.branch_placement import Parent, Placement
from conversations.services.errors import NO_SUCH_CONVERSATION, InvalidValue, NotFound
from conversations.services.titles import title_from


@dataclass(frozen=True, slots=True)
class Reserved:
    """The `sequence` and `branch` of each message, the last sequence before them on the branch
    that they are written to, and whether the conversation has a single line."""

    places: list[tuple[int, int]]
    last_before: int
    single_line: bool = False


def reserve_places(
    conversation: tuple[int, uuid.UUID],
    drafts: Sequence[MessageDraft],
    ids: Sequence[uuid.UUID],
    parents: Sequence[Parent],
    branch: int | None,
    *,
    activate: bool,
    single: bool,
) -> Reserved:
    """Lock the conversation (owner, id) and add the messages to its counters.

    One statement where it has no forks and gets none. `parents`, `branch`, `activate` and `single`
    are those of `append_drafts`. Raises NotFound, and InvalidValue for a parent that is not there.
    """
    plain = not any(parents) and not branch
    reserved = _on_the_line(conversation, drafts) if plain else None
    return reserved or _on_branches(conversation, drafts, ids, parents, branch, activate, single)


def _on_the_line(
    conversation: tuple[int, uuid.UUID], drafts: Sequence[MessageDraft]
) -> Reserved | None:
    """In one statement, where the conversation has no forks; None where it has, or is not there."""
    owner_id, conversation_id = conversation
    last = Conversation.objects.reserve_sequences(
        conversation_id, owner_id=owner_id, **_growth(drafts)
    )
    if last is None:
        return None
    before = last - len(drafts)
    return Reserved([(before + at, FIRST_LINE) for at in range(1, len(drafts) + 1)], before, True)


def _on_branches(
    conversation: tuple[int, uuid.UUID],
    drafts: Sequence[MessageDraft],
    ids: Sequence[uuid.UUID],
    parents: Sequence[Parent],
    branch: int | None,
    activate: bool,
    single: bool,
) -> Reserved:
    owner_id, conversation_id = conversation
    found = Conversation.objects.owned_by(owner_id).filter(pk=conversation_id)
    locked = found.select_for_update(no_key=True).first()
    if locked is None:
        raise NotFound(NO_SUCH_CONVERSATION)
    placement = Placement(locked, branch)
    times = [draft.created_at or timezone.now() for draft in drafts]
    given = parents or [None] * len(ids)
    places: list[tuple[int, int]] = []
    for index, (id_, parent, at) in enumerate(zip(ids, given, times, strict=True)):
        sequence = locked.last_sequence + 1 + index
        try:
            places.append((sequence, placement.add(id_, sequence, parent, at)))
        except InvalidValue as error:
            raise error if single else error.with_field_prefix(f"messages.{index}") from None
    placement.save()
    Conversation.objects.reserve_sequences(
        conversation_id,
        owner_id=owner_id,
        last_branch_before=locked.last_branch,
        branches=(
            placement.current if activate else locked.active_branch,
            locked.branch_count + placement.added,
            placement.last_branch,
        ),
        **_growth(drafts),
    )
    assert placement.expected is not None
    return Reserved(places, placement.expected, placement.last_branch == 0)


def _growth(drafts: Sequence[MessageDraft]) -> dict[str, Any]:
    return {
        "count": len(drafts),
        "updated_at": drafts[-1].created_at or timezone.now(),
        "title": title_from(drafts),
    }
