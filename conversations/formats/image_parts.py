"""Images in the parts of a message, as OpenAI and Anthropic have them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

LONGEST_URL = 2_000
# Raster formats alone: an SVG is a document, which may hold scripts.
_raster = re.compile(r"data:image/(?:png|jpe?g|gif|webp);base64,[A-Za-z0-9+/=\s]+", re.IGNORECASE)


def image_urls(parts: list[Any] | None) -> Iterator[str]:
    """The address of each image: on the web, a `data:` URL, or whatever the sender has sent."""
    for part in parts or ():
        if isinstance(part, dict) and isinstance(url := url_of(part), str):
            yield url


def is_raster_image(url: str) -> bool:
    """Whether it is a `data:` URL of an image that is no document."""
    return _raster.fullmatch(url) is not None


def is_web_address(value: Any) -> bool:
    """Whether it may be a link: nothing that runs, and nothing relative."""
    if not isinstance(value, str) or len(value) > LONGEST_URL:
        return False
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.netloc)


def url_of(part: dict[str, Any]) -> Any:
    """The address of the image that a part is, as it was sent; None where it is none."""
    if part.get("type") in ("image_url", "input_image"):
        image = part.get("image_url")
        return image.get("url") if isinstance(image, dict) else image
    source = part.get("source")
    if part.get("type") != "image" or not isinstance(source, dict):
        return None
    if source.get("type") == "base64":
        return f"data:{source.get('media_type')};base64,{source.get('data')}"
    return source.get("url")
