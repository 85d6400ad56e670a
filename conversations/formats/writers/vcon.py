"""vCon, the JSON container for conversation data of the IETF: draft-ietf-vcon-vcon-core-04 (syntax
0.4.0), the unsigned form; `vcon_signature` makes the signed form of it.

The owner and each model, tool and system are parties; each message is a dialog of the type `text`.
Tool calls, parts and sources are attachments to their dialog, ratings and reviews are analysis. The
UUID is that of the conversation, of a branch other than the first one that is derived from it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from conversations.formats.chat import RecordedChat
from conversations.formats.message import RecordedMessage
from conversations.formats.writers.json_values import as_json

VERSION = "0.4.0"
VENDOR = "chatproject"
_ATTACHED = ("tool_calls", "parts", "sources")
_JSON = {"mediatype": "application/json", "encoding": "json"}


def write_vcon(chat: RecordedChat) -> Iterator[str]:
    """One JSON object. Attachments and analysis follow the dialog: they are held until then."""
    head = {
        "vcon": VERSION,
        "uuid": uuid_of(chat),
        "created_at": chat.created_at,
        "updated_at": chat.updated_at,
        "subject": chat.title,
    }
    yield f'{as_json(head)[:-1]}, "dialog": ['
    parties = _Parties(chat.owner)
    attachments: list[dict[str, Any]] = []
    analysis: list[dict[str, Any]] = []
    for place, message in enumerate(chat.messages):
        party = parties.index_of(message)
        yield (", " if place else "") + as_json(_dialog(message, party))
        attachments += _attachments(message, place, party)
        analysis += _analysis(message, place)
    rest = {"parties": parties.found, "attachments": attachments, "analysis": analysis}
    yield f"], {as_json(rest)[1:]}\n"


def uuid_of(chat: RecordedChat) -> str:
    if chat.branch is None or not chat.branch.number:
        return chat.id
    return str(uuid.uuid5(uuid.UUID(chat.id), str(chat.branch.number)))


class _Parties:
    """Who takes part, in the order of their first messages; the owner is the first one."""

    def __init__(self, owner: str) -> None:
        # How the owner was identified is not known here.
        self.found: list[dict[str, str]] = [{"name": owner, "type": "person", "validation": "none"}]
        self._places: dict[tuple[str, str, str], int] = {}

    def index_of(self, message: RecordedMessage) -> int:
        if message.role == "user":
            return 0
        is_answer = message.role == "assistant"
        name = (message.model if is_answer else message.name) or message.role
        key = (message.role, name, message.provider if is_answer else "")
        if key not in self._places:
            self._places[key] = len(self.found)
            party = {"name": name, "type": "bot", "validation": "none"}
            self.found.append(party | ({"org": key[2]} if key[2] else {}))
        return self._places[key]


def _dialog(message: RecordedMessage, party: int) -> dict[str, Any]:
    return {
        "type": "text",
        "start": message.created_at,
        "parties": party,
        "mediatype": "text/plain",
        "body": message.content,
        "encoding": "none",
        "message_id": message.id,
    }


def _attachments(message: RecordedMessage, place: int, party: int) -> Iterator[dict[str, Any]]:
    for purpose in _ATTACHED:
        if body := getattr(message, purpose):
            of = {"purpose": purpose, "start": message.created_at, "party": party, "dialog": place}
            yield of | _JSON | {"body": body}


def _analysis(message: RecordedMessage, place: int) -> Iterator[dict[str, Any]]:
    of = {"type": "report", "dialog": place, "vendor": VENDOR}
    if message.rating is not None:
        rating = {"score": message.rating, "comment": message.rating_comment}
        yield of | {"schema": "rating"} | _JSON | {"body": rating}
    for review in message.reviews:
        yield of | {"schema": "review"} | _JSON | {"body": asdict(review)}
