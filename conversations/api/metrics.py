"""`/metrics`: the figures of all processes and of the database, in Prometheus' text format."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connections
from django.http import HttpRequest, HttpResponse, HttpResponseForbidden
from django.utils.crypto import constant_time_compare
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from conversations import metrics
from conversations.api.middleware import forwarded_address
from conversations.selectors.database_figures import DatabaseFigures, read_figures

NOT_ALLOWED = (
    "Metrics are read with the token of the setting METRICS_TOKEN or, where none is set, from the "
    "machine of the server itself.\n"
)
# What a proxy in front says of whom it asks for.
FORWARDING = (
    *("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"),
    *("Forwarded", "X-Real-IP", "Via"),
)
PREFIX = "conversations_"


@require_safe
def show_metrics(request: HttpRequest) -> HttpResponse:
    return refusal_of(request) or metrics_response()


def refusal_of(request: HttpRequest) -> HttpResponse | None:
    """None for who may read them. Sends no statement."""
    if _may_read(request):
        return None
    return HttpResponseForbidden(NOT_ALLOWED, content_type="text/plain")


def metrics_response() -> HttpResponse:
    """Takes as long as the database does, at most some seconds."""
    registry = CollectorRegistry()
    registry.register(_Figures())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


class _Figures:
    def collect(self) -> Iterable[Metric]:
        yield from metrics.collect()
        yield from _of_database()


def _may_read(request: HttpRequest) -> bool:
    if token := settings.METRICS_TOKEN:
        kind, _, sent = request.headers.get("Authorization", "").partition(" ")
        return kind.lower() == "bearer" and constant_time_compare(sent.strip(), token)
    return _is_from_this_machine(request)


def _is_from_this_machine(request: HttpRequest) -> bool:
    """A proxy on this machine asks for others: of what it forwards, only the address counts that
    the outermost of TRUSTED_PROXIES has seen."""
    is_forwarded = any(name in request.headers for name in FORWARDING)
    sent = forwarded_address(request) if is_forwarded else request.META.get("REMOTE_ADDR")
    try:
        address = ipaddress.ip_address(sent or "")
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def _of_database() -> Iterable[Metric]:
    try:
        figures = read_figures()
    except (DatabaseError, InterfaceError):
        yield _gauge("database_up", "Whether the database answers", 0)
        return
    finally:
        for connection in connections.all(initialized_only=True):
            if not connection.in_atomic_block:  # a scrape is rare: it keeps no connection
                connection.close()
    yield _gauge("database_up", "Whether the database answers", 1)
    yield from _of_server(figures)
    yield from _of_changes(figures)
    yield from _of_replicas(figures)


def _of_server(figures: DatabaseFigures) -> Iterable[Metric]:
    database = figures.database
    yield _gauge("database_size_bytes", "Size on disk", database["size_bytes"])
    yield _gauge(
        "database_max_connections", "Those that the server allows", database["max_connections"]
    )
    yield _gauge(
        "database_oldest_transaction_seconds",
        "Age of the oldest open transaction",
        database["oldest_transaction"],
    )
    by_state = GaugeMetricFamily(
        f"{PREFIX}database_connections", "Client connections by state", labels=["state"]
    )
    for state, number in figures.connections.items():
        by_state.add_metric([state], number)
    yield by_state
    ended = CounterMetricFamily(
        f"{PREFIX}database_transactions", "Ended transactions", labels=["outcome"]
    )
    ended.add_metric(["committed"], database["committed"])
    ended.add_metric(["rolled_back"], database["rolled_back"])
    yield ended
    yield CounterMetricFamily(
        f"{PREFIX}database_deadlocks", "Deadlocks", value=database["deadlocks"]
    )


def _of_changes(figures: DatabaseFigures) -> Iterable[Metric]:
    changes = figures.changes
    yield _gauge("changes_pending", "Changes without a position in the feed", changes["pending"])
    yield _gauge("changes_pending_age_seconds", "Age of the oldest of them", changes["pending_age"])
    yield CounterMetricFamily(
        f"{PREFIX}changes", "Changes in the feed since it began", value=changes["last_position"]
    )


def _of_replicas(figures: DatabaseFigures) -> Iterable[Metric]:
    up, size, age = (
        GaugeMetricFamily(f"{PREFIX}replica_{name}", text, labels=["replica"])
        for name, text in (
            ("up", "Whether the replica answers and is a standby"),
            ("lag_bytes", "Bytes of the log of the primary that it has not replayed"),
            ("lag_seconds", "Age of what it has replayed last, where it is behind"),
        )
    )
    for lag in figures.replicas:
        up.add_metric([lag.alias], lag.bytes is not None)
        if lag.bytes is not None and lag.seconds is not None:
            size.add_metric([lag.alias], lag.bytes)
            age.add_metric([lag.alias], lag.seconds)
    yield from (up, size, age)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{PREFIX}{name}", text, value=value)
