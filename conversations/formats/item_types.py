"""The types of items of OpenAI's Conversations and Responses APIs: ids, and the keys of each.

Read in the types of openai 3.54 (`openai.types.conversations.ConversationItem`), whose strict
reader refuses an item without a key that its type requires.
"""

from __future__ import annotations

import re
from typing import Any

from conversations.formats.chat import Malformed
from conversations.formats.checks import (
    Check,
    as_boolean,
    as_list,
    as_object,
    as_object_or_none,
    as_text,
    as_texts,
    required,
)
from conversations.formats.sdk_keys import ITEM_TYPES

Item = dict[str, Any]

UNKNOWN_TYPE = "Not a type of item that a conversation holds."
# No reader of a conversation knows it: it asks the model for something.
_NOT_HELD = frozenset({"compaction_trigger"})
HELD_TYPES = ITEM_TYPES - _NOT_HELD - {"item_reference"}

# What the id of an item of a type begins with, where it is not `item`.
_PREFIXES = {
    "message": "msg",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
    "reasoning": "rs",
    "web_search_call": "ws",
    "file_search_call": "fs",
    "code_interpreter_call": "ci",
    "image_generation_call": "ig",
    "computer_call": "cu",
    "computer_call_output": "cuo",
    "mcp_call": "mcp",
    "mcp_list_tools": "mcpl",
    "mcp_approval_request": "mcpr",
    "mcp_approval_response": "mcpr",
    "local_shell_call": "lsh",
    "local_shell_call_output": "lsh",
    "shell_call": "sh",
    "shell_call_output": "sh",
    "apply_patch_call": "ap",
    "apply_patch_call_output": "ap",
    "compaction": "cmp",
}


def prefix_of(item: Item) -> str:
    return _PREFIXES.get(item["type"], "item")


# What an id may be that is answered again: it is a part of a path. One that this server has made
# is that of another item, of which this one is a copy.
_keepable = re.compile(r"\w[\w.:=+@~-]{0,254}")
_made_here = re.compile(r"[a-z]{1,16}_[0-9a-f]{32}(?:_[0-9]+)?")


def sent_id(item: Item) -> str | None:
    """The id that an item was sent with and keeps, if it has one."""
    given = item.get("id")
    if not isinstance(given, str) or _made_here.fullmatch(given):
        return None
    return given if _keepable.fullmatch(given) else None


def _objects(at: str, value: object) -> Any:
    return [as_object(f"{at}.{place}", one) for place, one in enumerate(as_list(at, value))]


def _texts_of_type(kind: str) -> Check:
    """A list of objects of one type, each with a text."""

    def check(at: str, value: object) -> Any:
        for place, one in enumerate(_objects(at, value)):
            as_text(f"{at}.{place}.text", required(f"{at}.{place}.text", one.get("text")))
            if one.get("type") != kind:
                raise Malformed(f"{at}.{place}.type", f"Must be `{kind}`.")
        return value

    return check


def _or_none(check: Check) -> Check:
    return lambda at, value: None if value is None else check(at, value)


def _anything(at: str, value: object) -> object:
    return value


def _commands(at: str, value: object) -> Any:
    commands = as_object(at, value).get("commands")
    return as_texts(f"{at}.commands", required(f"{at}.commands", commands))


# The keys that each type requires, besides those of `_GIVEN`; and what it may have.
_REQUIRED: dict[str, dict[str, Check]] = {
    "function_call": {"call_id": as_text, "name": as_text, "arguments": as_text},
    "function_call_output": {"call_id": as_text, "output": _anything},
    "custom_tool_call": {"call_id": as_text, "name": as_text, "input": as_text},
    "custom_tool_call_output": {"call_id": as_text, "output": _anything},
    "reasoning": {"summary": _texts_of_type("summary_text")},
    "file_search_call": {"queries": as_texts},
    "web_search_call": {"action": as_object},
    "computer_call": {"call_id": as_text},
    "computer_call_output": {"call_id": as_text, "output": as_object},
    "tool_search_call": {"arguments": _anything},
    "tool_search_output": {"tools": _objects},
    "additional_tools": {"tools": _objects},
    "program": {"call_id": as_text, "code": as_text, "fingerprint": as_text},
    "program_output": {"call_id": as_text, "result": as_text},
    "compaction": {"encrypted_content": as_text},
    "code_interpreter_call": {"container_id": as_text},
    "local_shell_call": {"call_id": as_text, "action": as_object},
    "local_shell_call_output": {"output": as_text},
    "shell_call": {"call_id": as_text, "action": _commands},
    "shell_call_output": {"call_id": as_text, "output": _objects},
    "apply_patch_call": {"call_id": as_text, "operation": as_object},
    "apply_patch_call_output": {"call_id": as_text},
    "mcp_list_tools": {"server_label": as_text, "tools": _objects},
    "mcp_approval_request": {"arguments": as_text, "name": as_text, "server_label": as_text},
    "mcp_approval_response": {"approval_request_id": as_text, "approve": as_boolean},
    "mcp_call": {"arguments": as_text, "name": as_text, "server_label": as_text},
}
_OPTIONAL: dict[str, dict[str, Check]] = {
    "configuration_update": {"reasoning": as_object_or_none, "text": as_object_or_none},
    "reasoning": {"content": _or_none(_texts_of_type("reasoning_text"))},
}

# What an item reads with that was sent without it, or with null.
_COMPLETED: Item = {"status": "completed"}
_GIVEN: dict[str, Item] = {
    "function_call": _COMPLETED,
    "function_call_output": _COMPLETED,
    "custom_tool_call": _COMPLETED,
    "custom_tool_call_output": _COMPLETED,
    "file_search_call": _COMPLETED,
    "web_search_call": _COMPLETED,
    "image_generation_call": _COMPLETED,
    "computer_call": {**_COMPLETED, "pending_safety_checks": []},
    "computer_call_output": _COMPLETED,
    "tool_search_call": {**_COMPLETED, "execution": "server"},
    "tool_search_output": {**_COMPLETED, "execution": "server"},
    "additional_tools": {"role": "developer"},
    "program_output": _COMPLETED,
    "code_interpreter_call": _COMPLETED,
    "local_shell_call": _COMPLETED,
    "shell_call": _COMPLETED,
    "shell_call_output": _COMPLETED,
    "apply_patch_call": _COMPLETED,
    "apply_patch_call_output": _COMPLETED,
}


def check_item(item: Item) -> None:
    """Raise Malformed unless an item of a held type, other than a message, has the keys that its
    type requires. Values are checked as far as the kind of their JSON."""
    kind = item.get("type")
    if not isinstance(kind, str) or kind not in HELD_TYPES:
        raise Malformed("type", UNKNOWN_TYPE)
    for key, check in _REQUIRED.get(kind, {}).items():
        check(key, required(key, item.get(key)))
    for key, check in _OPTIONAL.get(kind, {}).items():
        check(key, item.get(key))
    for key in ("id", "status"):
        if item.get(key) is not None:
            as_text(key, item[key])


def is_item(value: object) -> bool:
    """Whether `check_item` accepts the value."""
    try:
        check_item(value if isinstance(value, dict) else {})
    except Malformed:
        return False
    return True


def complete_item(item: Item) -> Item:
    """The item with what its type requires and it was sent without."""
    given = _GIVEN.get(item["type"], {})
    return {**item, **{key: value for key, value in given.items() if item.get(key) is None}}
