"""Markdown as safe HTML: nothing in it runs, and nothing is loaded from outside.

Formulas in LaTeX ($…$, $$…$$, \\(…\\), \\[…\\]) are shown as they were written, in monospace:
Markdown would take their backslashes, underscores and asterisks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from html import escape

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.ruler import RuleOptionsType
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.token import STANDARD_TYPES
from pygments.util import ClassNotFound

# Longer texts are shown as they are: to parse them would delay the page.
LONGEST = 20_000
LONGEST_CODE = 10_000
# A text with more of these is slow to parse, and is no prose.
MOST_BRACKETS = 4_000
LONGEST_FORMULA = 2_000
_CACHED = 512

# A text with none of these is the same in Markdown. It is shown exactly as it was written, its
# indentation by spaces included.
_marks = re.compile(r"[*_`\[<&\\~|]|^\s{0,3}(#|>|[-+] |\d+[.)] |={3}|-{3})", re.MULTILINE)
_brackets = re.compile(r"[*_`\[\]~<]")

_CLOSING = {"$$": "$$", r"\(": r"\)", r"\[": r"\]"}
# As Pandoc has it, so that "$5 and $6" are amounts: no space within the signs beside them, and no
# letter or digit after the second.
_dollars = re.compile(
    rf"\$(?![\s$])(?:\\.|[^\\$]){{1,{LONGEST_FORMULA}}}?(?<!\s)\$(?![\w$])", re.DOTALL
)

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


@lru_cache(maxsize=_CACHED)
def as_html(text: str) -> str | None:
    """Markdown as HTML: line breaks stay, HTML in it is text, an image is a link to its address.

    None where Markdown would show the text as it is written, or is too slow to parse.
    """
    if len(text) > LONGEST or len(_brackets.findall(text)) > MOST_BRACKETS:
        return None
    if _marks.search(text) is None:
        return None
    return str(_cleaner.clean(_parser().render(text)))


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "breaks": True, "highlight": _highlighted})
    parser.enable(["table", "strikethrough"])
    interrupts: RuleOptionsType = {"alt": ["paragraph", "reference", "blockquote", "list"]}
    parser.block.ruler.before("fence", "formula", _block_formula, interrupts)
    parser.inline.ruler.before("escape", "formula", _inline_formula)
    parser.add_render_rule("image", _image)
    parser.add_render_rule("heading_open", _heading)
    parser.add_render_rule("heading_close", _heading)
    return parser


def _inline_formula(state: StateInline, silent: bool) -> bool:
    """A formula within a line, as inline code with its delimiters."""
    start, limit = state.pos, min(state.posMax, state.pos + LONGEST_FORMULA)
    opening = state.src[start : start + 2]
    if opening in _CLOSING:
        at = state.src.find(_CLOSING[opening], start + 3, limit)
        end = at + 2 if at >= 0 else -1
    else:
        found = _dollars.match(state.src, start, limit)
        end = found.end() if found else -1
    if end < 0:
        return False
    if not silent:
        state.push("code_inline", "code", 0).content = state.src[start:end]
    state.pos = end
    return True


def _block_formula(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """A formula on lines of its own, as a block of code with its delimiters."""
    begin = state.bMarks[start] + state.tShift[start]
    opening = state.src[begin : begin + 2]
    if opening not in ("$$", r"\[") or state.is_code_block(start):
        return False
    at = state.src.find(_CLOSING[opening], begin + 2, begin + LONGEST_FORMULA)
    if at < 0 or not state.src[begin + 2 : at].strip():
        return False
    last = start + state.src.count("\n", begin, at)
    # With more text behind it, or a blank line within, it is a part of a paragraph.
    if last >= end or state.src[at + 2 : state.eMarks[last]].strip():
        return False
    lines = range(start, last + 1)
    if any(state.isEmpty(line) or state.sCount[line] < state.blkIndent for line in lines):
        return False
    if not silent:
        state.line = last + 1
        token = state.push("code_block", "code", 0)
        token.content = state.getLines(start, last + 1, state.sCount[start], False)
        token.map = [start, state.line]
    return True


def _highlighted(code: str, language: str, attributes: str) -> str:
    """Only in the language that the text names: to guess one is slow and often wrong."""
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
