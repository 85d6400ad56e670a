"""Traces of requests, SQL and model calls over OTLP, where an endpoint is set; else nothing of
OpenTelemetry is imported, and these functions do nothing.

`start` is called by what serves. The tracer is this project's own: spans that libraries make for
themselves, of which some hold content, go nowhere. No span has a statement's parameters, a query
string or a header; SQL is named by its operation and table alone, since some statements are sent
with their values inside.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.backends.signals import connection_created

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

T = TypeVar("T")

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
SERVICE = "conversations"
NOT_INSTALLED = (
    "{name} is set, and OpenTelemetry is not installed: pip install -r requirements-extras.txt"
)
_OPERATION = re.compile(r"\s*([A-Za-z]+)")
# What a statement reads or writes: a table, or a function that it selects from or calls.
_TABLE = re.compile(r"\b(?:FROM|INTO|UPDATE|JOIN|SELECT)\s+(?:ONLY\s+)?\"?([a-z_0-9]+)")
_FUNCTION = re.compile(r"conversations_f_([a-z_]+)_[0-9a-f]{12}$")

_tracer: Tracer | None = None


def is_configured() -> bool:
    return any(os.environ.get(name) for name in ENDPOINTS)


def start() -> None:
    """From now on, in this process. Raises ImproperlyConfigured."""
    global _tracer
    if _tracer is not None or not is_configured():
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise ImproperlyConfigured(NOT_INSTALLED.format(name=ENDPOINTS[0])) from error
    # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES go before it.
    given = Resource.create().attributes
    named = not str(given.get(SERVICE_NAME, "")).startswith("unknown_service")
    resource = Resource.create({} if named else {SERVICE_NAME: SERVICE})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _tracer = provider.get_tracer(SERVICE)
    connection_created.connect(_trace_statements, dispatch_uid="tracing")
    for connection in connections.all(initialized_only=True):
        _trace_statements(connection=connection)


def tracer() -> Tracer | None:
    """None where nothing is traced."""
    return _tracer


def current() -> Any:
    """The place in the trace that another thread is to go on from."""
    if _tracer is None:
        return None
    from opentelemetry.context import get_current

    return get_current()


@contextmanager
def going_on(place: Any) -> Iterator[None]:
    """The block belongs to that place of a trace."""
    if place is None:
        yield
        return
    from opentelemetry.context import attach, detach

    token = attach(place)
    try:
        yield
    finally:
        detach(token)


def carried(job: Callable[[], T]) -> Callable[[], T]:
    """The job, which another thread may do, at the present place of the trace."""
    if _tracer is None:
        return job
    place = current()

    def at_place() -> T:
        with going_on(place):
            return job()

    return at_place


@contextmanager
def span(name: str, **attributes: Any) -> Iterator[None]:
    """One of this process's own steps."""
    if _tracer is None:
        yield
        return
    with _start(_tracer, name, attributes):
        yield


def _start(tracer: Tracer, name: str, attributes: dict[str, Any], **options: Any) -> Any:
    """Without the text of an exception: that of the database has values of the row."""
    return tracer.start_as_current_span(
        name,
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=False,
        **options,
    )


def _trace_statements(connection: Any, **_: Any) -> None:
    if _statement not in connection.execute_wrappers:
        connection.execute_wrappers.insert(0, _statement)


def _statement(execute: Callable[..., Any], sql: Any, *rest: Any) -> Any:
    """A span of a statement of a traced request or turn; others have none."""
    from opentelemetry.trace import SpanKind, StatusCode, get_current_span

    if _tracer is None or not get_current_span().is_recording():
        return execute(sql, *rest)
    operation, table = _summary(str(sql))
    attributes = {"db.system.name": "postgresql", "db.operation.name": operation}
    attributes |= {"db.collection.name": table} if table else {}
    name = f"{operation} {table}".strip()
    with _start(_tracer, name, attributes, kind=SpanKind.CLIENT) as current_span:
        alias = rest[-1]["connection"].alias
        current_span.set_attribute("db.namespace", alias)
        try:
            return execute(sql, *rest)
        except Exception as error:
            code = getattr(error.__cause__, "pgcode", None) or type(error).__name__
            current_span.set_attribute("error.type", code)
            current_span.set_status(StatusCode.ERROR)
            raise


def _summary(sql: str) -> tuple[str, str]:
    """The operation, and the table or the function of ours; nothing else of the text."""
    found = _OPERATION.match(sql)
    operation = found[1].upper() if found else "SQL"
    for name in _TABLE.findall(sql[:10_000]):
        if name in _tables():
            return operation, name
        if function := _FUNCTION.match(name):
            return "CALL", function[1]
    return operation, ""


@cache
def _tables() -> frozenset[str]:
    return frozenset(model._meta.db_table for model in apps.get_models(include_auto_created=True))
