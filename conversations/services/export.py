"""Export conversations in batches, with the AccessRecords of a batch stored before its text.

Of a conversation with branches, a format that keeps the tree gets all messages; the others get the
active path, or each path as a conversation.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import partial

from django.db.models import QuerySet, Subquery

from conversations.db.bulk_rows import Row
from conversations.db.replicas import Reading, fetch_on, reading_from_now, reads_on
from conversations.formats import (
    RECORDED_FIELDS,
    WRITERS,
    RecordedBranch,
    RecordedChat,
    RecordedMessage,
    RecordedReview,
)
from conversations.models import AccessContext, Branch, Conversation, Message, Review, as_read
from conversations.models.branch_path import Path, number_of
from conversations.selectors.branches import places_on
from conversations.selectors.whole_trees import Parents, shown_in_file, written_numbers
from conversations.services.audit import record_exports, wants_reason
from conversations.services.errors import InvalidValue, ReasonRequired

BATCH = 100
MESSAGE_BATCH = 500
ACTIVE, ALL = BRANCHES = ("active", "all")
UNKNOWN_FORMAT = "Unknown format. Formats are {formats}."
UNKNOWN_BRANCHES = "Must be `active` or `all`."

_NO_COLUMNS = {"id", "owner", "messages", "active_branch", "branch"}
_CHAT_COLUMNS = [column.name for column in fields(RecordedChat) if column.name not in _NO_COLUMNS]
_MESSAGE_COLUMNS = ("id", "sequence", *RECORDED_FIELDS)
_READ_COLUMNS = (*_MESSAGE_COLUMNS, "updated_at")

Progress = Callable[[int], None]


def export_conversations(
    *,
    conversations: QuerySet[Conversation],
    file_format: str,
    access: AccessContext,
    branches: str = ACTIVE,
    on_progress: Progress | None = None,
) -> Iterator[str]:
    """Yield the text of an export file in chunks, the conversations in order of their ids.

    A format that keeps no tree gets the active path of each conversation, or with `branches="all"`
    each path as a conversation. Stores an AccessRecord for each conversation, unless for a script.
    Holds at most MESSAGE_BATCH messages in memory. Read on a replica that has all that is stored at
    the call, and on the primary from where that one fails. `on_progress` is called after each
    conversation with their number so far. Raises, at the call, InvalidValue for an unknown format
    or choice of branches, and ReasonRequired if the settings require a reason.
    """
    if file_format not in WRITERS:
        raise InvalidValue(UNKNOWN_FORMAT.format(formats=", ".join(WRITERS)), field="format")
    if branches not in BRANCHES:
        raise InvalidValue(UNKNOWN_BRANCHES, field="branches", code="invalid_choice")
    if not access.reason and wants_reason(access, None):
        raise ReasonRequired
    reading = reading_from_now()
    return _chunks(conversations, file_format, branches, access, reading, on_progress)


def _chunks(
    conversations: QuerySet[Conversation],
    file_format: str,
    branches: str,
    access: AccessContext,
    reading: Reading | None,
    on_progress: Progress | None,
) -> Iterator[str]:
    writer, done = WRITERS[file_format], 0
    for batch in _batches(conversations, reading):
        left = None if writer.keeps_tree else branches
        record_exports(access, batch, file_format=file_format, branches=left)
        reviewed = _reviewed_among(batch, reading)
        for conversation in batch:
            record = partial(_recorded, conversation, reading, conversation.pk in reviewed)
            for chat in _chats(
                conversation, branches, reading, record, keeps_tree=writer.keeps_tree
            ):
                yield from writer.write(chat)
            done += 1
            if on_progress is not None:
                on_progress(done)


def _reviewed_among(batch: list[Conversation], reading: Reading | None) -> set[uuid.UUID]:
    """The ids of the conversations with reviews: for the others, none are queried."""
    reviews = Review.objects.filter(
        user_id__in={one.user_id for one in batch}, conversation__in=[one.pk for one in batch]
    )
    ids = reviews.order_by().values_list("conversation_id", flat=True)
    return set(fetch_on(reading, ids.distinct()))


def _batches(
    conversations: QuerySet[Conversation], reading: Reading | None
) -> Iterator[list[Conversation]]:
    """One query for each batch: no cursor or transaction stays open during a slow download."""
    ordered = conversations.select_related("user").defer(None).order_by("pk")
    last = uuid.UUID(int=0)
    while batch := fetch_on(reading, ordered.filter(pk__gt=last)[:BATCH]):
        yield batch
        last = batch[-1].pk


# Takes batches of rows, and what there is to say of branches.
_Record = Callable[..., RecordedChat]


def _chats(
    conversation: Conversation,
    which: str,
    reading: Reading | None,
    record: _Record,
    *,
    keeps_tree: bool,
) -> Iterator[RecordedChat]:
    """The conversation as it was when its row was read: whole, or one for each chosen path."""
    if conversation.last_branch == 0:
        yield record(_all_rows(conversation, reading))
    elif keeps_tree:
        yield _tree(conversation, reading, record)
    else:
        yield from _paths(conversation, which, reading, record)


def _tree(conversation: Conversation, reading: Reading | None, record: _Record) -> RecordedChat:
    place = (conversation.user_id, conversation.pk)
    with reads_on(reading):
        written = written_numbers(*place)
        if len(written) <= 1:
            return record(_all_rows(conversation, reading))
        active = shown_in_file(*place, conversation.active_branch, written)
    return record(_rows_with_parents(conversation, reading), active_branch=active)


def _paths(
    conversation: Conversation,
    which: str,
    reading: Reading | None,
    record: _Record,
) -> Iterator[RecordedChat]:
    branches = Branch.objects.of(conversation.user_id, conversation.pk)
    numbers = fetch_on(reading, branches.order_by("number").values_list("number", flat=True))
    row = Conversation.objects.owned_by(conversation.user_id).filter(pk=conversation.pk)
    for number in numbers if which == ALL else [Subquery(row.values("active_branch"))]:
        # None where it was deleted meanwhile.
        for branch in fetch_on(reading, branches.filter(number=number)):
            batches = _rows_on(conversation, branch.path, reading)
            yield record(batches, branch=_recorded_branch(branch.number, numbers))


def _recorded_branch(number: int, numbers: list[int]) -> RecordedBranch | None:
    """None for the only one."""
    known = sorted({*numbers, number})
    if len(known) == 1:
        return None
    return RecordedBranch(number, position=known.index(number) + 1, count=len(known))


def _recorded(
    conversation: Conversation,
    reading: Reading | None,
    has_reviews: bool,
    batches: Iterator[list[Row]],
    *,
    active_branch: int | None = None,
    branch: RecordedBranch | None = None,
) -> RecordedChat:
    return RecordedChat(
        **{name: getattr(conversation, name) for name in _CHAT_COLUMNS},
        id=str(conversation.pk),
        owner=conversation.user.username,
        messages=_messages(conversation, reading, has_reviews, batches),
        active_branch=active_branch,
        branch=branch,
    )


def _messages(
    conversation: Conversation,
    reading: Reading | None,
    has_reviews: bool,
    batches: Iterator[list[Row]],
) -> Iterator[RecordedMessage]:
    for batch in batches:
        keys = [row["id"] for row in batch]
        reviews = _reviews(conversation, keys, reading) if has_reviews else {}
        for row in batch:
            values = {name: value for name, value in row.items() if name != "updated_at"}
            yield RecordedMessage(**values, reviews=reviews.get(row["id"], ()))


def _all_rows(
    conversation: Conversation, reading: Reading | None, *more_columns: str
) -> Iterator[list[Row]]:
    """In order of sequence; none that are later than the row of the conversation, which may be on
    branches that it does not know of."""
    messages = Message.objects.of(conversation.user_id, conversation.pk)
    known = messages.filter(sequence__lte=conversation.last_sequence)
    rows = known.in_order().values(*_READ_COLUMNS, *more_columns)
    last = 0
    while batch := _read(rows.filter(sequence__gt=last)[:MESSAGE_BATCH], reading):
        yield batch
        last = batch[-1]["sequence"]


def _rows_with_parents(conversation: Conversation, reading: Reading | None) -> Iterator[list[Row]]:
    with reads_on(reading):
        parents = Parents(conversation.user_id, conversation.pk)
    for batch in _all_rows(conversation, reading, "branch"):
        with reads_on(reading):
            known = parents.of(batch)
        yield [
            row | {"parent_id": known[row["id"]], "branch": number_of(row["branch"])}
            for row in batch
            if row["id"] in known
        ]


def _rows_on(
    conversation: Conversation, path: Path, reading: Reading | None
) -> Iterator[list[Row]]:
    messages = Message.objects.of(conversation.user_id, conversation.pk)
    rows = messages.in_order().values(*_READ_COLUMNS)
    until, last = conversation.last_sequence, 0
    while True:
        with reads_on(reading):
            places = places_on(messages, path, after=last, until=until, limit=MESSAGE_BATCH)
        if not places:
            return
        yield _read(rows.filter(sequence__in=[sequence for _, sequence in places]), reading)
        last = places[-1][1]


def _read(rows: QuerySet[Message, Row], reading: Reading | None) -> list[Row]:
    # Judged when it is read: a slow client may take the rows of a batch much later.
    return [as_read(row) for row in fetch_on(reading, rows)]


def _reviews(
    conversation: Conversation, message_ids: list[uuid.UUID], reading: Reading | None
) -> dict[uuid.UUID, list[RecordedReview]]:
    """The reviews of these messages by message id. One SQL query."""
    found: dict[uuid.UUID, list[RecordedReview]] = {}
    reviews = Review.objects.filter(
        user_id=conversation.user_id, conversation=conversation, message_id__in=message_ids
    )
    for review in fetch_on(reading, reviews.order_by("created_at", "id")):
        found.setdefault(review.message_id, []).append(
            RecordedReview(
                reviewer=review.reviewer_name,
                score=review.score,
                labels=review.labels,
                comment=review.comment,
                created_at=review.created_at,
                updated_at=review.updated_at,
            )
        )
    return found
