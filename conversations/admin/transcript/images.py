"""Images in the parts of a message. None is loaded before the reader asks for it.

An image that is stored in the record (a data: URL) is served by this site once its button is
pressed: the page stays small, and `img-src 'self'` of the content security policy is enough. An
image on another server is a link that opens in a new tab. `img-src https:` would show it in the
page, but would also let any markup that slipped through the sanitiser report the reader to any
server.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from typing import Any

from django.http import HttpResponse

from conversations.formats.image_parts import is_web_address

# Raster formats alone: an SVG is a document, which may hold scripts.
_stored_image = re.compile(r"data:image/(png|jpe?g|gif|webp);base64,", re.IGNORECASE)


def images_of(message: Any) -> Iterable[tuple[str, str, bool]]:
    """Label, URL and whether this site serves it, for each image part; the URL is "" where it
    cannot be shown. `message` comes from `queries`, with `image_urls` beside it."""
    for number, url in enumerate(message.image_urls, start=1):
        if found := _stored_image.match(url):
            query = f"?message={message.id}&image={number}"
            yield f"image {number} ({found[1].upper()})", query, True
        elif is_web_address(url):
            yield f"image {number} at {url}", url, False
        else:
            yield f"image {number}", "", False


def image_response(data_url: str) -> HttpResponse | None:
    """The bytes of a data: URL; None where it holds no image that is shown."""
    found = _stored_image.match(data_url)
    if found is None:
        return None
    try:
        content = base64.b64decode(data_url[found.end() :], validate=True)
    except (ValueError, binascii.Error):
        return None
    subtype = found[1].lower().replace("jpg", "jpeg")
    return HttpResponse(content, content_type=f"image/{subtype}")
