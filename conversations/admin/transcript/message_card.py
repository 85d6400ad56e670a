"""A message as the transcript shows it: its text as HTML, and what opens on request, which are
tool calls, results, sources and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone
from django.utils.safestring import SafeString, mark_safe
from django.utils.timesince import timesince

from conversations.admin.formatting import amount, counted, indented_json, seconds
from conversations.admin.transcript.images import images_of
from conversations.admin.transcript.queries import CUT_AT, TranscriptPage
from conversations.admin.transcript.versions import Version
from conversations.formats.image_parts import is_web_address
from conversations.formats.markdown import as_html
from conversations.models import Review, Role
from conversations.models.branch_path import FIRST_LINE
from conversations.selectors.search_sql import SearchQuery
from conversations.selectors.snippets import has_match
from conversations.templatetags.visible_text import html_marked, visibly_marked

# Characters laid out as Markdown on one page, so that no page takes a second to make.
LAID_OUT_A_PAGE = 100_000
# A message this close to the time that is shown above it shows none of its own.
SAME_TIME = timedelta(minutes=1)

ICONS = {
    Role.USER: "person",
    Role.ASSISTANT: "smart_toy",
    Role.SYSTEM: "settings",
    Role.DEVELOPER: "code",
    Role.TOOL: "build",
}

# The names under which retrieval libraries store the parts of a chunk, in the order tried.
_TITLES = ("title", "name", "source", "document", "file", "filename", "url", "id")
_SCORES = ("score", "similarity", "relevance", "distance")
_URLS = ("url", "link", "href", "uri", "source", "source_url")
_TEXTS = ("text", "content", "snippet", "page_content", "chunk")


@dataclass(frozen=True, slots=True)
class SourceCard:
    """One retrieved chunk. `url` is its address on the web, or ""; `rest` is what else was stored
    with it, as JSON."""

    title: str
    score: str = ""
    text: str = ""
    rest: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class Collapsible:
    """A block that opens on request: a label, and the text or sources within.

    Of a tool call: `name`, its id as `call`, and the sequence of its `result`. `cut`: there is
    more text than is shown. `open`: it holds a match of the search.
    """

    label: str
    text: str = ""
    name: str = ""
    call: str = ""
    result: int | None = None
    cut: bool = False
    sources: tuple[SourceCard, ...] = ()
    open: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageCard:
    """What the template of one message needs.

    `time`: how long after the time shown above it, "" within SAME_TIME of that. `html`: the text,
    from Markdown where `laid_out`, "" without any. `cut` is said of the text, `truncated` of
    anything on the card. `reasoning` stays folded, whatever is searched for. `images`: label, URL
    and whether this site serves it. `missing`: how many messages were deleted ahead of it, as far
    as gaps in the sequences tell: beyond the first line they are of other branches too. `call`: the
    sequence of the message whose tool call it answers. `version`: which one of its siblings it is,
    None without any. `own_review` is the one of `reviews` that the reader wrote.
    """

    message: Any
    icon: str
    time: str
    html: SafeString
    laid_out: bool
    cut: bool
    truncated: bool
    reasoning: Collapsible | None
    collapsibles: list[Collapsible]
    images: list[tuple[str, str, bool]]
    facts: list[str]
    missing: int
    call: int | None
    version: Version | None
    reviews: list[Review]
    own_review: Review | None


def blocks_of(
    page: TranscriptPage,
    *,
    reviewer: int | None,
    query: SearchQuery | None = None,
    hit: int | None = None,
    whole: bool = False,
    raw: bool = False,
    versions: Mapping[int, Version],
) -> list[list[MessageCard]]:
    """The cards of one page. A tool call and the results right below it are one block, any other
    message is one of its own.

    `query` is marked; what holds a match is opened in tool results and in the message `hit` (a
    sequence). `whole` cuts no text; with it or `raw`, none is laid out as Markdown. `raw` has no
    relative times.
    """
    blocks: list[list[MessageCard]] = []
    budget = 0 if whole or raw else LAID_OUT_A_PAGE
    above = page.follows
    for message, time in zip(page.messages, _times(page.messages), strict=True):
        text = message.content_text if whole else message.content_text[:CUT_AT]
        is_tool = message.role == Role.TOOL
        html = None if is_tool or len(text) > budget else as_html(text)
        budget -= 0 if html is None else len(text)
        card = _card(
            message,
            page,
            text=text,
            whole=whole,
            html=html,
            query=query,
            opens=query if is_tool or message.sequence == hit else None,
            time="" if raw else time,
            missing=message.sequence - above - 1 if message.branch == FIRST_LINE else 0,
            version=versions.get(message.sequence),
            reviewer=reviewer,
        )
        if blocks and not card.missing and card.call == blocks[-1][0].message.sequence:
            blocks[-1].append(card)
        else:
            blocks.append([card])
        above = message.sequence
    return blocks


def _times(messages: Iterable[Any]) -> Iterator[str]:
    shown = None
    for message in messages:
        at = message.created_at
        if shown is None:
            yield "just now" if timezone.now() - at < SAME_TIME else f"{timesince(at, depth=1)} ago"
        elif abs(at - shown) < SAME_TIME:
            yield ""
            continue
        elif at > shown:
            yield f"{timesince(shown, at, depth=1)} later"
        else:
            yield f"{timesince(at, shown, depth=1)} earlier"
        shown = at


def _card(
    message: Any,
    page: TranscriptPage,
    *,
    text: str,
    whole: bool,
    html: str | None,
    query: SearchQuery | None,
    opens: SearchQuery | None,
    time: str,
    missing: int,
    version: Version | None,
    reviewer: int | None,
) -> MessageCard:
    limit = None if whole else CUT_AT
    cut = len(text) < len(message.content_text)
    result = text if message.role == Role.TOOL and not whole else ""
    reasoning = _cut("Reasoning", message.reasoning_text, limit) if message.reasoning_text else None
    collapsibles = list(_collapsibles(message, page, limit, result))
    if opens is not None:
        collapsibles = [replace(one, open=_has_match(one, opens)) for one in collapsibles]
    shown = (
        visibly_marked("" if result else text, query)
        if html is None
        else html_marked(mark_safe(html), query)  # noqa: S308 (`as_html` has cleaned it)
    )
    return MessageCard(
        message=message,
        icon=ICONS[Role(message.role)],
        time=time,
        html=shown,
        laid_out=html is not None,
        cut=cut,
        truncated=cut or any(one.cut for one in [*filter(None, [reasoning]), *collapsibles]),
        reasoning=reasoning,
        collapsibles=collapsibles,
        images=list(images_of(message)),
        facts=list(_facts(message)),
        missing=missing,
        call=page.calls.get(message.sequence),
        version=version,
        reviews=message.staff_reviews,
        own_review=next(
            (one for one in message.staff_reviews if one.reviewer_id == reviewer), None
        ),
    )


def _collapsibles(
    message: Any, page: TranscriptPage, limit: int | None, result: str
) -> Iterator[Collapsible]:
    if result:
        yield Collapsible("Result", _indented(result))
    if message.tool_calls_text is not None:
        calls = _array(message.tool_calls_text, limit)
        if calls is None:
            yield _json("Tool calls", message.tool_calls_text, limit)
        for call in calls or ():
            yield _tool_call(call, message.sequence, page)
    if message.parts_text not in (None, "[]"):
        yield _json("Parts", message.parts_text, limit)
    if message.sources_text is not None:
        sources = _array(message.sources_text, limit)
        if sources is None:
            yield _json("Sources", message.sources_text, limit)
        elif sources:
            cards = tuple(map(_source_card, sources))
            yield Collapsible(counted(len(cards), "source"), sources=cards)
    if message.metadata_text not in (None, "{}"):
        yield _json("Metadata", message.metadata_text, limit)
    if message.extra_text not in (None, "{}"):
        yield _json("Further fields", message.extra_text, limit)


def _array(text: str, limit: int | None) -> list[Any] | None:
    """The items of a JSON array; None where the text is cut, or something else."""
    value = None if limit is not None and len(text) > limit else _parsed(text)
    return value if isinstance(value, list) else None


def _json(label: str, text: str, limit: int | None) -> Collapsible:
    block = _cut(label, text, limit)
    return block if block.cut else replace(block, text=_indented(text))


def _cut(label: str, text: str, limit: int | None) -> Collapsible:
    if limit is not None and len(text) > limit:
        return Collapsible(label, text[:limit], cut=True)
    return Collapsible(label, text)


def _tool_call(call: Any, sequence: int, page: TranscriptPage) -> Collapsible:
    """A tool call in the form of OpenAI's chat messages; any other as the JSON that it is."""
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or "name" not in function:
        return Collapsible("Tool call", indented_json(call))
    arguments = function.get("arguments", "")
    text = arguments if isinstance(arguments, str) else indented_json(arguments)
    call_id = str(call.get("id") or "")
    return Collapsible(
        "Tool call",
        _indented(text),
        name=str(function["name"]),
        call=call_id,
        result=page.results.get((sequence, call_id)) if call_id else None,
    )


