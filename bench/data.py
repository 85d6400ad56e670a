"""The same made-up chats for both services: rows in plain tuples, equal in every run."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

SAMPLE = Path(__file__).parent.parent / "conversations" / "sample" / "support_20.jsonl"
TEXTS = 5_000
# Words of what a user types and of what a model answers, shortest and longest.
USER_WORDS, ASSISTANT_WORDS = (5, 40), (30, 120)
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Size:
    """How much there is to begin with."""

    users: int
    conversations: int  # of each user
    messages: int  # of each conversation


@dataclass(frozen=True, slots=True)
class Chat:
    """A conversation: `owner` counts from 0; a message is (id, role, text, time)."""

    id: uuid.UUID
    owner: int
    title: str
    created_at: datetime
    messages: list[tuple[uuid.UUID, str, str, datetime]]

    @property
    def updated_at(self) -> datetime:
        return self.messages[-1][3]


class Writer:
    """Texts of real words in random order."""

    def __init__(self, seed: int = 1) -> None:
        self._random = random.Random(seed)
        self._words = _words_of_sample()
        self._texts = {
            role: [self._compose(*length) for _ in range(TEXTS)]
            for role, length in (("user", USER_WORDS), ("assistant", ASSISTANT_WORDS))
        }

    def text(self, role: str) -> str:
        return self._random.choice(self._texts[role])

    def word(self) -> str:
        """One to search for, of at least five letters."""
        while True:
            word = self._random.choice(self._words)
            if word.isascii() and word.isalpha() and len(word) >= 5:
                return word

    def chats(self, size: Size) -> Iterator[Chat]:
        for number in range(size.users * size.conversations):
            owner, started = number % size.users, BEGINNING + timedelta(minutes=number)
            title = self._compose(2, 6)[:255]
            yield Chat(self._id(), owner, title, started, self._messages(started, size.messages))

    def _messages(
        self, started: datetime, count: int
    ) -> list[tuple[uuid.UUID, str, str, datetime]]:
        roles = [("user", "assistant")[place % 2] for place in range(count)]
        return [
            (self._id(), role, self.text(role), started + timedelta(seconds=place))
            for place, role in enumerate(roles)
        ]

    def _compose(self, least: int, most: int) -> str:
        return " ".join(self._random.choices(self._words, k=self._random.randint(least, most)))

    def _id(self) -> uuid.UUID:
        return uuid.UUID(int=self._random.getrandbits(128), version=4)


def _words_of_sample() -> list[str]:
    """Every word as often as it is used, so that common ones stay common."""
    with SAMPLE.open(encoding="utf-8") as lines:
        chats = [json.loads(line) for line in lines]
    return [
        word
        for chat in chats
        for message in chat["messages"]
        if message["role"] in ("user", "assistant")
        for word in (message.get("content") or "").split()
    ]
