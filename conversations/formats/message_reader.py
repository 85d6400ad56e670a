"""One message as any known SDK hands it out, as the fields of ours.

Nothing is lost: what a column of the same name does not hold exactly as sent is in `extra`, under
the sender's names and, for a message inside another object, at its place there. So the sent message
can be built again:

- a list of `content` is in `parts`, and so is the `output` of a Response or of a tool's result; an
  `output` that is text is the `content`. Neither is repeated in `extra`.
- an item of the Responses API that is neither a message nor a call of the application's tools nor
  its result is the only one of `parts`, whole.

Our own fields win over what is derived from an SDK's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from conversations.formats.chat import Malformed
from conversations.formats.checks import as_list, as_object, as_text_or_none, required
from conversations.formats.content_parts import are_parts
from conversations.formats.lines import TOO_DEEP
from conversations.formats.message import RECORDED_FIELDS
from conversations.formats.sdk_keys import CALL_ITEMS, ITEM_TYPES, RESULT_ITEMS, WHOLE_ITEMS
from conversations.formats.sdk_message import (
    SAID_TWICE,
    Split,
    Values,
    derive_fields,
    fits,
    is_uuid,
    read_message,
    role_of_type,
    set_parts,
    split_fields,
)
from conversations.formats.tool_calls import (
    as_json_text,
    as_openai_calls,
    call_of_item,
    calls_in,
)

KEPT_TWICE = "The message has this key itself, with another value."
UNKNOWN_OBJECT = "Not an answer: a chat.completion or a response; a message has a `role`."
NOT_ONE_CHOICE = "Must have one choice: send each as a message of its own."

ROLES = frozenset({"user", "assistant", "system", "tool", "developer"})
# What a request may say of a message; the last two are about the conversation.
OWN_FIELDS = frozenset({*RECORDED_FIELDS, "id", "parent_id", "expected_last_sequence", "activate"})
# Those whose values no SDK spells otherwise, where only our names are used.
_NEVER_FOREIGN = OWN_FIELDS - {"id", "status", "tool_calls"}

# An item that is kept whole has these keys itself; all other names of ours are ours.
_OF_AN_ITEM = frozenset({"id", "role", "content", "name", "status", "error"})


def as_own_fields(message: Values, *, own: frozenset[str] = OWN_FIELDS) -> Values:
    """The message by the names of our fields. Their values are not checked; unknown keys stay.

    `own` are the names that mean our fields; others are known keys of SDKs or unknown. Raises
    Malformed with the path of the value, in the message as it was sent.
    """
    if own.issuperset(message) and _is_ours(message):
        return message
    fields, extra = _read(message, own)
    if extra:
        fields["extra"] = _merged(fields.get("extra"), extra)
    return fields


def _is_ours(message: Values) -> bool:
    """Whether the values are in our form too, where the names are."""
    if not isinstance(message.get("content", ""), str) or message.get("role") == "function":
        return False
    return _NEVER_FOREIGN.issuperset(message) or (
        fits("id", message.get("id"), from_sdk=False)
        and fits("status", message.get("status"), from_sdk=False)
        and not _has_foreign_calls(message.get("tool_calls"))
    )


def _has_foreign_calls(calls: object) -> bool:
    return isinstance(calls, list) and as_openai_calls("tool_calls", calls) != calls


def _merged(given: Any, extra: Values) -> Any:
    """The client's own `extra` with what is kept of the message."""
    if given is None or not isinstance(given, dict):
        return extra if given is None else given
    for key in given.keys() & extra.keys():
        if not _are_equal(f"extra.{key}", given[key], extra[key]):
            raise Malformed(f"extra.{key}", KEPT_TWICE)
    return given | extra


