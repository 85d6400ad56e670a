"""Liveness and readiness checks, for load balancers and process managers."""

from __future__ import annotations

from django.db import DatabaseError, InterfaceError, connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe


@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """Liveness: the process responds; nothing else is checked."""
    return liveness()


@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """Readiness: the database responds and is migrated; 503 otherwise."""
    return readiness(ready=is_ready())


def liveness() -> JsonResponse:
    return JsonResponse({"status": "ok"})


def readiness(*, ready: bool) -> JsonResponse:
    if ready:
        return JsonResponse({"status": "ok", "database": "ok"})
    return JsonResponse(
        {"status": "unavailable", "database": "unreachable or not migrated"},
        status=503,
        headers={"Retry-After": "5"},
    )


def is_ready() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM conversations_conversation LIMIT 1")
    except (DatabaseError, InterfaceError):
        return False
    return True
