"""What a dry run has seen of a file: an import would have stored it, and would find it again."""

from __future__ import annotations

import hashlib
import sqlite3
import struct
from collections.abc import Sequence

import orjson

from conversations.formats import Chat, MessageDraft
from conversations.services.conversations import TAKEN_EXTERNAL_ID
from conversations.services.errors import Conflict
from conversations.services.import_additions import SAID, STORED_DIFFERS, names_of
from conversations.services.import_as_exported import IN_FILE_TWICE, digest_of
from conversations.services.validators import as_stored

# Of a message: its index in the file that it was seen in, and a digest of what it is.
_MESSAGE = struct.Struct(">I8s")
_TABLE = "CREATE TABLE seen (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID"

_ExternalKey = tuple[int, str] | None


class Seen:
    """Keys of conversations with digests of their messages, in a temporary file: of a file with
    millions of conversations they do not fit into memory."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)  # removed when it is closed
        self._database.execute("PRAGMA journal_mode = off")
        self._database.execute(_TABLE)

    def close(self) -> None:
        self._database.close()

    def without(
        self,
        keys: Sequence[bytes],
        chat: Chat,
        drafts: Sequence[MessageDraft],
        external_key: _ExternalKey,
        indexes: Sequence[int],
    ) -> tuple[bool, list[int]]:
        """Whether a conversation with one of these keys was added, and which of the messages with
        these indexes it did not have.

        Raises Conflict for one with other messages, and for the external id of another one.
        """
        key = self._key_of(keys)
        value = self._find(key)
        if external_key and self._find(_bytes_of(external_key)) not in (None, key):
            raise Conflict(TAKEN_EXTERNAL_ID, field="external_id")
        if value is None:
            return False, list(indexes)
        if chat.exported is not None:
            if value != digest_of(chat, drafts):
                raise Conflict(IN_FILE_TWICE, field="id")
            return True, []
        return True, _not_in(value, chat, drafts, indexes)

    def add(
        self,
        keys: Sequence[bytes],
        chat: Chat,
        drafts: Sequence[MessageDraft],
        external_key: _ExternalKey,
        indexes: Sequence[int],
    ) -> None:
        """Note the messages with these indexes."""
        key = self._key_of(keys)
        if chat.exported is not None:
            self._store(key, digest_of(chat, drafts))
        elif indexes:
            digests = _digests(chat, drafts)
            added = b"".join(_MESSAGE.pack(index, digests[index]) for index in indexes)
            self._store(key, (self._find(key) or b"") + added)
        if external_key:
            self._store(_bytes_of(external_key), key)

    def _key_of(self, keys: Sequence[bytes]) -> bytes:
        """The one that was added, or else the first."""
        return next((key for key in keys if self._find(key) is not None), keys[0])

    def _find(self, key: bytes) -> bytes | None:
        row = self._database.execute("SELECT value FROM seen WHERE key = ?", [key]).fetchone()
        return None if row is None else row[0]

    def _store(self, key: bytes, value: bytes) -> None:
        self._database.execute("INSERT OR REPLACE INTO seen VALUES (?, ?)", [key, value])


def _bytes_of(external_key: tuple[int, str]) -> bytes:
    return orjson.dumps(external_key)


def _not_in(
    value: bytes, chat: Chat, drafts: Sequence[MessageDraft], indexes: Sequence[int]
) -> list[int]:
    """As `import_additions.Matching` finds them. Raises Conflict."""
    seen = dict(_MESSAGE.iter_unpack(value))
    digests, there = _digests(chat, drafts), set(seen.values())
    new = [index for index in indexes if digests[index] not in there]
    names = names_of(drafts)
    for index in new:
        if index in seen and names[index] is None:
            raise Conflict(STORED_DIFFERS, field=f"messages.{index}")
    return new


def _digests(chat: Chat, drafts: Sequence[MessageDraft]) -> list[bytes]:
    """Of each message the id that the application gave it, or what it says and after which one."""
    digests: list[bytes] = []
    for index, (draft, name) in enumerate(zip(drafts, names_of(drafts), strict=True)):
        follows = index - 1 if index else None
        if chat.parents:
            follows = chat.parents[index]
        before = b"" if follows is None else digests[follows]
        said = [as_stored(getattr(draft, column)) for column in SAID]
        value = orjson.dumps(name if name is not None else [before.hex(), *said], default=str)
        digests.append(hashlib.sha256(value).digest()[:8])
    return digests
