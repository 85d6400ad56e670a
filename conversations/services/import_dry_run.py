"""What a dry run has seen of a file: an import would have stored it, and would find it again."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence

import orjson

from conversations.formats import Chat, MessageDraft
from conversations.services.conversations import TAKEN_EXTERNAL_ID
from conversations.services.errors import Conflict
from conversations.services.import_as_exported import IN_FILE_TWICE, digest_of
from conversations.services.import_one import COMPARED, STORED_DIFFERS, STORED_IS_SHORTER
from conversations.services.validators import as_stored

_DIGEST_BYTES = 8
_TABLE = "CREATE TABLE seen (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID"


class Seen:
    """Keys of conversations with digests of their messages, in a temporary file: of a file with
    millions of conversations they do not fit into memory."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)  # removed when it is closed
        self._database.execute("PRAGMA journal_mode = off")
        self._database.execute(_TABLE)

    def close(self) -> None:
        self._database.close()

    def add(
        self,
        key: bytes,
        chat: Chat,
        drafts: Sequence[MessageDraft],
        external_key: tuple[int, str] | None,
    ) -> None:
        self._store(key, _digests(chat, drafts))
        if external_key:
            self._store(_bytes_of(external_key), key)

    def has(
        self,
        keys: Sequence[bytes],
        chat: Chat,
        drafts: Sequence[MessageDraft],
        external_key: tuple[int, str] | None,
    ) -> bool:
        """Whether a conversation with one of these keys was added that begins with these messages.

        Raises Conflict for one with other messages, and for the external id of another one.
        """
        found = [(key, value) for key in keys if (value := self._find(key)) is not None]
        own = found[0][0] if found else keys[0]
        if external_key and self._find(_bytes_of(external_key)) not in (None, own):
            raise Conflict(TAKEN_EXTERNAL_ID, field="external_id")
        if found and chat.exported is not None:
            if found[0][1] != _digests(chat, drafts):
                raise Conflict(IN_FILE_TWICE, field="id")
        elif found:
            _compare(found[0][1], _digests(chat, drafts))
        return bool(found)

    def _find(self, key: bytes) -> bytes | None:
        row = self._database.execute("SELECT value FROM seen WHERE key = ?", [key]).fetchone()
        return None if row is None else row[0]

    def _store(self, key: bytes, value: bytes) -> None:
        self._database.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", [key, value])


def _bytes_of(external_key: tuple[int, str]) -> bytes:
    return orjson.dumps(external_key)


def _digests(chat: Chat, drafts: Sequence[MessageDraft]) -> bytes:
    """Of each message, with what it follows; or one of all of it, as it was exported."""
    if chat.exported is not None:
        return digest_of(chat, drafts)
    parents = chat.parents or [None] * len(drafts)
    branches = chat.branches or [None] * len(drafts)
    values = (
        [*(as_stored(getattr(draft, name)) for name in COMPARED), *place]
        for draft, *place in zip(drafts, parents, branches, strict=True)
    )
    return b"".join(
        hashlib.sha256(orjson.dumps(each, default=str)).digest()[:_DIGEST_BYTES] for each in values
    )


def _compare(stored: bytes, given: bytes) -> None:
    if stored.startswith(given):
        return
    if given.startswith(stored):
        counts = {"stored": len(stored) // _DIGEST_BYTES, "given": len(given) // _DIGEST_BYTES}
        raise Conflict(STORED_IS_SHORTER.format(**counts), field="messages")
    starts = range(0, len(given), _DIGEST_BYTES)
    ends = ((start, start + _DIGEST_BYTES) for start in starts)
    index = next(at for at, (a, b) in enumerate(ends) if stored[a:b] != given[a:b])
    raise Conflict(STORED_DIFFERS, field=f"messages.{index}")
