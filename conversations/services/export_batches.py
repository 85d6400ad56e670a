"""The text of an export in batches, with the AccessRecords of a batch stored before its text."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, groupby
from operator import attrgetter
from typing import Any, NamedTuple

from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast

from conversations.db.owners import is_distributed
from conversations.db.read_ahead import read_ahead
from conversations.db.replicas import Reading, fetch_on, reads_on
from conversations.formats import RecordedChat, Writer
from conversations.models import AccessContext, Conversation, Message, Review, Status
from conversations.models.user_names import name_of
from conversations.selectors.conversation_lines import Line, objects_of
from conversations.services.audit import ListedChat, record_exports
from conversations.services.recorded_chats import Recorder, within

# Of conversations, and of messages that the database writes at once.
BATCH = 500
WRITTEN_AT_ONCE = 5_000
# Conversations whose texts are joined: larger ones take more time in memory that is new each time.
JOINED = 50
# As ListedChat has them.
_LISTED = (
    *("pk", "user_id", "user__username"),
    *("message_count", "last_sequence", "last_branch", "branch_count"),
)

Progress = Callable[[int], None]
# A conversation and what the database writes of it; None where that is too long for it.
Text = tuple[uuid.UUID, str | None]


@dataclass(frozen=True, slots=True)
class Export:
    """What all steps of an export need to know."""

    conversations: QuerySet[Conversation]
    file_format: str
    writer: Writer
    branches: str
    access: AccessContext
    reading: Reading | None
    on_progress: Progress | None = None
    # Whether its records are stored already.
    is_recorded: bool = False
    # How many database sessions read what the database writes.
    jobs: int = 1

    def name_of(self, username: str) -> str:
        """What the reader of the file calls an owner: a trusted client, by its names."""
        caller = self.access.caller
        return str(name_of(username, caller.namespace)) if caller else username

    @property
    def with_reviews(self) -> bool:
        """Those of staff are not for the owner, nor for a trusted client."""
        return self.access.caller is None or self.access.caller.reader


class _Part(NamedTuple):
    """Conversations that are written by the database, or one after the other in Python, and the
    ids of those with reviews."""

    chats: list[ListedChat]
    is_plain: bool
    reviewed: set[uuid.UUID]


def one_file(export: Export) -> Iterator[str]:
    writer = export.writer
    before, begun = writer.begin, False
    for chunk in _chunks(export):
        if before:
            yield before
        yield from chunk
        before, begun = writer.between, True
    if ending := ("" if begun else writer.begin) + writer.end:
        yield ending


def _chunks(export: Export) -> Iterator[Iterator[str]]:
    """The text of one conversation each, or of several that the database writes."""
    done = 0
    for part, texts in read_ahead(_parts(export), partial(_texts_of, export), sessions=export.jobs):
        if texts is None:
            for _, chats in _recorded(export, part.chats, part.reviewed):
                yield from map(export.writer.write, chats)
                done = _told(export, done + 1)
        else:
            yield from _written(export, part, texts)
            done = _told(export, done + len(part.chats))


def _parts(export: Export) -> Iterator[_Part]:
    for batch in _batches(export):
        reviewed = _reviewed_among(export, batch)
        plain = _plain_among(export, batch)
        for is_plain, group in groupby(batch, plain.__contains__):
            for chats in within(group, WRITTEN_AT_ONCE):
                yield _Part(chats, is_plain, reviewed)


def _joined(texts: list[str]) -> Iterator[str]:
    return ("".join(texts[at : at + JOINED]) for at in range(0, len(texts), JOINED))


def files_of(export: Export) -> Iterator[tuple[str, Iterator[str]]]:
    done, writer = 0, export.writer
    for batch in _batches(export):
        for _, chats in _recorded(export, batch, _reviewed_among(export, batch)):
            for chat in chats:
                branch = f"-branch-{chat.branch.number}" if chat.branch else ""
                text = chain([writer.begin], writer.write(chat), [writer.end])
                yield f"{chat.id}{branch}.{writer.extension}", text
            done = _told(export, done + 1)


def _told(export: Export, done: int) -> int:
    if export.on_progress is not None:
        export.on_progress(done)
    return done


def _batches(export: Export) -> Iterator[list[ListedChat]]:
    """One query for each batch: no cursor or transaction stays open during a slow download."""
    rows = export.conversations.order_by("pk").values_list(*_LISTED)
    last, is_more = uuid.UUID(int=0), True
    while is_more:
        found = fetch_on(export.reading, rows.filter(pk__gt=last)[:BATCH])
        batch, is_more = [ListedChat(*row) for row in found], len(found) == BATCH
        if not batch:
            return
        left = None if export.writer.keeps_tree else export.branches
        if not export.is_recorded:
            record_exports(export.access, batch, file_format=export.file_format, branches=left)
        yield batch
        last = batch[-1].pk


def _reviewed_among(export: Export, batch: list[ListedChat]) -> set[uuid.UUID]:
    """The ids of the conversations whose reviews are to be read."""
    if not export.with_reviews:
        return set()
    ids = _of_batch(Review, batch).order_by().values_list("conversation_id", flat=True)
    return set(fetch_on(export.reading, ids.distinct()))


def _plain_among(export: Export, batch: list[ListedChat]) -> set[ListedChat]:
    """The conversations that the database writes: without branches or a running answer,
    and not on a cluster, whose nodes each have a part of them."""
    if not export.writer.database_writes or is_distributed():
        return set()
    running = _of_batch(Message, batch).filter(status=Status.STREAMING)
    ids = set(fetch_on(export.reading, running.values_list("conversation_id", flat=True)))
    return {
        one
        for one in batch
        if one.last_branch == 0 and one.message_count <= WRITTEN_AT_ONCE and one.pk not in ids
    }


def _of_batch(model: type[Message | Review], batch: list[ListedChat]) -> QuerySet[Any]:
    owners, ids = {one.user_id for one in batch}, [one.pk for one in batch]
    return model._default_manager.filter(user_id__in=owners, conversation_id__in=ids)


def _texts_of(export: Export, part: _Part) -> list[Text] | None:
    """As the database writes them, those that are still there; None where Python does."""
    if not part.is_plain:
        return None
    lines = [
        Line(
            one.user_id,
            one.pk,
            one.last_sequence,
            export.name_of(one.username),
            one.pk in part.reviewed,
        )
        for one in part.chats
    ]
    with reads_on(export.reading):
        texts = objects_of(lines, end=export.writer.between or "\n")
    return [(one.pk, None) for one in part.chats] if texts is None else texts


def _written(export: Export, part: _Part, texts: list[Text]) -> Iterator[Iterator[str]]:
    """The texts; of those too long for the database as the writer does, with few messages in
    memory."""
    listed = {one.pk: one for one in part.chats}
    for is_long, group in groupby(texts, lambda text: text[1] is None):
        some = list(group)
        if is_long:
            long = [listed[id_] for id_, _ in some]
            for _, chats in _recorded(export, long, part.reviewed, by_size=True):
                yield from map(export.writer.write, chats)
        else:
            found = [text or "" for _, text in some]
            found[-1] = found[-1].removesuffix(export.writer.between)
            yield _joined(found)


def _recorded(
    export: Export, batch: list[ListedChat], reviewed: set[uuid.UUID], *, by_size: bool = False
) -> Iterator[tuple[str, Iterator[RecordedChat]]]:
    """By id the conversations, each as one or several."""
    rows = Conversation.objects.filter(
        user_id__in={one.user_id for one in batch}, pk__in=[one.pk for one in batch]
    )
    if export.writer.json_as_text:
        rows = rows.annotate(metadata_text=Cast("metadata", TextField()))
    found = fetch_on(export.reading, rows.select_related("user").order_by("pk"))
    recorder = Recorder(
        export.writer, export.branches, export.reading, export.name_of, reviewed, by_size=by_size
    )
    return groupby(recorder.chats(found), attrgetter("id"))
