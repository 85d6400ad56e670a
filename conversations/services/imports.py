"""Import whole conversations, idempotently and in batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import orjson

from conversations.db import replicas
from conversations.formats import Chat, MessageDraft, Rejected
from conversations.services.errors import InvalidValue, ServiceError
from conversations.services.import_as_exported import check_exported
from conversations.services.import_batches import Item, Outcome, look_at_batch, store_batch
from conversations.services.import_dry_run import Seen
from conversations.services.import_one import as_imported, check_chat
from conversations.services.import_owners import NOT_FOR_STAFF, OwnersFrom, ids_of_owners

# A batch ends with the conversation that makes it so large.
BATCH_CONVERSATIONS, BATCH_MESSAGES, BATCH_BYTES = 2_000, 5_000, 8 * 1024 * 1024
REJECTIONS_KEPT = 1_000

OnRejected = Callable[[str, Rejected], None]


@dataclass(slots=True)
class ImportReport:
    """Counts of conversations by result; `messages` and `tool_calls` count those created, also in
    conversations that were stored before and had grown in the file: the `extended`.

    `rejected` has the first REJECTIONS_KEPT of the `rejections`, `formats` how many conversations
    were read in each format.
    """

    read: int = 0
    created: int = 0
    extended: int = 0
    already_there: int = 0
    rejections: int = 0
    messages: int = 0
    tool_calls: int = 0
    rejected: list[Rejected] = field(default_factory=list)
    formats: Counter[str] = field(default_factory=Counter)


def import_conversations(
    *,
    chats: Iterable[Chat | Rejected],
    owner_id: int,
    source: str,
    on_progress: Callable[[ImportReport], None] | None = None,
) -> ImportReport:
    """Import the conversations of one source for one owner, as an `Importer` does.

    `chats` is consumed one by one; `on_progress` is called after each batch.
    """
    importer = Importer(owners=owner_id, on_progress=on_progress)
    for chat in chats:
        importer.add(chat, source=source)
    importer.finish()
    replicas.keep_written(owner_id)
    return importer.report


@dataclass(slots=True)
class _Read:
    """What was read at a place: `owner` is an id, or the username of an owner of the file."""

    place: str
    source: str
    chat: Chat | Rejected
    drafts: list[MessageDraft] = field(default_factory=list)
    owner: int | str = 0


class Importer:
    """Stores conversations as they are added, each whole or not at all, a batch a transaction.

    `owners` is the id of their owner, or says where they name their owners. Owner, source
    ("import:openai", which is stored) and the key of a conversation determine its id, so that a
    repeated import finds the stored rows. These are not changed: a conversation counts as already
    stored if the stored one has its messages (title and metadata may have changed since), else
    those are added that it lacks (`import_additions.py`). So an import that was killed is completed
    by running it again. One with `exported` has its own id, and is already stored only if it is
    stored just so.

    A dry run stores nothing, and has the same report. `on_rejected` is called with the place that
    was given to `add` and why it is refused, in the order of the file; `on_progress` after each
    batch. What was added last is stored by `finish`.
    """

    def __init__(
        self,
        *,
        owners: int | OwnersFrom,
        dry_run: bool = False,
        on_rejected: OnRejected | None = None,
        on_progress: Callable[[ImportReport], None] | None = None,
    ) -> None:
        self.report = ImportReport()
        self._owners = owners
        self._seen = Seen() if dry_run else None
        self._on_rejected = on_rejected
        self.on_progress = on_progress
        self._batch: list[_Read] = []
        self._messages = self._bytes = 0

    def add(self, chat: Chat | Rejected, *, source: str, place: str = "") -> None:
        """`place` is where its file was, for `on_rejected`."""
        self.report.read += 1
        if isinstance(chat, Chat) and chat.format:
            self.report.formats[chat.format] += 1
        self._batch.append(self._checked(_Read(place, source, chat)))
        full = len(self._batch) >= BATCH_CONVERSATIONS or self._messages >= BATCH_MESSAGES
        if full or self._bytes >= BATCH_BYTES:
            self._store()

    def finish(self) -> None:
        """Store what is left, and forget what a dry run has seen."""
        self._store()
        if self._seen is not None:
            self._seen.close()

    def _checked(self, read: _Read) -> _Read:
        if isinstance(read.chat, Rejected):
            return read
        read.drafts = as_imported(read.chat)
        try:
            check_chat(read.chat, read.drafts)
            if read.chat.exported is not None:
                check_exported(read.chat, read.chat.exported)
            owners = self._owners
            read.owner = owners if isinstance(owners, int) else owners.username_of(read.chat)
        except ServiceError as error:
            read.chat = _rejected(read.chat, error)
            return read
        self._messages += len(read.drafts)
        self._bytes += _size_of(read.drafts)
        return read

    def _store(self) -> None:
        batch, self._batch, self._messages, self._bytes = self._batch, [], 0, 0
        if not batch:
            return
        ids = self._owner_ids(batch)
        items: list[tuple[_Read, Item]] = []
        for read in batch:
            if isinstance(read.chat, Chat):
                if read.owner in ids:
                    item = Item(read.chat, read.drafts, ids[read.owner], read.source)
                    items.append((read, item))
                else:
                    read.chat = _rejected(read.chat, self._not_for_staff())
        stored = [item for _, item in items]
        outcomes = store_batch(stored) if self._seen is None else look_at_batch(stored, self._seen)
        for (read, _), outcome in zip(items, outcomes, strict=True):
            self._count(read, outcome)
        if self._seen is None:
            replicas.keep_written(*{item.owner_id for item in stored})
        self._report_rejected(batch)
        if self.on_progress is not None:
            self.on_progress(self.report)

    def _owner_ids(self, batch: list[_Read]) -> dict[int | str, int]:
        if isinstance(self._owners, int):
            return {self._owners: self._owners}
        names = {str(read.owner) for read in batch if isinstance(read.chat, Chat)}
        with_staff, dry_run = self._owners.with_staff, self._seen is not None
        ids = ids_of_owners(names, with_staff=with_staff, dry_run=dry_run)
        return dict(ids.items())

    def _not_for_staff(self) -> InvalidValue:
        assert isinstance(self._owners, OwnersFrom)
        return InvalidValue(NOT_FOR_STAFF, field=self._owners.path)

    def _count(self, read: _Read, outcome: Outcome) -> None:
        if isinstance(outcome, ServiceError):
            assert isinstance(read.chat, Chat)
            read.chat = _rejected(read.chat, outcome)
            return
        self.report.messages += len(outcome.messages)
        self.report.tool_calls += sum(len(draft.tool_calls or ()) for draft in outcome.messages)
        if outcome.new:
            self.report.created += 1
        elif outcome.messages:
            self.report.extended += 1
        else:
            self.report.already_there += 1

    def _report_rejected(self, batch: list[_Read]) -> None:
        for read in batch:
            if isinstance(read.chat, Rejected):
                self.report.rejections += 1
                if len(self.report.rejected) < REJECTIONS_KEPT:
                    self.report.rejected.append(read.chat)
                if self._on_rejected is not None:
                    self._on_rejected(read.place, read.chat)


def _rejected(chat: Chat, error: ServiceError) -> Rejected:
    return Rejected.at(chat.line, error.field, error.detail, file=chat.file)


def _size_of(drafts: list[MessageDraft]) -> int:
    """About how many bytes they take."""
    size = sum(len(draft.content) for draft in drafts)
    for draft in drafts:
        for value in (draft.parts, draft.tool_calls, draft.sources, draft.extra):
            if value:
                size += len(orjson.dumps(value))
    return size
