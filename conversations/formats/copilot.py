"""A chat of VS Code with Copilot: what `Chat: Export Chat…` writes, or a file of `chatSessions`.

Source: `chatModel.ts`, `chatSessionStore.ts` and `objectMutationLog.ts` of
https://github.com/microsoft/vscode. Times are in milliseconds. One JSON object:

    {"version", "sessionId", "creationDate", "lastMessageDate", "customTitle", "requesterUsername",
     "responderUsername", "requests": [{"requestId", "message": {"text", "parts"}, "timestamp",
       "modelId", "response": [part, …], "result": {"timings", "metadata", "errorDetails"},
       "vote", "isCanceled", …}, …]}

Newer sessions are JSON Lines, each a change of that object: `{"kind": 0, "v": object}`, set
`{"kind": 1, "k": path, "v"}`, push `{"kind": 2, "k": path, "v": [values], "i": length before}` and
delete `{"kind": 3, "k": path}`.

How a session is stored: each request as a question and its answer, whose tools' results are
messages of their own (`copilot_message.py`). The id is `sessionId`, or that of the first request in
an export, which has none. All else is kept: of a request in `extra` of its question, of its result
in that of its answer, of the session in its metadata.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from conversations.formats.arrays import read_values
from conversations.formats.chat import Chat, Malformed, Rejected
from conversations.formats.checks import (
    as_id,
    as_list,
    as_object,
    as_text_or_none,
    as_unix_ms_or_none,
    required,
)
from conversations.formats.copilot_message import read_request
from conversations.formats.lines import NOT_AN_OBJECT
from conversations.formats.unmapped import as_metadata, unmapped

NO_SUCH_PLACE = "No such place in the session before this change."
UNKNOWN_CHANGE = "Must be 0 to 3."
NOT_A_PATH = "Must be a list of names and indexes that is not empty."

_INITIAL, _SET, _PUSH, _DELETE = range(4)
_NOT_METADATA = frozenset({"customTitle", "creationDate", "lastMessageDate", "requests"})

_Object = dict[str, Any]


def looks_like_copilot(value: _Object) -> bool:
    """Whether the first value of a file is a session of this format, or the beginning of one."""
    session = value.get("v") if value.get("kind") == _INITIAL else value
    return isinstance(session, dict) and isinstance(session.get("requests"), list)


def read_copilot(file: BinaryIO) -> Iterator[Chat | Rejected]:
    """Parse a file opened in binary mode; holds one session in memory.

    The `line` of a conversation is its place in the file, which has one. A change that cannot be
    made ends a session there, and is refused.
    """
    session: _Object | None = None
    start = 1
    for found in read_values(file):
        if isinstance(found, Rejected):
            yield found
            continue
        place, value = found
        try:
            change = _object(value)
            if "requests" in change or "kind" not in change:
                yield _chat(place, change)
                continue
            if change["kind"] == _INITIAL:
                session, start = as_object("v", required("v", change.get("v"))), place
            elif session is not None:
                _make(change, session)
            else:
                raise Malformed("k", NO_SUCH_PLACE)
        except Malformed as error:
            yield Rejected.at(place, error.field, error.detail)
            if session is not None:
                break
    if session is not None:
        try:
            yield _chat(start, session)
        except Malformed as error:
            yield Rejected.at(start, error.field, error.detail)


def _object(value: Any) -> _Object:
    if not isinstance(value, dict):
        raise Malformed(None, NOT_AN_OBJECT)
    return value


def _make(change: _Object, session: _Object) -> None:
    """Make a change of a session. Raises Malformed."""
    kind, path = change["kind"], change.get("k")
    if kind not in (_SET, _PUSH, _DELETE) or isinstance(kind, bool):
        raise Malformed("kind", UNKNOWN_CHANGE)
    if not isinstance(path, list) or not path:
        raise Malformed("k", NOT_A_PATH)
    try:
        inside: Any = session
        for key in path[:-1]:
            inside = inside[_key(inside, key)]
        key = _key(inside, path[-1])
        if kind == _PUSH:
            _push(inside, key, change)
        elif kind == _DELETE or "v" not in change:
            if isinstance(inside, dict):
                inside.pop(key, None)
            else:
                inside[key] = None
        elif isinstance(inside, list) and key == len(inside):
            inside.append(change["v"])
        else:
            inside[key] = change["v"]
    except (KeyError, IndexError, TypeError):
        raise Malformed("k", NO_SUCH_PLACE) from None


def _key(inside: Any, key: Any) -> Any:
    """A name in an object, an index from 0 in a list. Raises TypeError."""
    if isinstance(inside, dict) and isinstance(key, str):
        return key
    if isinstance(inside, list) and type(key) is int and key >= 0:
        return key
    raise TypeError


def _push(inside: Any, key: Any, change: _Object) -> None:
    if isinstance(inside, dict) and inside.get(key) is None:
        inside[key] = []
    values, before = as_list("k", inside[key]), change.get("i")
    if type(before) is int and before >= 0:
        del values[before:]
    values += as_list("v", change.get("v") or [])


def _chat(place: int, data: _Object) -> Chat:
    values = as_list("requests", required("requests", data.get("requests")))
    requests = [as_object(f"requests.{index}", value) for index, value in enumerate(values)]
    drafts = [
        draft
        for index, request in enumerate(requests)
        for draft in read_request(f"requests.{index}", request)
    ]
    title = as_text_or_none("customTitle", data.get("customTitle"))
    first = requests[0].get("requestId") if requests else None
    models = [draft.model for draft in reversed(drafts) if draft.model]
    return Chat(
        line=place,
        file_id=as_id("sessionId", data.get("sessionId") or first or None),
        messages=tuple(drafts),
        owner=as_text_or_none("requesterUsername", data.get("requesterUsername")) or None,
        title=title if title and title.strip() else None,
        model_used=models[0] if models else "",
        metadata=as_metadata(unmapped(data, _NOT_METADATA), drafts),
        created_at=as_unix_ms_or_none("creationDate", data.get("creationDate")),
        updated_at=as_unix_ms_or_none("lastMessageDate", data.get("lastMessageDate")),
    )
