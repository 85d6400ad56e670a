"""A request of a VS Code chat as messages of ours: the question, and the answer with its tools.

Text comes in pieces, with links to files and symbols between them: these are one text, which names
what is linked, and keeps the links in `references`. A part of another kind is kept whole:
{"type": KIND, KIND: {…}}.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from conversations.formats.answer_parts import drafts_of_parts, last_said
from conversations.formats.checks import (
    as_list_or_none,
    as_object,
    as_object_or_none,
    as_text,
    as_text_or_none,
    as_unix_ms_or_none,
    required,
)
from conversations.formats.content_parts import as_part
from conversations.formats.message import MessageDraft
from conversations.formats.reasoning import reasoning_part
from conversations.formats.token_usage import LARGEST_COUNT, set_usage
from conversations.formats.tool_calls import as_json_text
from conversations.formats.unmapped import add_extra, unmapped

RATINGS = {1: 1, 0: -1}  # of `vote`

_CANCELLED = 2  # of `modelState.value`
# Of a request, what has a column, or is said of its answer.
_NOT_EXTRA = frozenset({"message", "timestamp", "response", "result", "vote", "voteDownReason"})
_TEXT_KINDS = (None, "markdownContent", "inlineReference")

_Object = dict[str, Any]


def read_request(at: str, request: _Object) -> list[MessageDraft]:
    """The question, unless it is empty, and the messages of its answer. Raises Malformed."""
    time = as_unix_ms_or_none(f"{at}.timestamp", request.get("timestamp"))
    message = required(f"{at}.message", request.get("message"))
    more: _Object = {}
    if isinstance(message, str):
        text = message
    else:
        said = as_object(f"{at}.message", message)
        text = as_text(f"{at}.message.text", required(f"{at}.message.text", said.get("text")))
        more = unmapped(said, ("text",))
    answer = _answer(at, request)
    state = as_object_or_none(f"{at}.modelState", request.get("modelState")) or {}
    ended = as_unix_ms_or_none(f"{at}.modelState.completedAt", state.get("completedAt"))
    for draft in answer:
        draft.created_at = ended or time
    question = [MessageDraft(role="user", content=text, created_at=time)] if text else []
    drafts = question + answer
    if drafts:
        add_extra(drafts[0], unmapped(request, _NOT_EXTRA) | ({"message": more} if more else {}))
    return drafts


def _answer(at: str, request: _Object) -> list[MessageDraft]:
    response = as_list_or_none(f"{at}.response", request.get("response")) or []
    result = as_object_or_none(f"{at}.result", request.get("result")) or {}
    metadata = as_object_or_none(f"{at}.result.metadata", result.get("metadata")) or {}
    parts = list(_parts(response, _calls_by_id(metadata), _results_by_id(metadata)))
    error = as_object_or_none(f"{at}.result.errorDetails", result.get("errorDetails")) or {}
    text = as_text_or_none(f"{at}.result.errorDetails.message", error.get("message"))
    drafts = drafts_of_parts(f"{at}.response", parts)
    if text and not drafts:
        drafts = [MessageDraft(role="assistant")]
    if not drafts:
        return []
    model = as_text_or_none(f"{at}.modelId", request.get("modelId")) or ""
    for draft in drafts:
        draft.model = model if draft.role == "assistant" else ""
    last = last_said(drafts)
    _set_end(at, request, result, last)
    if text:
        last.status, last.error = "failed", text
    add_extra(drafts[0], {"result": result} if result else {})
    return drafts


def _set_end(at: str, request: _Object, result: _Object, last: MessageDraft) -> None:
    """What is said of a whole answer: its tokens, its times, its rating, and whether it ended."""
    counts = {"prompt_tokens": "promptTokens", "completion_tokens": "completionTokens"}
    set_usage(last, {name: request.get(key) for name, key in counts.items()})
    timings = as_object_or_none(f"{at}.result.timings", result.get("timings")) or {}
    last.first_token_ms = _milliseconds(timings.get("firstProgress"))
    last.latency_ms = _milliseconds(timings.get("totalElapsed"))
    vote = request.get("vote")
    last.rating = RATINGS.get(vote) if type(vote) is int else None
    if last.rating is not None:
        reason = as_text_or_none(f"{at}.voteDownReason", request.get("voteDownReason"))
        last.rating_comment = reason or None
    state = as_object_or_none(f"{at}.modelState", request.get("modelState")) or {}
    if request.get("isCanceled") is True or state.get("value") == _CANCELLED:
        last.status = "stopped"


def _milliseconds(value: object) -> int | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return round(value) if number and 0 <= value <= LARGEST_COUNT else None  # type: ignore[operator, call-overload]


def _calls_by_id(metadata: _Object) -> dict[str, _Object]:
    """The calls that the model made, as the rounds of the agent have them."""
    rounds = metadata.get("toolCallRounds")
    calls = [
        call
        for each in (rounds if isinstance(rounds, list) else ())
        if isinstance(each, dict) and isinstance(each.get("toolCalls"), list)
        for call in each["toolCalls"]
    ]
    return {_plain_id(call.get("id")): call for call in calls if isinstance(call, dict)}


def _plain_id(id_: object) -> str:
    """Without the number by which VS Code tells calls with the same id apart."""
    return str(id_).partition("__vscode-")[0]


def _results_by_id(metadata: _Object) -> _Object:
    results = metadata.get("toolCallResults")
    return results if isinstance(results, dict) else {}


def _parts(response: list[Any], calls: dict[str, _Object], results: _Object) -> Iterator[Any]:
    for is_text, group in groupby(response, _is_text):
        if is_text:
            yield from _text(list(group))
            continue
        for part in group:
            if isinstance(part, dict) and part.get("kind") == "toolInvocationSerialized":
                yield from _invocation(part, calls, results)
            elif isinstance(part, dict) and part.get("kind") == "thinking":
                yield _thought(part)
            elif isinstance(part, dict):
                kind = str(part.get("kind"))
                yield {"type": kind, kind: unmapped(part, ("kind",))}
            else:
                yield as_part(part)


def _is_text(part: Any) -> bool:
    if not isinstance(part, dict) or part.get("kind") not in _TEXT_KINDS:
        return False
    return _is_link(part) or isinstance(_markdown(part), str)


def _is_link(part: _Object) -> bool:
    return part.get("kind") == "inlineReference"


def _markdown(part: _Object) -> Any:
    content = part.get("content")
    value = content.get("value") if isinstance(content, dict) else content
    return part.get("value") if "value" in part else value


def _text(pieces: list[_Object]) -> Iterator[_Object]:
    links = [piece for piece in pieces if _is_link(piece)]
    text = "".join(_name(piece) if _is_link(piece) else _markdown(piece) for piece in pieces)
    if text or links:
        yield {"type": "text", "text": text} | ({"references": links} if links else {})


def _name(link: _Object) -> str:
    """The name of a symbol, or the last part of the path of a file."""
    if isinstance(link.get("name"), str):
        return str(link["name"])
    target = link.get("inlineReference")
    if isinstance(target, dict) and isinstance(target.get("name"), str):
        return str(target["name"])
    inner = target.get("uri", target) if isinstance(target, dict) else {}
    path = inner.get("path") if isinstance(inner, dict) else None
    return path.rstrip("/").rpartition("/")[2] if isinstance(path, str) else ""


def _thought(part: _Object) -> _Object:
    value = part.get("value")
    lines = [str(each) for each in value] if isinstance(value, list) else [as_json_text("", value)]
    return unmapped(part, ("kind", "value", "type")) | reasoning_part("\n".join(lines))


def _invocation(part: _Object, calls: dict[str, _Object], results: _Object) -> Iterator[_Object]:
    """The call of a tool and its result, as far as the session has them."""
    id_ = str(part.get("toolCallId") or "") or f"call_{part.get('toolId')}"
    call = calls.get(_plain_id(id_), {})
    name = call.get("name") or part.get("toolId") or "tool"
    rest = {"invocation": unmapped(part, ("toolCallId", "resultDetails"))}
    yield rest | {
        "type": "function_call",
        "call_id": id_,
        "name": str(name),
        "arguments": as_json_text("", call.get("arguments", _input(part))),
    }
    if id_ in results:
        yield {"type": "function_call_output", "call_id": id_, "output": _output(results[id_])}
    elif part.get("resultDetails") or part.get("isComplete") is True:
        details = part.get("resultDetails")
        yield {"type": "function_call_output", "call_id": id_, "output": _output(details or "")}


def _input(part: _Object) -> Any:
    """What a tool was called with, where only the interface says it."""
    details, data = part.get("resultDetails"), part.get("toolSpecificData")
    if isinstance(details, dict) and "input" in details:
        return details["input"]
    return data.get("rawInput", "") if isinstance(data, dict) else ""


def _output(result: Any) -> str:
    """The texts of a result, or else the result as JSON."""
    values = result.get("content", result.get("output")) if isinstance(result, dict) else None
    if isinstance(values, str):
        return values
    if isinstance(values, list):
        said = [each.get("value") if isinstance(each, dict) else each for each in values]
        texts = [text for text in said if isinstance(text, str)]
        if texts and len(texts) == len(values):
            return "\n".join(texts)
    return as_json_text("", result)
