"""Text of people and models as HTML: escaped, its invisible characters made visible, and the
words of a search marked.

Filters of templates; `admin/formatting.py` hands them to code.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from django import template
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe

from conversations.selectors.search_sql import SearchQuery
from conversations.selectors.snippets import marked, marked_html
from conversations.services.characters import described, is_hidden

register = template.Library()

# White space that is common and whose effect is visible.
_ORDINARY = frozenset("\n\t")

# An emoji of several characters; what a script of joined letters needs between two of them; and
# the variant of a Han or Mongolian character. The hidden characters in these are part of what is
# seen. One variation selector belongs to a character, so a second one is shown.
_SYMBOL = (
    r"[\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u21ff\u2300-\u23ff\u2460-\u24ff\u25a0-\u27bf\u2900-\u297f\u2b00-\u2bff"
    r"\u3030\u303d\u3297\u3299\U0001f000-\U0001faff]"
)
_EMOJI = rf"{_SYMBOL}[\ufe0e\ufe0f]?[\U0001f3fb-\U0001f3ff]?"
_FLAG_OF = r"\U0001f3f4\U000e0067\U000e0062(?:{})\U000e007f".format(
    "|".join(
        "".join(chr(0xE0000 + ord(letter)) for letter in region) for region in ("eng", "sct", "wls")
    )
)
_JOINED_SCRIPT = r"[\u0620-\u08ff\u0900-\u0dff\u1000-\u109f\u1780-\u17ff]"
_seen_together = re.compile(
    rf"{_FLAG_OF}"
    rf"|{_EMOJI}(?:\u200d{_EMOJI})*"
    r"|[0-9#*]\ufe0f\u20e3"
    r"|[\u3400-\u9fff\U00020000-\U0003ffff][\ufe00-\ufe02\U000e0100-\U000e01ef]"
    r"|[\u1820-\u18aa][\u180b-\u180d\u180f]"
    rf"|(?<={_JOINED_SCRIPT})[\u200c\u200d](?={_JOINED_SCRIPT})"
)
# Attributes stand in double quotes, in which the sanitiser has escaped double quotes.
_tag = re.compile(r'<[^>"]*(?:"[^"]*"[^>"]*)*>')


@register.filter
def visible(text: object) -> SafeString:
    """Text as HTML. A character that does not show, or that changes how others show, is a chip
    with its number; new lines, tabs and the insides of emoji stay."""
    return visible_html(escape(_as_text(text)))


@register.filter
def visible_text(text: object) -> str:
    """The same where no HTML can stand, as in the page's title: `[U+202E]`."""
    return _replaced(_as_text(text), lambda char: f"[U+{ord(char):04X}]")


@register.filter
def visible_html(html: str) -> SafeString:
    """The same for HTML that is safe already: chips between its tags, plain text within them."""
    if not _hidden_in(html):
        return mark_safe(html)  # noqa: S308 (safe as it came)
    pieces, at = [], 0
    for tag in _tag.finditer(html):
        pieces += [_replaced(html[at : tag.start()], _chip), visible_text(tag.group())]
        at = tag.end()
    pieces.append(_replaced(html[at:], _chip))
    return mark_safe("".join(pieces))  # noqa: S308 (chips and what was safe)


@register.filter
def visibly_marked(text: object, query: SearchQuery | None) -> SafeString:
    """As `visible`, with what matches `query` in <mark>."""
    if query is None or text is None:
        return visible(text)
    return visible_html(marked(_as_text(text), query))


@register.filter
def html_marked(safe_html: str, query: SearchQuery | None) -> SafeString:
    """As `visible_html`, with what matches `query` between the tags in <mark>."""
    return visible_html(safe_html if query is None else marked_html(safe_html, query))


def _as_text(text: object) -> str:
    """One line ending for all, so that no carriage return is left over."""
    return "" if text is None else str(text).replace("\r\n", "\n")


def _replaced(text: str, shown: Callable[[str], str]) -> str:
    hidden = _hidden_in(text)
    if not hidden:
        return text
    one = re.compile(f"{_seen_together.pattern}|(?P<hidden>[{re.escape(''.join(hidden))}])")
    return one.sub(lambda found: shown(found[0]) if found["hidden"] else found[0], text)


def _hidden_in(text: str) -> set[str]:
    """Each different character is asked for once, so a long text costs no more than a short."""
    if text.isascii() and text.isprintable():
        return set()
    return {char for char in set(text) - _ORDINARY if is_hidden(char)}


@lru_cache(maxsize=1_000)
def _chip(char: str) -> str:
    return format_html(
        '<code class="hidden-character" dir="ltr" title="{}">U+{}</code>',
        described(char),
        f"{ord(char):04X}",
    )
