"""Markdown as safe HTML: nothing in it runs, and nothing is loaded from outside."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import nh3
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.token import STANDARD_TYPES
from pygments.util import ClassNotFound

# Longer texts are shown as they are: laying them out would hold up the page.
LONGEST = 20_000
LONGEST_CODE = 10_000
# A text with more of these takes the parser long, and is no prose.
MOST_BRACKETS = 4_000
_CACHED = 512

# A text with none of these reads the same in Markdown, and is shown exactly as it was written:
# lines set in by blanks alone stay set in.
_marks = re.compile(r"[*_`\[<&\\~|]|^\s{0,3}(#|>|[-+] |\d+[.)] |={3}|-{3})", re.MULTILINE)
_brackets = re.compile(r"[*_`\[\]~<]")

_BLOCKS = {"p", "h4", "h5", "h6", "blockquote", "ul", "ol", "li", "th", "td"}
_PLAIN = {"br", "hr", "strong", "em", "s", "a", "code", "pre", "span"}
_TABLE = {"table", "thead", "tbody", "tr"}
_CODE_CLASSES = {f"hl-{name}" for name in STANDARD_TYPES.values() if name}
_cleaner = nh3.Cleaner(
    tags=_BLOCKS | _PLAIN | _TABLE,
    attributes={"a": {"href", "title"}, "ol": {"start"}},
    allowed_classes={"span": _CODE_CLASSES},
    url_schemes={"http", "https", "mailto"},
    # A relative link would lead into the admin itself.
    url_relative="deny",
    link_rel="noopener noreferrer nofollow",
    set_tag_attribute_values={
        "a": {"target": "_blank"},
        "pre": {"tabindex": "0", "dir": "ltr"},
        # Each block finds its own direction, and keeps it to itself.
        **{tag: {"dir": "auto"} for tag in _BLOCKS},
    },
)
_formatter = HtmlFormatter(nowrap=True, classprefix="hl-")


def reads_as_markdown(text: str) -> bool:
    """Whether laying the text out would show anything that the text itself does not."""
    return (
        len(text) <= LONGEST
        and _marks.search(text) is not None
        and len(_brackets.findall(text)) <= MOST_BRACKETS
    )


@lru_cache(maxsize=_CACHED)
def as_html(text: str) -> SafeString:
    """The text laid out; line breaks stay, HTML in it is text, an image is a link to itself."""
    return mark_safe(_cleaner.clean(_parser().render(text)))  # noqa: S308 (nh3 has cleaned it)


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "breaks": True, "highlight": _highlighted})
    parser.enable(["table", "strikethrough"])
    parser.add_render_rule("image", _image)
    parser.add_render_rule("heading_open", _heading)
    parser.add_render_rule("heading_close", _heading)
    return parser


def _highlighted(code: str, language: str, attributes: str) -> str:
    """Only in the language that the text names: guessing one takes long and errs."""
    if not language or len(code) > LONGEST_CODE:
        return escape(code)
    try:
        lexer = get_lexer_by_name(language, stripnl=False)
    except ClassNotFound:
        return escape(code)
    return str(highlight(code, lexer, _formatter))


def _image(
    renderer: RendererHTML,
    tokens: Sequence[Token],
    place: int,
    options: OptionsDict,
    env: EnvType,
) -> str:
    """Loading an image would tell its server who reads what, and when."""
    token = tokens[place]
    source = str(token.attrGet("src") or "")
    return f'<a href="{escape(source)}">Image: {escape(token.content or source)}</a>'


def _heading(
    renderer: RendererHTML,
    tokens: Sequence[Token],
    place: int,
    options: OptionsDict,
    env: EnvType,
) -> str:
    """The page's own headings end at the third level."""
    level = min(6, int(tokens[place].tag[1]) + 3)
    return f"<{'/' if tokens[place].nesting < 0 else ''}h{level}>"
