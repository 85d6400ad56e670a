"""The examples of the OpenAPI page: files here, which a test compares with real answers.

`{operation id}.json` is a list of exchanges `{"name", "request"?, "status", "response"}`,
`errors.json` maps a status to a body.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from drf_spectacular.utils import OpenApiExample

FOLDER = Path(__file__).parent


def examples_of(operation_id: str) -> list[OpenApiExample]:
    """What an operation is sent and answers."""
    return [example for exchange in read(operation_id) or [] for example in _both_ways(exchange)]


def example_of_error(status: int) -> list[OpenApiExample]:
    body = (read("errors") or {}).get(str(status))
    return [] if body is None else [OpenApiExample("Example", body, response_only=True)]


@cache
def read(name: str) -> Any:
    """The content of an example file; None where there is none."""
    file = FOLDER / f"{name}.json"
    return json.loads(file.read_text()) if file.exists() else None


def _both_ways(exchange: dict[str, Any]) -> list[OpenApiExample]:
    name, status = exchange["name"], str(exchange["status"])
    answer = OpenApiExample(name, exchange["response"], response_only=True, status_codes=[status])
    if "request" not in exchange:
        return [answer]
    return [OpenApiExample(name, exchange["request"], request_only=True), answer]
