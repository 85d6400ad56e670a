"""Stored conversations as an export format reads them, with their messages in batches.

Of a conversation with branches, a format that keeps the tree gets all messages; the others get the
active path, or each path as a conversation. Those without are read many at once.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from itertools import groupby
from operator import itemgetter
from typing import TypeVar

from django.db.models import BigIntegerField, JSONField, QuerySet, Subquery, TextField
from django.db.models.expressions import RawSQL
from django.db.models.functions import Cast

from conversations.db.bulk_rows import Row
from conversations.db.replicas import Reading, fetch_on, reads_on
from conversations.formats import (
    RECORDED_FIELDS,
    RecordedBranch,
    RecordedChat,
    RecordedMessage,
    RecordedReview,
    Writer,
)
from conversations.formats.writers.json_values import JsonText
from conversations.models import Branch, Conversation, Message, Review, as_read
from conversations.models.branch_path import Path, number_of
from conversations.selectors.branches import places_on
from conversations.selectors.whole_trees import Parents, shown_in_file, written_numbers
from conversations.services.audit import ListedChat

MESSAGE_BATCH = 500
PIECE_BYTES = 4 * 1024 * 1024
ACTIVE, ALL = BRANCHES = ("active", "all")

_NO_COLUMNS = {"id", "owner", "messages", "active_branch", "branch"}
_CHAT_COLUMNS = [column.name for column in fields(RecordedChat) if column.name not in _NO_COLUMNS]
_MESSAGE_COLUMNS = ("id", "sequence", *RECORDED_FIELDS)
_OF_TREES = ("branch", "parent_id")
_READ_COLUMNS = (*_MESSAGE_COLUMNS, "conversation_id", "branch", "updated_at")
_JSON_COLUMNS = frozenset(
    name for name in _READ_COLUMNS if isinstance(Message._meta.get_field(name), JSONField)
)
# In bytes, as it is stored; what is compressed is not read for it.
_SIZE = RawSQL(  # noqa: S611
    " + ".join(
        ["octet_length(content)"]
        + [f"coalesce(pg_column_size({name}), 0)" for name in sorted(_JSON_COLUMNS)]
    ),
    (),
    output_field=BigIntegerField(),
)
_Batches = Iterator[list[Row]]
Listed = TypeVar("Listed", Conversation, ListedChat)


class Recorder:
    """Reads conversations for a writer. `name_of` is what the reader of the file calls an owner;
    `reviewed` are the conversations whose reviews are read. `by_size`: they are long, so as many
    messages are read at once as have about PIECE_BYTES."""

    def __init__(
        self,
        writer: Writer,
        branches: str,
        reading: Reading | None,
        name_of: Callable[[str], str],
        reviewed: set[uuid.UUID],
        *,
        by_size: bool = False,
    ) -> None:
        self._by_size = by_size
        self._writer, self._branches, self._reading = writer, branches, reading
        self._name_of, self._reviewed = name_of, reviewed

    def chats(self, batch: Sequence[Conversation]) -> Iterator[RecordedChat]:
        """The conversations as they were when their rows were read, each whole or one for each
        chosen path. The messages of one are to be read before the next one is taken."""
        for is_short, some in groupby(batch, _is_short):
            if is_short and not self._by_size:
                yield from self._short(list(some))
            else:
                for conversation in some:
                    yield from self._chats(conversation)

    def _short(self, conversations: list[Conversation]) -> Iterator[RecordedChat]:
        """The messages of several are read at once."""
        for some in within(conversations, MESSAGE_BATCH):
            messages = Message.objects.filter(
                user_id__in={one.user_id for one in some},
                conversation_id__in=[one.pk for one in some],
            )
            found = self._rows(messages.order_by("conversation_id", "sequence"))
            rows = {key: list(of) for key, of in groupby(found, itemgetter("conversation_id"))}
            for one in some:
                # None that are later than the row of the conversation.
                known = [
                    row for row in rows.get(one.pk, ()) if row["sequence"] <= one.last_sequence
                ]
                yield self._recorded(one, iter([known]))

    def _chats(self, conversation: Conversation) -> Iterator[RecordedChat]:
        if conversation.last_branch == 0:
            yield self._recorded(conversation, self._all_rows(conversation))
        elif self._writer.keeps_tree:
            yield self._tree(conversation)
        else:
            yield from self._paths(conversation)

    def _tree(self, conversation: Conversation) -> RecordedChat:
        place = (conversation.user_id, conversation.pk)
        with reads_on(self._reading):
            written = written_numbers(*place)
            if len(written) <= 1:
                return self._recorded(conversation, self._all_rows(conversation))
            active = shown_in_file(*place, conversation.active_branch, written)
        rows = self._rows_with_parents(conversation)
        return self._recorded(conversation, rows, active_branch=active)

    def _paths(self, conversation: Conversation) -> Iterator[RecordedChat]:
        branches = Branch.objects.of(conversation.user_id, conversation.pk)
        found = branches.order_by("number").values_list("number", flat=True)
        numbers = fetch_on(self._reading, found)
        row = Conversation.objects.owned_by(conversation.user_id).filter(pk=conversation.pk)
        chosen = numbers if self._branches == ALL else [Subquery(row.values("active_branch"))]
        for number in chosen:
            # None where it was deleted meanwhile.
            for branch in fetch_on(self._reading, branches.filter(number=number)):
                rows = self._rows_on(conversation, branch.path)
                recorded = _recorded_branch(branch.number, numbers)
                yield self._recorded(conversation, rows, branch=recorded)

    def _recorded(
        self,
        conversation: Conversation,
        batches: _Batches,
        *,
        active_branch: int | None = None,
        branch: RecordedBranch | None = None,
    ) -> RecordedChat:
        values = {name: getattr(conversation, name) for name in _CHAT_COLUMNS}
        if self._writer.json_as_text:
            values["metadata"] = JsonText(conversation.metadata_text)  # type: ignore[attr-defined]
        return RecordedChat(
            **values,
            id=str(conversation.pk),
            owner=self._name_of(conversation.user.username),
            messages=self._messages(conversation, batches),
            active_branch=active_branch,
            branch=branch,
        )

    def _messages(self, conversation: Conversation, batches: _Batches) -> Iterator[RecordedMessage]:
        has_reviews = conversation.pk in self._reviewed
        for batch in batches:
            reviews = self._reviews(conversation, batch) if has_reviews else {}
            for row in batch:
                names = _MESSAGE_COLUMNS + (_OF_TREES if "parent_id" in row else ())
                values = {name: row[name] for name in names}
                yield RecordedMessage(**values, reviews=reviews.get(row["id"], ()))

    def _all_rows(self, conversation: Conversation) -> _Batches:
        """In order of sequence; none that are later than the row of the conversation, which may be
        on branches that it does not know of."""
        messages = Message.objects.of(conversation.user_id, conversation.pk)
        known = messages.filter(sequence__lte=conversation.last_sequence).in_order()
        last = 0
        if self._by_size:
            for last, until in self._pieces(known):
                yield self._rows(known.filter(sequence__gt=last, sequence__lte=until))
            return
        while batch := self._rows(known.filter(sequence__gt=last)[:MESSAGE_BATCH]):
            yield batch
            last = batch[-1]["sequence"]

    def _pieces(self, messages: QuerySet[Message]) -> Iterator[tuple[int, int]]:
        """After and up to which sequences they have PIECE_BYTES together, or are a single one."""
        after = until = size = 0
        sizes = fetch_on(self._reading, messages.values_list("sequence", _SIZE))
        for sequence, bytes_ in sizes:
            if size and size + bytes_ > PIECE_BYTES:
                yield after, until
                after, size = until, 0
            until, size = sequence, size + bytes_
        if until > after:
            yield after, until

    def _rows_with_parents(self, conversation: Conversation) -> _Batches:
        with reads_on(self._reading):
            parents = Parents(conversation.user_id, conversation.pk)
        for batch in self._all_rows(conversation):
            with reads_on(self._reading):
                known = parents.of(batch)
            yield [
                row | {"parent_id": known[row["id"]], "branch": number_of(row["branch"])}
                for row in batch
                if row["id"] in known
            ]

    def _rows_on(self, conversation: Conversation, path: Path) -> _Batches:
        messages = Message.objects.of(conversation.user_id, conversation.pk)
        until, last = conversation.last_sequence, 0
        while True:
            with reads_on(self._reading):
                places = places_on(messages, path, after=last, until=until, limit=MESSAGE_BATCH)
            if not places:
                return
            sequences = [sequence for _, sequence in places]
            yield self._rows(messages.filter(sequence__in=sequences).in_order())
            last = places[-1][1]

    def _rows(self, messages: QuerySet[Message]) -> list[Row]:
        as_text = _JSON_COLUMNS if self._writer.json_as_text else frozenset()
        columns = [Cast(name, TextField()) if name in as_text else name for name in _READ_COLUMNS]
        rows = [
            dict(zip(_READ_COLUMNS, values, strict=True))
            for values in fetch_on(self._reading, messages.values_list(*columns))
        ]
        for row in rows:
            row |= {name: JsonText(row[name]) for name in as_text if row[name] is not None}
        # Judged when it is read: a slow client may take the rows of a batch much later.
        return [as_read(row) for row in rows]

    def _reviews(
        self, conversation: Conversation, messages: list[Row]
    ) -> dict[uuid.UUID, list[RecordedReview]]:
        """The reviews of these messages by message id. One SQL query."""
        found: dict[uuid.UUID, list[RecordedReview]] = {}
        reviews = Review.objects.filter(
            user_id=conversation.user_id,
            conversation=conversation,
            message_id__in=[row["id"] for row in messages],
        )
        for review in fetch_on(self._reading, reviews.order_by("created_at", "id")):
            found.setdefault(review.message_id, []).append(_recorded_review(review))
        return found


def _is_short(conversation: Conversation) -> bool:
    return conversation.last_branch == 0 and conversation.message_count <= MESSAGE_BATCH


def within(conversations: Iterable[Listed], messages: int) -> Iterator[list[Listed]]:
    """The conversations in groups that have no more messages together, or are a single one."""
    group: list[Listed] = []
    total = 0
    for one in conversations:
        if group and total + one.message_count > messages:
            yield group
            group, total = [], 0
        group.append(one)
        total += one.message_count
    if group:
        yield group


def _recorded_branch(number: int, numbers: list[int]) -> RecordedBranch | None:
    """None for the only one."""
    known = sorted({*numbers, number})
    if len(known) == 1:
        return None
    return RecordedBranch(number, position=known.index(number) + 1, count=len(known))


def _recorded_review(review: Review) -> RecordedReview:
    return RecordedReview(
        reviewer=review.reviewer_name,
        score=review.score,
        labels=review.labels,
        comment=review.comment,
        created_at=review.created_at,
        updated_at=review.updated_at,
    )
