"""The one exception for what this API refuses beyond REST framework's own exceptions.

A module of its own, since the parsers raise it and REST framework loads them with its views.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rest_framework.exceptions import APIException


class ApiError(APIException):
    """A response with this status and one error.

    `field` is the `attr` of the error; `retry_after` (seconds) becomes the header Retry-After;
    `extra` stands beside the errors in the body.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        code: str,
        *,
        field: str | None = None,
        retry_after: int | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail, code)
        self.status_code = status
        self.field = field
        self.extra = extra or {}
        if retry_after is not None:
            self.wait = retry_after
