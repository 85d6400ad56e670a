"""JSON merge patch: https://www.rfc-editor.org/rfc/rfc7386."""

from __future__ import annotations

from typing import Any

from conversations.services.validators import JSON, check_json, check_metadata

_LARGEST_EXACT = 2**64


def check_patch(patch: dict[str, Any] | None) -> None:
    """Raise InvalidValue for values that cannot be stored; their size is checked when merged."""
    if patch is not None:
        check_json("metadata", patch)


def merged_metadata(stored: dict[str, Any], patch: dict[str, Any] | None) -> dict[str, Any]:
    """The metadata under a patch that `check_patch` has passed: a null removes its key, objects are
    merged, anything else replaces. None empties it. Raises InvalidValue if the result is too large.
    """
    metadata = {} if patch is None else merge(_as_sent(stored), patch)
    check_metadata(metadata)
    return metadata


def merge(target: JSON, patch: JSON) -> Any:
    """The target under the patch, in a new value; `MergePatch` of the RFC."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged


def _as_sent(value: Any) -> Any:
    """PostgreSQL returns 1e23 as an integer, which no client could have sent."""
    if isinstance(value, dict):
        return {name: _as_sent(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_as_sent(item) for item in value]
    if isinstance(value, int) and abs(value) >= _LARGEST_EXACT:
        return float(value)
    return value