def _are_equal(at: str, one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except RecursionError:
        raise Malformed(at, TOO_DEEP) from None


def _read(message: Values, own: frozenset[str]) -> Split:
    kind = message.get("type")
    if isinstance(kind, str) and kind in ITEM_TYPES:
        return _read_item(kind, message, own)
    if "role" not in message:
        if "choices" in message:
            return _read_completion(message, own)
        if message.get("object") == "response":
            return _read_response(message, own)
        if "object" in message:
            raise Malformed("object", UNKNOWN_OBJECT)
        if name := next((name for name in ("data", "kwargs") if name in message), None):
            return _read_wrapped(name, message, own)
    return read_message(message, own)


def _read_item(kind: str, item: Values, own: frozenset[str]) -> Split:
    if kind in CALL_ITEMS:
        return _read_call(item, own)
    if kind in RESULT_ITEMS:
        return _read_result(item, own)
    ours = own - _OF_AN_ITEM
    fields = {key: value for key, value in item.items() if key in ours}
    whole = {key: value for key, value in item.items() if key not in ours}
    if is_uuid(item.get("id")):
        fields["id"] = item["id"]
    role = item.get("role")
    fields["role"] = role if isinstance(role, str) and role in ROLES else WHOLE_ITEMS[kind]
    set_parts("type", [whole], fields)
    derive_fields(whole, fields)
    return fields, {}


def _read_call(item: Values, own: frozenset[str]) -> Split:
    fields, extra = split_fields(item, own - {"name"}, keeps_all=True)
    given = {"role": "assistant", "content": "", "tool_calls": [call_of_item(item)]}
    fields = given | fields
    derive_fields(item, fields)
    return fields, extra


def _read_result(item: Values, own: frozenset[str]) -> Split:
    fields, extra = split_fields(item, own, keeps_all=True)
    if "content" in fields and "output" in item:
        raise Malformed("output", SAID_TWICE)
    answered = as_text_or_none("call_id", item.get("call_id"))
    fields = {"role": "tool", "tool_call_id": answered} | fields
    output = item.get("output")
    if isinstance(output, str):
        fields["content"] = extra.pop("output")
    elif are_parts(output):
        set_parts("output", extra.pop("output"), fields)
    elif output is not None:
        fields["content"] = as_json_text("output", output)
    derive_fields(item, fields)
    return fields, extra


def _read_response(response: Values, own: frozenset[str]) -> Split:
    output = as_list("output", required("output", response.get("output")))
    fields, extra = split_fields(response, own, keeps_all=True)
    if "content" in fields:
        raise Malformed("output", SAID_TWICE)
    set_parts("output", extra.pop("output"), fields)
    fields.setdefault("role", "assistant")
    if calls := calls_in("output", output):
        fields.setdefault("tool_calls", calls)
    derive_fields(response, fields)
    return fields, extra


def _read_completion(completion: Values, own: frozenset[str]) -> Split:
    choices = as_list("choices", completion["choices"])
    if len(choices) != 1:
        raise Malformed("choices", NOT_ONE_CHOICE)
    choice = as_object("choices.0", choices[0])
    with _inside("choices.0.message"):
        message = as_object("", required("", choice.get("message")))
        said, kept = read_message(message, own, keeps_all=True)
    fields, extra = split_fields(completion, own, keeps_all=True)
    fields = said | fields
    derive_fields(completion, fields)
    derive_fields(choice | {"stop_reason": choice.get("finish_reason")}, fields)
    return fields, extra | {"choices": [choice | {"message": kept}]}


def _read_wrapped(name: str, wrapped: Values, own: frozenset[str]) -> Split:
    """LangChain's `{"type", "data": message}` and `{"lc", "type", "id", "kwargs": message}`."""
    with _inside(name):
        message = as_object("", wrapped[name])
        said, kept = read_message(message, own, keeps_all=True)
    if "role" not in said:
        path = wrapped.get("id")
        of_class = path[-1] if name == "kwargs" and isinstance(path, list) and path else None
        said["role"] = role_of_type("type", of_class or wrapped.get("type"))
    fields, extra = split_fields(wrapped, own, keeps_all=True)
    return said | fields, extra | {name: kept}


@contextmanager
def _inside(prefix: str) -> Iterator[None]:
    """Prepend `prefix` to the path of an error."""
    try:
        yield
    except Malformed as error:
        path = f"{prefix}.{error.field}" if error.field else prefix
        raise Malformed(path, error.detail) from None
