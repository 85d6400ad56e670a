"""Reads of all messages of a conversation with branches, in order of sequence."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from django.db.models import Exists, OuterRef, Subquery

from conversations.models import Branch, Message
from conversations.models.branch_path import FIRST_LINE, number_of
from conversations.selectors.branches import in_range


class Parents:
    """What each message follows, told in batches; holds two ids for each branch."""

    def __init__(self, owner_id: int, conversation_id: uuid.UUID) -> None:
        self._messages = Message.objects.of(owner_id, conversation_id)
        self._branches = Branch.objects.of(owner_id, conversation_id)
        self._forks = dict(self._branches.values_list("number", "fork_sequence"))
        self._forked_after: dict[int, uuid.UUID | None] = dict.fromkeys(self._forks.values())
        self._ends: dict[int, uuid.UUID] = {}

    def of(self, rows: Iterable[dict[str, Any]]) -> dict[uuid.UUID, uuid.UUID | None]:
        """By their ids the parents of the next messages, of which `rows` have `id`, `branch` and
        `sequence`. Those whose branch was deleted since they were read are left out."""
        parents: dict[uuid.UUID, uuid.UUID | None] = {}
        for row in rows:
            id_, sequence, number = row["id"], row["sequence"], number_of(row["branch"])
            known = number in self._ends
            for parent in [self._ends[number]] if known else self._beginning_of(number):
                parents[id_] = parent
                self._ends[number] = id_
            if sequence in self._forked_after:
                self._forked_after[sequence] = id_
        return parents

    def _beginning_of(self, number: int) -> list[uuid.UUID | None]:
        """The id of the message that a branch forked after; empty where it is deleted."""
        sequence = self._forks.get(number, 0)
        known = self._forked_after.get(sequence)
        if known is not None or sequence == 0:
            return [known]
        # That message was deleted meanwhile: the branch forks after another one now.
        after = self._messages.filter(sequence=OuterRef("fork_sequence")).values("id")[:1]
        branch = self._branches.filter(number=number).annotate(after=Subquery(after))
        return list(branch.values_list("after", flat=True))


def written_numbers(owner_id: int, conversation_id: uuid.UUID) -> list[int]:
    """The numbers of the branches that have messages of their own."""
    messages = Message.objects.of(owner_id, conversation_id)
    branches = Branch.objects.of(owner_id, conversation_id)
    line = branches.filter(number=FIRST_LINE).first()
    has_line = line is not None and any(
        in_range(messages, range_).exists() for range_ in line.path.ranges()
    )
    own = messages.exclude(branch=FIRST_LINE).filter(branch=OuterRef("number"))
    later = branches.filter(Exists(own), number__gt=FIRST_LINE).order_by("number")
    return [FIRST_LINE] * has_line + list(later.values_list("number", flat=True))


def shown_in_file(
    owner_id: int, conversation_id: uuid.UUID, active: int, written: Sequence[int]
) -> int:
    """The number of the active branch; where all of its own messages were deleted, of the branch
    with the end of its path, and without one of the newest branch."""
    if active in written:
        return active
    branches = Branch.objects.of(owner_id, conversation_id).filter(number=active)
    fork = branches.values_list("fork_branch", "fork_sequence").first()
    return number_of(fork[0]) if fork and fork[1] else written[-1]
