"""Rate limits by user and kind of route: THROTTLE_RATES, empty by default."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle

from conversations.models import Caller

if TYPE_CHECKING:  # the framework reads this module while it loads its views
    from rest_framework.views import APIView


def kind_of(request: Request, view: object) -> str:
    """`read`, `write`, or what the view's `throttle_kinds` names for its action."""
    named: dict[str, str] = getattr(view, "throttle_kinds", {})
    kind = named.get(getattr(view, "action", None) or "")
    return kind or ("read" if request.method in SAFE_METHODS else "write")


class UserThrottle(SimpleRateThrottle):
    """Counts each kind of route separately."""

    def __init__(self) -> None:
        """The rate depends on the request: there is none to read yet."""

    def allow_request(self, request: Request, view: APIView) -> bool:
        caller = request.auth
        if not settings.THROTTLE_RATES or (isinstance(caller, Caller) and caller.trusted):
            return True
        self.scope = kind_of(request, view)
        self.rate = settings.THROTTLE_RATES.get(self.scope)
        self.num_requests, self.duration = self.parse_rate(self.rate)
        return super().allow_request(request, view)

    def get_cache_key(self, request: Request, view: APIView) -> str:
        return self.cache_format % {"scope": self.scope, "ident": request.user.pk}
