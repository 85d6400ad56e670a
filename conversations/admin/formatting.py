"""Small pieces of HTML that several pages show."""

from __future__ import annotations

import json
from copy import copy
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

from django.db.models import Model
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from conversations.formats import cost_as_text
from conversations.templatetags.visible_text import visible, visible_html, visible_text

__all__ = [
    "amount",
    "clipped",
    "counted",
    "duration",
    "indented_json",
    "isolated",
    "moment",
    "named_visibly",
    "seconds",
    "visible",
    "visible_html",
    "visible_text",
]

# Characters that a cell of a list shows uncut.
FITS = 20


def isolated(text: object) -> SafeString:
    """Visible text whose direction stays inside its element."""
    return format_html("<bdi>{}</bdi>", visible(text))


def clipped(text: object) -> SafeString:
    """The same on one line; where that is so long that it may be cut, all of it on hover."""
    if len(str(text)) <= FITS:
        return isolated(text)
    html = '<bdi class="clipped" title="{}">{}</bdi>'
    return format_html(html, visible_text(text), visible(text))


_Row = TypeVar("_Row", bound=Model)


def moment(value: datetime | None, *, to: str = "%H:%M") -> SafeString | None:
    """A time with its zone, in the current one; `to` is how exactly."""
    if value is None:
        return None
    local = timezone.localtime(value)
    return format_html(
        '<time datetime="{}">{}</time>',
        local.isoformat(timespec="seconds"),
        local.strftime(f"%Y-%m-%d {to} %Z"),
    )


def named_visibly(row: _Row, name: str) -> _Row:
    """A copy of a row for pages of Django and the theme, which print it by its text `name`."""
    shown = copy(row)
    setattr(shown, name, visible_text(getattr(row, name)))
    return shown


def seconds(milliseconds: float) -> str:
    """A duration: `0.21 s`, `17.1 s`, `1,204.0 s`."""
    value = milliseconds / 1_000
    return f"{value:.2f} s" if value < 1 else f"{value:,.1f} s"


def amount(cost: Decimal) -> str:
    """A cost in CHAT_COST_CURRENCY: `1,204.50`, and three digits of less than 1: `0.000123`."""
    if cost >= 1 or not cost:
        return f"{cost:,.2f}"
    return cost_as_text(Decimal(f"{cost:.3g}"))


def duration(seconds: float) -> str:
    """The two largest units: `2 d 4 h`, `5 min 12 s`."""
    left, parts = round(seconds), []
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if left >= length:
            parts.append(f"{left // length} {unit}")
            left %= length
    return " ".join(parts[:2]) or "under 1 s"


def indented_json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def counted(number: int, noun: str) -> str:
    """`1 message`, `2,500 messages`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
