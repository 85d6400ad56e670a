"""The values of a conversation that clients set: what they may be."""

from __future__ import annotations

from typing import Any

from conversations.services.errors import InvalidValue
from conversations.services.validators import check_metadata, check_text

MAX_TEXT_CHARS = 255
MAX_TAGS = 20
MAX_TAG_CHARS = 50

EMPTY_TITLE = "The title may not be empty."
EMPTY_EXTERNAL_ID = "An external id may not be empty; null stands for none."
EMPTY_TAG = "A tag may not be empty."
LONG_TEXT = f"Longer than {MAX_TEXT_CHARS} characters."
LONG_TAG = f"Longer than {MAX_TAG_CHARS} characters."
MANY_TAGS = f"A conversation has at most {MAX_TAGS} tags."


def check_conversation_values(values: dict[str, Any]) -> None:
    """Check those of title, model_used, external_id, tags and metadata that are given.

    Trims `title`, `model_used` and tags, and leaves out repeated tags, in place. Raises
    InvalidValue, naming the field.
    """
    for name in ("title", "model_used"):
        if name in values:
            values[name] = _checked_text(name, values[name].strip())
    if values.get("title") == "":
        raise InvalidValue(EMPTY_TITLE, field="title", code="blank")
    if values.get("external_id") is not None:
        check_external_id(values["external_id"])
    if "tags" in values:
        values["tags"] = checked_tags(values["tags"])
    if "metadata" in values:
        check_metadata(values["metadata"])


def check_external_id(text: str) -> None:
    """It is stored as given, so that the application finds what it has sent."""
    _checked_text("external_id", text)
    if not text.strip():
        raise InvalidValue(EMPTY_EXTERNAL_ID, field="external_id", code="blank")


def checked_tags(tags: list[Any]) -> list[str]:
    """The tags as they are stored: trimmed, each once, in the order given."""
    kept: dict[str, None] = {}
    for place, tag in enumerate(tags):
        kept[_checked_tag(f"tags.{place}", tag)] = None
    if len(kept) > MAX_TAGS:
        raise InvalidValue(MANY_TAGS, field="tags", code="max_length")
    return list(kept)


def _checked_tag(field: str, tag: object) -> str:
    if not isinstance(tag, str):
        raise InvalidValue("Not a string.", field=field)
    check_text(field, tag)
    trimmed = tag.strip()
    if not trimmed:
        raise InvalidValue(EMPTY_TAG, field=field, code="blank")
    if len(trimmed) > MAX_TAG_CHARS:
        raise InvalidValue(LONG_TAG, field=field, code="max_length")
    return trimmed


def _checked_text(field: str, text: str) -> str:
    check_text(field, text)
    if len(text) > MAX_TEXT_CHARS:
        raise InvalidValue(LONG_TEXT, field=field, code="max_length")
    return text
