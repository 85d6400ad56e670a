"""How often one user may ask, by kind of route; from settings, and off until set there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle

from conversations.models import Caller

if TYPE_CHECKING:  # the framework reads this module while it loads its views
    from rest_framework.views import APIView


class UserThrottle(SimpleRateThrottle):
    """Counts `read`, `write` and what a view names as its `throttle_class_name` apart."""

    def __init__(self) -> None:
        """The rate depends on the request: there is none to read yet."""

    def allow_request(self, request: Request, view: APIView) -> bool:
        caller = request.auth
        if not settings.THROTTLE_RATES or (isinstance(caller, Caller) and caller.trusted):
            return True
        reads = request.method in ("GET", "HEAD", "OPTIONS")
        kind = getattr(view, "throttle_class_name", None) or ("read" if reads else "write")
        self.scope = kind
        self.rate = settings.THROTTLE_RATES.get(kind)
        self.num_requests, self.duration = self.parse_rate(self.rate)
        return super().allow_request(request, view)

    def get_cache_key(self, request: Request, view: APIView) -> str:
        return self.cache_format % {"scope": self.scope, "ident": request.user.pk}
