"""Checks the images that a client sends with a question, without fetching any."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

from conversations.services.errors import InvalidValue

MAX_IMAGES = 20
LONGEST_URL = 2_000
DETAILS = ("auto", "low", "high")

TOO_MANY = f"At most {MAX_IMAGES} images."
NOT_AN_IMAGE = (
    'Not an image: {"type": "image_url", "image_url": {"url": …}} '
    'or {"type": "input_image", "image_url": …}.'
)
NOT_A_URL = "Not a data: URL of an image in base64, nor an https: URL."
NOT_BASE64 = "The image is not valid base64."
TOO_LARGE = "The image is larger than {limit:,} bytes."
NOT_A_DETAIL = "Must be auto, low or high."

_data_url = re.compile(r"data:image/[a-z0-9.+-]{1,50};base64,", re.IGNORECASE)
_outside_urls = re.compile(r"[\s\x00-\x20\x7f\"<>\\^`{|}]")


def check_images(parts: list[Any]) -> None:
    """Raise InvalidValue, naming the field, unless each part is an image of OpenAI's Chat
    Completions or Responses, by a data: URL of at most CHAT_MAX_IMAGE_BYTES or an https: URL."""
    if len(parts) > MAX_IMAGES:
        raise InvalidValue(TOO_MANY, field="parts", code="max_length")
    for index, part in enumerate(parts):
        _check_image(f"parts.{index}", part)


def _check_image(field: str, part: Any) -> None:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "image_url" and isinstance(part.get("image_url"), dict):
        _check_names(f"{field}.image_url", part["image_url"], {"url", "detail"})
        _check_names(field, part, {"type", "image_url"})
        field, image, url = f"{field}.image_url", part["image_url"], "url"
    elif kind == "input_image":
        _check_names(field, part, {"type", "image_url", "detail"})
        image, url = part, "image_url"
    else:
        raise InvalidValue(NOT_AN_IMAGE, field=field)
    _check_url(f"{field}.{url}", image.get(url))
    if "detail" in image and image["detail"] not in DETAILS:
        raise InvalidValue(NOT_A_DETAIL, field=f"{field}.detail", code="invalid_choice")


def _check_names(field: str, value: dict[str, Any], known: set[str]) -> None:
    if unknown := sorted(value.keys() - known):
        names = ", ".join(sorted(known))
        text = f"This field does not exist. Known are {names}."
        raise InvalidValue(text, field=f"{field}.{unknown[0][:100]}", code="unknown_field")


def _check_url(field: str, url: object) -> None:
    if not isinstance(url, str):
        raise InvalidValue(NOT_A_URL, field=field)
    if found := _data_url.match(url):
        _check_data(field, url[found.end() :])
    elif not _is_https(url):
        raise InvalidValue(NOT_A_URL, field=field)


def _check_data(field: str, data: str) -> None:
    limit = settings.CHAT_MAX_IMAGE_BYTES
    if len(data) * 3 // 4 - data[-2:].count("=") > limit:
        raise InvalidValue(TOO_LARGE.format(limit=limit), field=field, code="too_large")
    try:
        content = base64.b64decode(data, validate=True)
    except (ValueError, binascii.Error):
        content = b""
    if not content:
        raise InvalidValue(NOT_BASE64, field=field)


def _is_https(url: str) -> bool:
    if len(url) > LONGEST_URL or _outside_urls.search(url):
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme == "https" and bool(parts.hostname)
