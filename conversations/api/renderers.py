"""Responses as JSON, written by orjson, which takes rows of the database as they are."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import orjson
from rest_framework.renderers import BaseRenderer

from conversations.formats import cost_as_text

_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS


class FastJSONRenderer(BaseRenderer):
    """UTF-8 JSON. Times are ISO 8601 in UTC; JSON columns pass through as their text."""

    media_type = "application/json"
    format = "json"
    charset = None

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        if data is None:
            return b""
        try:
            return orjson.dumps(data, default=_as_text, option=_OPTIONS)
        except TypeError:
            return orjson.dumps(_within_64_bits(data), default=_as_text, option=_OPTIONS)


def _as_text(value: object) -> str:
    return cost_as_text(value) if isinstance(value, Decimal) else str(value)


def _within_64_bits(data: Any) -> Any:
    """JSONB gives a float such as 1e22 back as an integer, which orjson does not write."""
    if isinstance(data, dict):
        return {name: _within_64_bits(value) for name, value in data.items()}
    if isinstance(data, list):
        return [_within_64_bits(value) for value in data]
    if isinstance(data, int) and not -(2**63) <= data < 2**64:
        return float(data)
    return data
