"""Which reads go to a replica, and what is kept of writes so that each is seen there.

A request that may read there says whose data it reads; it is then read on a replica that has every
acknowledged write to that data, else on the primary. Where DATABASE_REPLICA_URLS is not set, none
of this sends a statement.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model, QuerySet

from conversations.db.owners import is_distributed
from conversations.db.replica_servers import choose
from conversations.db.write_positions import Required, keep_positions, read_required

# What may be read on a replica. Tokens, users, sessions, rights and the audit log never are.
READ_THERE = frozenset({"branch", "conversation", "message", "conversationnote", "review"})


class Reading:
    """Where something is read: on a replica that has all that is required, else the primary."""

    def __init__(self) -> None:
        self._required: list[Required | None] = []
        self._alias: str | None = DEFAULT_DB_ALIAS

    def require(self, required: Required | None) -> None:
        """Also this; for None no replica will do."""
        self._required.append(required)
        self._alias = None

    def give_up(self) -> None:
        """Read the rest on the primary."""
        self._alias = DEFAULT_DB_ALIAS

    def look_again(self) -> None:
        """Where no replica would do, one may have caught up."""
        if self._alias == DEFAULT_DB_ALIAS:
            self._alias = None

    @property
    def alias(self) -> str:
        """The database to read, chosen when it is first needed."""
        if self._alias is None:
            known = [required for required in self._required if required is not None]
            if not known or len(known) < len(self._required):
                self._alias = DEFAULT_DB_ALIAS
            else:
                self._alias = choose(max(known, key=lambda one: one.lsn))
        return self._alias


class _Request:
    """What a request has learned of its users' positions, and whose data it has written."""

    def __init__(self) -> None:
        self.known: dict[int, Required | None] = {}
        self.written: set[int] = set()


_request: ContextVar[_Request | None] = ContextVar("request", default=None)
_reading: ContextVar[Reading | None] = ContextVar("reading", default=None)


def are_configured() -> bool:
    """Not on a cluster, whose coordinator's log says nothing about the other nodes."""
    return bool(settings.DATABASE_REPLICAS) and not is_distributed()


@contextmanager
def request_scope() -> Iterator[None]:
    """Around a request: it may use the functions below, and at its end, before its response is
    sent, the positions of its writes are stored."""
    request = _Request()
    outer, read = _request.set(request), _reading.set(None)
    try:
        yield
    finally:
        _request.reset(outer)
        _reading.reset(read)
        keep_written(*request.written)


def allow_reads() -> None:
    """Let this request read on replicas, once it has said whose data it reads (`reads_of`)."""
    if _request.get() is not None and are_configured():
        _reading.set(Reading())


def know(user_id: int, required: Required | None) -> None:
    """What a replica must have for this user's data, from a statement that was sent anyway."""
    if (request := _request.get()) is not None:
        request.known[user_id] = required


def reads_of(user_id: int) -> None:
    """What follows shows this user's data: each acknowledged write to it must be seen."""
    request, reading = _request.get(), _reading.get()
    if request is None or reading is None:
        return
    if user_id not in request.known:
        request.known[user_id] = read_required(user_id)
    reading.require(request.known[user_id])


def writes_of(*user_ids: int) -> None:
    """This request writes to the data of these users."""
    if (request := _request.get()) is not None:
        request.written.update(user_ids)


def written_by_request() -> frozenset[int]:
    """Those users, for who goes on writing after the end of the request."""
    request = _request.get()
    return frozenset(request.written) if request is not None else frozenset()


def keep_written(*user_ids: int) -> None:
    """Store the position of a committed write to the data of these users, before anybody is told
    of it."""
    if user_ids and are_configured():
        keep_positions(user_ids)


def reading_from_now() -> Reading | None:
    """A reading that misses nothing that is written by now, for what outlasts its request."""
    if not are_configured():
        return None
    reading = Reading()
    reading.require(read_required(None))
    return reading


T = TypeVar("T")


def fetch_on(reading: Reading | None, rows: QuerySet[Any, T]) -> list[T]:
    """The rows, read there."""
    with reads_on(reading):
        return list(rows)


@contextmanager
def reads_on(reading: Reading | None) -> Iterator[None]:
    """What is read in the block is read there."""
    if reading is None:
        yield
        return
    reading.look_again()
    outer = _reading.set(reading)
    try:
        yield
    finally:
        _reading.reset(outer)


def give_up_reading() -> None:
    """A statement on a replica has failed: read the rest on the primary."""
    if (reading := _reading.get()) is not None:
        reading.give_up()


def read_connection() -> BaseDatabaseWrapper:
    """The connection for a statement that only reads what READ_THERE names, and users' names."""
    return connections[_alias()]


def _alias() -> str:
    reading = _reading.get()
    # A transaction sees its own writes, and its locks are on the primary.
    if reading is None or connection.in_atomic_block:
        return DEFAULT_DB_ALIAS
    return reading.alias


class Router:
    """Reads of the ORM; writes and migrations are the primary's."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str:
        options = model._meta
        if options.app_label == "conversations" and options.model_name in READ_THERE:
            return _alias()
        return DEFAULT_DB_ALIAS

    def db_for_write(self, model: type[Model], **hints: Any) -> str:
        return DEFAULT_DB_ALIAS

    def allow_relation(self, one: Model, other: Model, **hints: Any) -> bool:
        return True

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return db == DEFAULT_DB_ALIAS
