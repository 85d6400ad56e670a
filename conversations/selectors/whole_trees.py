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
    """What each message follows, told in batches; holds an id for each branch."""

    def __init__(self, owner_id: int, conversation_id: uuid.UUID) -> None:
        self._conversation = (owner_id, conversation_id)
        self._ends: dict[int, uuid.UUID] = {}

    def of(self, rows: Iterable[dict[str, Any]]) -> dict[uuid.UUID, uuid.UUID | None]:
        """By their ids the parents of the next messages, of which `rows` have `id` and `branch`.

        One statement where branches begin among them. Those whose branch was deleted since they
        were read are left out.
        """
        written = [(row["id"], number_of(row["branch"])) for row in rows]
        begins = self._begins({number for _, number in written} - self._ends.keys())
        parents: dict[uuid.UUID, uuid.UUID | None] = {}
        for id_, number in written:
            if number in self._ends:
                parents[id_] = self._ends[number]
            elif number in begins:
                parents[id_] = begins[number]
            else:
                continue
            self._ends[number] = id_
        return parents

    def _begins(self, numbers: set[int]) -> dict[int, uuid.UUID | None]:
        """The ids of the messages that these branches forked after."""
        if not numbers - {FIRST_LINE}:
            return dict.fromkeys(numbers)
        forked_after = Message.objects.of(*self._conversation).filter(
            sequence=OuterRef("fork_sequence")
        )
        branches = Branch.objects.of(*self._conversation).filter(number__in=numbers)
        found = branches.annotate(after=Subquery(forked_after.values("id")[:1]))
        return dict(found.values_list("number", "after"))


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
