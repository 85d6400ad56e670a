"""Hypothesis strategies: messages in the forms of SDKs, and objects that are nearly messages."""

from hypothesis import strategies as st

from conversations.formats.message_reader import OWN_FIELDS
from conversations.formats.sdk_keys import (
    ITEM_TYPES,
    KNOWN_KEYS,
    LANGCHAIN_ROLES,
    STATUSES,
    WHOLE_ITEMS,
)

TEXT = st.text(max_size=8)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 2**40)
    | st.floats(-1e15, 1e15)  # JSONB gives larger ones back as integers
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["f", "weather"])
PARTS = st.lists(
    st.builds(lambda kind, text: {"type": kind, "text": text}, st.just("text"), TEXT)
    | st.builds(lambda text: {"type": "refusal", "refusal": text}, TEXT)
    | st.builds(
        lambda name, given: {"type": "tool_use", "id": "t", "name": name, "input": given},
        NAMES,
        JSON,
    )
    | st.builds(lambda text: {"type": "thinking", "thinking": text, "signature": "s"}, TEXT)
    | st.builds(lambda given: {"type": "tool_result", "tool_use_id": "t", "content": given}, JSON)
    | st.builds(lambda given: {"type": "of_tomorrow", "data": given}, JSON)
    | TEXT,
    max_size=4,
)
CALLS = st.lists(
    st.builds(lambda name, args: {"name": name, "args": args, "id": "c"}, NAMES, JSON)
    | st.builds(lambda name: {"id": "c", "type": "function", "function": {"name": name}}, NAMES),
    max_size=2,
)
OTHER_KEYS = sorted(
    KNOWN_KEYS - {"type", "object", "choices", "output", "data", "lc", "kwargs", "function_call"}
)
OTHERS = st.dictionaries(st.sampled_from(OTHER_KEYS), JSON, max_size=4)


def messages(**fixed):
    """A message with these keys, a content, calls, and other keys of SDKs."""
    said = st.fixed_dictionaries(
        {name: st.sampled_from(values) for name, values in fixed.items()},
        optional={
            "content": st.none() | TEXT | PARTS,
            "tool_calls": st.none() | CALLS,
            "id": st.sampled_from(["msg_1", "run-1", "chatcmpl-1"]),
            "name": NAMES,
            "status": st.sampled_from([*STATUSES, "complete", "stopped"]),
        },
    )
    return st.builds(lambda message, others: others | message, said, OTHERS)


BY_ROLE = messages(role=["user", "assistant", "system", "developer", "tool", "function"])
BY_TYPE = messages(type=[name for name in LANGCHAIN_ROLES if not name.endswith("Message")])
WHOLE = st.builds(
    lambda kind, others: others | {"type": kind}, st.sampled_from(sorted(WHOLE_ITEMS)), OTHERS
)
WRAPPED = (
    st.builds(lambda message: {"type": message["type"], "data": message}, BY_TYPE)
    | st.builds(
        lambda message: {"lc": 1, "type": "constructor", "id": [], "kwargs": message}, BY_TYPE
    )
    | st.builds(
        lambda message, others: {"choices": [{"index": 0, "message": message}], "usage": others},
        BY_ROLE,
        OTHERS,
    )
)
CALL_ITEMS = st.builds(
    lambda kind, name, given: {"type": kind, "call_id": "c", "name": name, "arguments": given},
    st.sampled_from(["function_call", "custom_tool_call"]),
    NAMES,
    JSON,
)
RESULTS = st.builds(
    lambda kind, given: {"type": kind, "call_id": "c", "output": given},
    st.sampled_from(["function_call_output", "custom_tool_call_output"]),
    JSON | PARTS,
)

ANY_OBJECT = st.dictionaries(
    st.sampled_from(sorted({*OWN_FIELDS, *KNOWN_KEYS, "call_id", "arguments"})),
    JSON
    | st.sampled_from(["response", "constructor", *sorted(ITEM_TYPES), *LANGCHAIN_ROLES])
    | st.just([{"message": {"role": "assistant", "content": [{"type": {}}]}}])
    | st.just([{"type": ["text"], "name": "f", "args": []}]),
    max_size=8,
)
