"""What every request passes: it gets an id, the client's address and a line in the access log.

Not django-structlog: it sends no id back to the client and takes any text that a client sends for
one; its lines hold the query string and the text of exceptions, and neither the route, the
duration nor the number of statements. Set up to write one line a request as well, it makes
GET /api/me cost 1.25 times the processor time.
"""

from __future__ import annotations

import ipaddress
import re
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

import structlog
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponseBase

from conversations import metrics
from conversations.api.waiting import when_answered
from conversations.db import replicas

HEADER = "X-Request-ID"
# As metrics name the route of a static file.
STATIC = "static"
_acceptable_id = re.compile(r"[A-Za-z0-9._-]{1,64}")
_current_id: ContextVar[str] = ContextVar("request_id", default="")
# How many statements the current request has sent, by the alias of the database.
_statements: ContextVar[Counter[str] | None] = ContextVar("statements", default=None)
_log = structlog.get_logger("chatproject.requests")

View = Callable[[HttpRequest], HttpResponseBase]


def current_request_id() -> str:
    """The id of the current request, or the empty string outside of one."""
    return _current_id.get()


def request_id(get_response: View) -> View:
    """Takes the id that a proxy or client sent, if it is a plain word, or makes one. It is in the
    response's header, in every error body and in every log line."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        with as_request(request.headers.get(HEADER, "")) as given:
            response = get_response(request)
        response.headers[HEADER] = given
        return response

    return middleware


@contextmanager
def as_request(sent: str) -> Iterator[str]:
    """The current request has the id that was sent, if it is a plain word, or a new one."""
    given = sent if _acceptable_id.fullmatch(sent) else uuid.uuid4().hex
    token = _current_id.set(given)
    try:
        yield given
    finally:
        _current_id.reset(token)


def client_address(get_response: View) -> View:
    """Puts into REMOTE_ADDR what the outermost of TRUSTED_PROXIES has seen.

    Each proxy appends to X-Forwarded-For the address that connected to it; what stands further
    left was written by the client and proves nothing.
    """

    def middleware(request: HttpRequest) -> HttpResponseBase:
        if address := forwarded_address(request):
            request.META["REMOTE_ADDR"] = address
        return get_response(request)

    return middleware


def access_log(get_response: View) -> View:
    """Writes one structured line for each request: user, route, status, duration, statements; and
    counts it for /metrics.

    Never a query string, a body or a token: the text of messages does not belong in a log.
    """

    def middleware(request: HttpRequest) -> HttpResponseBase:
        started, statements = time.perf_counter(), Counter[str]()
        token = _statements.set(statements)
        try:
            response = get_response(request)
        finally:
            _statements.reset(token)
        # A page has a dozen static files, whose lines would hide the others.
        is_static = request.path_info.startswith(settings.STATIC_URL)
        write = partial(_log.debug if is_static else _log.info, request_id=current_request_id())

        def log() -> None:
            seconds, match = time.perf_counter() - started, request.resolver_match
            view = match.view_name if match else STATIC if is_static else None
            metrics.count_request(view, request.method, response.status_code, seconds)
            write(
                "request",
                user=_user_of(request),
                method=request.method,
                route=match.route if match else None,
                status=response.status_code,
                duration_ms=round(seconds * 1000, 1),
                queries=statements.total(),
                **_on_replicas(statements),
            )

        when_answered(response, log)
        return response

    return middleware


def _count(execute: Callable[..., Any], *statement: Any) -> Any:
    if (statements := _statements.get()) is not None:
        statements[statement[-1]["connection"].alias] += 1
    return execute(*statement)


@receiver(connection_created)
def _count_statements(connection: BaseDatabaseWrapper, **_: Any) -> None:
    """On each connection once, when it is made, instead of at each request."""
    if _count not in connection.execute_wrappers:
        # First: a block of `execute_wrapper` takes off the last one at its end.
        connection.execute_wrappers.insert(0, _count)


def log_refused(method: str, status: int, seconds: float) -> None:
    """The line for a request that the server answers before it gets here, which is counted too."""
    metrics.count_request(None, method, status, seconds)
    _log.info(
        "request",
        request_id=current_request_id(),
        user=None,
        method=method,
        route=None,
        status=status,
        duration_ms=round(seconds * 1000, 1),
        queries=0,
    )


def replica_scope(get_response: View) -> View:
    """Lets the request read on replicas, and stores the positions of its writes; only there where
    replicas are configured."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        with replicas.request_scope():
            return get_response(request)

    return middleware


def forwarded_address(request: HttpRequest) -> str | None:
    """None where no proxy is trusted, or it says none."""
    count: int = settings.TRUSTED_PROXIES
    seen = request.headers.get("X-Forwarded-For", "").split(",")
    if not 0 < count <= len(seen):
        return None
    try:
        return str(ipaddress.ip_address(seen[-count].strip()))
    except ValueError:
        return None


def _on_replicas(statements: Counter[str]) -> dict[str, int]:
    """How many of the statements went to a replica, if any did."""
    count = statements.total() - statements[DEFAULT_DB_ALIAS]
    return {"replica_queries": count} if count else {}


def _user_of(request: HttpRequest) -> str | None:
    """The user's name, if something has loaded the user already."""
    user = request.__dict__.get("_cached_user") or request.__dict__.get("user")
    known = user if type(user).__name__ != "SimpleLazyObject" else None
    return getattr(known, "username", None) or None