def _source_card(item: Any) -> SourceCard:
    if not isinstance(item, dict):
        text = item if isinstance(item, str) else indented_json(item)
        return SourceCard("Source", text=text)
    rest = dict(item)
    title, score, text = (_taken(rest, names) for names in (_TITLES, _SCORES, _TEXTS))
    addresses = (str(value) for value in [title, *map(rest.get, _URLS)] if is_web_address(value))
    url = next(addresses, "")
    rest = {name: value for name, value in rest.items() if name not in _URLS or value != url}
    return SourceCard(title or "Source", score, text, indented_json(rest) if rest else "", url)


def _taken(item: dict[str, Any], names: tuple[str, ...]) -> str:
    """The value of the first of these names that is there, removed from `item`; "" without one."""
    for name in names:
        if isinstance(item.get(name), str | int | float) and item[name] != "":
            value = item.pop(name)
            return f"{value:.4g}" if isinstance(value, float) else str(value)
    return ""


def _has_match(block: Collapsible, query: SearchQuery) -> bool:
    of_sources = [text for one in block.sources for text in (one.title, one.text, one.rest)]
    return any(has_match(text, query) for text in (block.name, block.text, *of_sources))


def _indented(text: str) -> str:
    """An object or array of JSON with indentation; any other text as it is."""
    value = _parsed(text)
    return indented_json(value) if isinstance(value, dict | list) else text


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _facts(message: Any) -> Iterator[str]:
    """Model, tokens, durations and so on, as far as they are known."""
    if message.model:  # without one the provider is only the column's default
        yield f"{message.provider} {message.model}".strip()
    if message.prompt_tokens is not None:
        yield counted_tokens(message.prompt_tokens, "tokens in", message.cached_tokens, "cached")
    if message.completion_tokens is not None:
        thought = message.reasoning_tokens
        yield counted_tokens(message.completion_tokens, "tokens out", thought, "reasoning")
    if message.cost is not None:
        yield f"{amount(message.cost)} {settings.CHAT_COST_CURRENCY}"
    if message.first_token_ms is not None:
        yield f"first token {seconds(message.first_token_ms)}"
    if message.latency_ms is not None:
        yield f"duration {seconds(message.latency_ms)}"
    if message.finish_reason:
        yield f"finish reason {message.finish_reason}"
    if message.detected_mode:
        yield f"mode {message.detected_mode}"


def counted_tokens(count: int, what: str, part: int | None, kind: str) -> str:
    """`1,200 tokens in (800 cached)`."""
    return f"{count:,} {what}" + (f" ({part:,} {kind})" if part else "")
