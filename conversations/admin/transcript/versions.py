"""What a transcript shows of other branches: the versions of a message, and a list of branches."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Case, OuterRef, Subquery, When
from django.db.models.functions import Left

from conversations.admin.conversation.opened import Opened
from conversations.admin.transcript.branches import ShownBranch
from conversations.admin.transcript.navigation import BRANCH, BRANCHES, TranscriptUrl
from conversations.admin.transcript.queries import TranscriptPage
from conversations.models import Branch, Message, Role
from conversations.models.branch_path import FIRST_LINE, number_of
from conversations.models.message import MessageQuerySet
from conversations.selectors.branches import children_of
from conversations.selectors.newest_branches import BranchRow, newest_through

A_PAGE = 50
# Characters of the first words of a branch.
WORDS = 120


@dataclass(frozen=True, slots=True)
class Version:
    """Which of the messages with the same parent one is, counted from 1, and the URLs of those
    before and after it: each leads to the newest branch that has it, with it in view."""

    number: int
    count: int
    previous_url: str | None
    next_url: str | None


def versions_of(page: TranscriptPage, url: TranscriptUrl) -> dict[int, Version]:
    """Of those messages of a page that have siblings, by sequence; none of a message shown alone.
    One query, or three where there are any, one of them of all branches."""
    if page.branch is None or not page.parents:
        return {}
    key = (page.messages[0].user_id, page.messages[0].conversation_id)
    children = children_of(*key, page.parents.values())
    siblings = {
        message.sequence: (ids.index(message.id), ids)
        for message in page.messages
        if message.id in (ids := children[page.parents[message.sequence]]) and len(ids) > 1
    }
    if not siblings:
        return {}
    beside = {id_ for at, ids in siblings.values() for id_ in ids[max(0, at - 1) : at + 2]}
    urls = _urls_of(Message.objects.of(*key).filter(id__in=beside), page, url)
    return {
        sequence: Version(
            at + 1,
            len(ids),
            urls.get(ids[at - 1]) if at else None,
            urls.get(ids[at + 1]) if at + 1 < len(ids) else None,
        )
        for sequence, (at, ids) in siblings.items()
    }


def _urls_of(
    siblings: MessageQuerySet, page: TranscriptPage, url: TranscriptUrl
) -> dict[uuid.UUID, str]:
    """The page of another branch that begins where this one does has the sibling too: all that
    is ahead of it is the same."""
    assert page.branch is not None
    begins_after = page.parents[page.messages[0].sequence][1]
    found = {
        id_: (branch, at) for id_, branch, at in siblings.values_list("id", "branch", "sequence")
    }
    newest = newest_through(page.branch.all, found.values())
    return {
        id_: f"{url.to(after=begins_after or None, branch=newest[place])}#m-{place[1]}"
        for id_, place in found.items()
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedBranch:
    """A branch of the list: `follows` is the sequence that it forked after, `words` the beginning
    of the first message that was written to it, which `role` sent."""

    number: int
    url: str
    is_shown: bool
    is_active: bool
    length: int
    follows: int | None
    updated_at: datetime
    role: str = ""
    words: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Branches:
    """What is said of the branch that is shown, and of the others: `count` is how many there are.

    `rows`: a page of the list, newest activity first, where it is asked for; `pages`: the number of
    each of its pages, and its URL unless it is the one shown.
    """

    shown: ShownBranch
    count: int
    active: int
    active_url: str
    list_url: str
    close_url: str
    rows: Sequence[ListedBranch] = ()
    pages: Sequence[tuple[int, str | None]] = ()


def branches_beside(
    conversation: Opened, shown: ShownBranch | None, url: TranscriptUrl, here: dict[str, Any]
) -> Branches | None:
    """None where there is one branch. `here` are the parameters of the page that is shown."""
    if shown is None or conversation.branch_count < 2:
        return None
    page, last_page = _list_page(shown, url)
    return Branches(
        shown=shown,
        count=conversation.branch_count,
        active=conversation.active_branch,
        active_url=url.to(**{BRANCH: conversation.active_branch}),
        list_url=url.to(**here, **{BRANCHES: 1}),
        close_url=url.to(**here),
        rows=list(_rows(conversation, shown, listed_branches(shown, url), url)),
        pages=[
            (number, None if number == page else url.to(**here, **{BRANCHES: number}))
            for number in (range(1, last_page + 1) if page and last_page > 1 else ())
        ],
    )


def listed_branches(shown: ShownBranch | None, url: TranscriptUrl) -> list[BranchRow]:
    """Those whose first words the page shows: none unless it is asked for."""
    if shown is None or not url.sequence(BRANCHES):
        return []
    page, _ = _list_page(shown, url)
    return shown.all[(page - 1) * A_PAGE : page * A_PAGE]


def _list_page(shown: ShownBranch, url: TranscriptUrl) -> tuple[int, int]:
    """The page of the list that is asked for, 0 for none, and the last there is."""
    asked = url.sequence(BRANCHES) or 0
    last = max(1, -(-len(shown.all) // A_PAGE)) if asked else 1
    return min(asked, last), last


def _rows(
    conversation: Opened, shown: ShownBranch, branches: Iterable[BranchRow], url: TranscriptUrl
) -> Iterable[ListedBranch]:
    beginnings = _read_beginnings(conversation, [branch.number for branch in branches])
    for branch in branches:
        sequence, role, words = beginnings.get(branch.number, (None, "", ""))
        yield ListedBranch(
            number=branch.number,
            url=url.to(at=sequence if branch.fork_sequence else None, branch=branch.number),
            is_shown=branch.number == shown.number,
            is_active=branch.number == conversation.active_branch,
            length=branch.length,
            follows=branch.fork_sequence or None,
            updated_at=branch.updated_at,
            role=Role(role).label if role else "",
            words=words,
        )


def _read_beginnings(
    conversation: Opened, numbers: Sequence[int]
) -> dict[int, tuple[int, str, str]]:
    """(sequence, role, first words) of the first message that was written to each branch. Two
    queries."""
    if not numbers:
        return {}
    key = (conversation.user_id, conversation.pk)
    messages = Message.objects.of(*key)
    # As the indexes have it: that of the sequences, and that of branches other than the first line.
    line = messages.filter(branch=FIRST_LINE)
    others = messages.exclude(branch=FIRST_LINE).filter(branch=OuterRef("number"))
    first_of_line, first_of_other = (
        Subquery(each.in_order().values("sequence")[:1]) for each in (line, others)
    )
    first = Case(When(number=FIRST_LINE, then=first_of_line), default=first_of_other)
    sequences = Branch.objects.of(*key).filter(number__in=numbers).values_list(first, flat=True)
    found = messages.filter(sequence__in=[each for each in sequences if each is not None])
    columns = found.values_list("branch", "sequence", "role", Left("content", WORDS))
    return {number_of(branch): (sequence, role, words) for branch, sequence, role, words in columns}
