"""HTML of an answer as Markdown, in a time and a size that grow with those of the HTML.

`markdownify` looks at all rows of a table, or all items of a list, for each of them, and the parser
of Python's library at the whole rest of a text for each tag or comment that does not end: a file of
somebody else could hold up an import for hours.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

from bs4 import BeautifulSoup, Tag
from bs4.exceptions import ParserRejectedMarkup
from markdownify import MarkdownConverter

MAX_HTML_CHARS = 1_000_000
MAX_DEPTH = 200
_MAX_MARKDOWN_CHARS = 4 * MAX_HTML_CHARS
_MAX_COLUMNS = 100
_MAX_BLANKS = 1_000

TOO_LONG = "Longer than {limit:,} characters."
TOO_DEEP = "Nested too deeply."
SURROGATE = "A lone surrogate (U+D800 to U+DFFF) is no character."
NOT_HTML = "Not HTML that can be read."

_LANGUAGE = re.compile(r"language-(\S+)")
_COMMENT_ENDS = re.compile(r"--\s*>")
_BLANKS = re.compile(rf"[ \t\r\n]{{{_MAX_BLANKS + 1},}}")
_NUMBER = re.compile(r"[0-9]{1,9}")


def as_markdown(html: str) -> str:
    """Raises ValueError with the reason for what cannot be read."""
    if len(html) > MAX_HTML_CHARS:
        raise ValueError(TOO_LONG.format(limit=MAX_HTML_CHARS))
    try:
        html.encode()
    except UnicodeEncodeError:
        raise ValueError(SURROGATE) from None
    try:
        return _Converter(
            heading_style="ATX", code_language_callback=_language, strip_pre=None
        ).read(html)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    except ParserRejectedMarkup:
        raise ValueError(NOT_HTML) from None
    except ValueError as error:
        raise ValueError(error if str(error) == TOO_DEEP else NOT_HTML) from None


class _Document(BeautifulSoup):
    """Raises ValueError where it is nested too deeply."""

    def pushTag(self, tag: Tag) -> None:
        super().pushTag(tag)
        if len(self.tagStack) > MAX_DEPTH:
            raise ValueError(TOO_DEEP)


class _Converter(MarkdownConverter):
    """Counts what a document has of a kind once. For one document."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._items: dict[int, int] = defaultdict(int)  # of each numbered list, those so far
        self._counts: dict[tuple[int, str], int] = {}

    def read(self, html: str) -> str:
        soup = _Document(_without_open_ends(html), "html.parser")
        for cell in soup.find_all(["td", "th"], colspan=True):
            cell["colspan"] = str(min(_number(cell["colspan"], 1), _MAX_COLUMNS))
        for said in soup.find_all(string=_BLANKS):
            said.replace_with(type(said)(_BLANKS.sub(lambda run: run[0][:_MAX_BLANKS], said)))
        return str(self.convert_soup(soup)).strip()

    def process_tag(self, node: Tag, parent_tags: set[str] | None = None) -> str:
        text: str = super().process_tag(node, parent_tags=parent_tags)  # type: ignore[misc]
        # Each list or quotation around a line adds to it.
        if len(text) > _MAX_MARKDOWN_CHARS:
            raise ValueError(TOO_DEEP)
        return text

    def convert_li(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        parent = el.parent
        if parent is None or parent.name != "ol":
            return str(super().convert_li(el, text, parent_tags))  # type: ignore[misc]
        number = _number(parent.get("start"), 1) + self._items[id(parent)]
        self._items[id(parent)] += 1
        first, *rest = (text or "").strip().split("\n")
        if not first:
            return "\n"
        bullet = f"{number}. "
        indented = [f"{' ' * len(bullet)}{line}" if line else "" for line in rest]
        return "\n".join([f"{bullet}{first}", *indented]) + "\n"

    def convert_pre(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        """Without empty lines before and after it."""
        begin = text[: len(text) - len(text.lstrip(" \n"))].rfind("\n") + 1
        inner = text[begin:].rstrip(" \n")
        return str(super().convert_pre(el, inner, parent_tags))  # type: ignore[misc]

    def convert_tr(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        """A line of a table; its first one is the head, or has an empty head above it."""
        row, section = f"|{text}\n", el.parent
        if el.find_previous_sibling() is not None or section is None:
            return row
        cells = el.find_all(["td", "th"])
        columns = sum(_number(cell.get("colspan"), 1) for cell in cells)
        line = f"| {' | '.join(['---'] * columns)} |\n"
        is_only_head = section.name == "thead" and self._count(section, "tr") == 1
        if is_only_head or all(cell.name == "th" for cell in cells):
            return row + line
        table = section.parent if section.name == "tbody" else None
        if table and self._count(table, "thead") and section.find_previous_sibling():
            return row
        return f"| {' | '.join([''] * columns)} |\n{line}{row}"

    def _count(self, parent: Tag, name: str) -> int:
        key = id(parent), name
        if key not in self._counts:
            self._counts[key] = len(parent.find_all(name))
        return self._counts[key]


def _without_open_ends(html: str) -> str:
    """The same, with each `<` as text that begins what does not end."""
    end = html.rfind(">") + 1
    ended, rest = html[:end], html[end:]
    last = max((found.start() for found in _COMMENT_ENDS.finditer(ended)), default=0)
    comments, after = ended[:last], ended[last:]
    after = after.replace("<!--", "&lt;!--")
    # What only XML has.
    marked = f"{comments}{after}".replace("<![", "&lt;![")
    return marked + rest.replace("<", "&lt;")


def _number(value: object, otherwise: int) -> int:
    return int(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else otherwise


def _language(element: Tag) -> str:
    """The language of a block of code, which its class names."""
    code = element.find("code") or element
    classes = " ".join([*_classes(element), *_classes(code)])
    found = _LANGUAGE.search(classes)
    return found[1] if found else ""


def _classes(element: Any) -> list[str]:
    return list(element.get("class", ()))
