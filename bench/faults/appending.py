"""Clients that append with keys and retry, and what they were told compared with the rows."""

from __future__ import annotations

import http.client
import itertools
import json
import random
import secrets
import statistics
import threading
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from bench.faults.installation import Installation

CLIENTS, CONVERSATIONS = 16, 4
# Before a request is sent again that was answered 503, or whose connection was lost; seconds.
RETRY_SECONDS = 0.2
ANSWER_SECONDS = 60
LOST = "connection lost"
NO_ANSWER = f"no answer in {ANSWER_SECONDS} s"
ROWS = """
SELECT id::text, sequence, left(content, 32) FROM conversations_message
WHERE conversation_id = %s ORDER BY sequence
"""
COUNTERS = "SELECT message_count, last_sequence FROM conversations_conversation WHERE id = %s"
GOOD = {"200", "201", "503 with Retry-After"}


@dataclass
class Sent:
    """A message; the times are seconds of the monotonic clock."""

    conversation: str
    key: str
    first_sent: float
    # Of the request that was acknowledged.
    sent: float = 0.0
    acknowledged: float = 0.0
    id: str = ""
    sequence: int = 0


@dataclass
class Outcome:
    """What the clients saw, and what is stored."""

    messages: list[Sent] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    # When each fault was over.
    faults: list[float] = field(default_factory=list)
    lost: int = 0
    doubled: int = 0
    disordered: int = 0

    @property
    def acknowledged(self) -> list[Sent]:
        return [one for one in self.messages if one.acknowledged]

    @property
    def longest_gap(self) -> float:
        """Seconds between two acknowledgements."""
        times = sorted(one.acknowledged for one in self.acknowledged)
        gaps = (after - before for before, after in itertools.pairwise(times))
        return max(gaps, default=0.0)

    @property
    def recoveries(self) -> list[float]:
        """Seconds from the end of each fault to the first message that was sent after it and is
        acknowledged; infinite where there is none."""
        messages = self.acknowledged
        return [
            min((one.acknowledged for one in messages if one.sent > end), default=float("inf"))
            - end
            for end in self.faults
        ]

    def failures(self, *, connections_are_lost: bool) -> list[str]:
        """What must not be; empty if all is well."""
        allowed = GOOD | ({LOST} if connections_are_lost else set())
        found = [f"{count} x {name}" for name, count in self.answers.items() if name not in allowed]
        if self.lost or self.doubled or self.disordered:
            found.append("the rows are not what was acknowledged")
        if float("inf") in self.recoveries:
            found.append("it has not recovered")
        return found

    def __str__(self) -> str:
        recoveries = self.recoveries or [0.0]
        answers = ", ".join(f"{count:,} x {name}" for name, count in sorted(self.answers.items()))
        return (
            f"{len(self.faults)} faults\n"
            f"{len(self.messages):,} messages sent, {len(self.acknowledged):,} acknowledged\n"
            f"{self.lost} lost, {self.doubled} doubled, {self.disordered} out of order\n"
            f"answers: {answers}\n"
            f"longest time without an acknowledgement: {self.longest_gap:.2f} s\n"
            f"recovery: median {statistics.median(recoveries):.2f} s, "
            f"longest {max(recoveries):.2f} s"
        )


class Clients:
    """`padding` is how many characters are added to each message."""

    def __init__(self, installation: Installation, *, padding: int = 0) -> None:
        self._installation, self._padding = installation, padding
        self._token = installation.create_token(f"client-{uuid.uuid4().hex[:8]}")
        self._conversations = [self._create_conversation() for _ in range(CONVERSATIONS)]
        self._over = threading.Event()
        self.outcome = Outcome()

    def _create_conversation(self) -> str:
        body = {"title": "Fault"}
        _, found = self._installation.request("POST", "/api/conversations", body, self._token)
        return str(found["id"])

    @contextmanager
    def appending(self) -> Iterator[Outcome]:
        """Meanwhile; afterwards the rows are compared."""
        with ThreadPoolExecutor(CLIENTS) as pool:
            tasks = [pool.submit(self._append) for _ in range(CLIENTS)]
            try:
                yield self.outcome
            finally:
                self._over.set()
            for task in tasks:
                task.result()
        self._compare()

    def _append(self) -> None:
        """One message after the other, each until it is acknowledged."""
        port = self._installation.port
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
        while not self._over.is_set():
            chat = random.choice(self._conversations)
            message = Sent(chat, uuid.uuid4().hex, time.monotonic())
            self.outcome.messages.append(message)
            content = message.key + secrets.token_hex(self._padding // 2)
            body = json.dumps({"role": "user", "content": content})
            while not (done := self._send(connection, message, body)) and not self._over.is_set():
                time.sleep(RETRY_SECONDS)
            if not done:
                return

    def _send(self, connection: http.client.HTTPConnection, message: Sent, body: str) -> bool:
        """Whether it is acknowledged."""
        headers = {
            "Authorization": f"Bearer {self._token}",
            "Content-Type": "application/json",
            "Idempotency-Key": message.key,
        }
        sent = time.monotonic()
        try:
            path = f"/api/conversations/{message.conversation}/messages"
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._count(NO_ANSWER if isinstance(error, TimeoutError) else LOST)
            connection.close()
            return False
        self._count(str(answer.status) + " with Retry-After" * ("Retry-After" in answer.headers))
        if answer.status not in (200, 201):
            return False
        found = json.loads(text)
        message.id, message.sequence = found["id"], found["sequence"]
        message.sent, message.acknowledged = sent, time.monotonic()
        return True

    def _count(self, name: str) -> None:
        with _counting:
            self.outcome.answers[name] += 1

    def _compare(self) -> None:
        by_conversation = defaultdict(list)
        for message in self.outcome.messages:
            by_conversation[message.conversation].append(message)
        with self._installation.transaction() as cursor:
            for conversation, messages in by_conversation.items():
                cursor.execute(ROWS, [conversation])
                rows = cursor.fetchall()
                cursor.execute(COUNTERS, [conversation])
                compare(self.outcome, messages, rows, cursor.fetchone())


_counting = threading.Lock()


def compare(
    outcome: Outcome,
    messages: list[Sent],
    rows: list[tuple[str, int, str]],
    counters: tuple[int, int],
) -> None:
    """Add to the outcome what is wrong with the rows of a conversation, which are in order."""
    stored = {key: (id_, sequence) for id_, sequence, key in rows}
    sent = {one.key: one for one in messages}
    acknowledged = [one for one in messages if one.acknowledged]
    outcome.lost += sum(one.key not in stored for one in acknowledged)
    outcome.doubled += len(rows) - len(stored)
    # Rows that nobody has sent.
    outcome.doubled += len(stored.keys() - sent.keys())
    outcome.disordered += sum(
        stored.get(one.key, (one.id, one.sequence)) != (one.id, one.sequence)
        for one in acknowledged
    )
    places = [sequence for _, sequence, _ in rows]
    outcome.disordered += places != list(range(1, len(rows) + 1))
    outcome.disordered += counters != (len(rows), len(rows))
    # What was acknowledged before another one was sent comes before it.
    latest = 0.0
    for _, _, key in rows:
        if (one := sent.get(key)) is None:
            continue
        outcome.disordered += bool(one.acknowledged and one.acknowledged < latest)
        latest = max(latest, one.first_sent)
