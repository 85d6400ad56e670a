"""Any tree, in each format that has trees: every message follows the one that the file says.

Trees are generated, written in the shape of the format in any order, with any times, and read.
"""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conversations.tests.formats.exports import read

START = datetime(2024, 1, 1, tzinfo=UTC)


@st.composite
def trees(draw):
    """For each message the index of its parent or None, its time in minutes or None, and the order
    in which the file has them."""
    count = draw(st.integers(1, 12))
    parents = [None]
    for index in range(1, count):
        parents.append(draw(st.one_of(st.none(), st.integers(0, index - 1))))
    times = draw(st.lists(st.one_of(st.none(), st.integers(-9, 9)), min_size=count, max_size=count))
    return parents, times, draw(st.permutations(range(count)))


def iso(minutes):
    return None if minutes is None else (START + timedelta(minutes=minutes)).isoformat()


def name(index):
    return None if index is None else f"m{index}"


def as_claude(parents, times, order):
    first = "00000000-0000-4000-8000-000000000000"
    return [
        {
            "uuid": "c",
            "chat_messages": [
                {
                    "uuid": name(index),
                    "parent_message_uuid": name(parents[index]) or first,
                    "sender": "human",
                    "text": name(index),
                    "created_at": iso(times[index]),
                }
                for index in order
            ],
        }
    ]


def as_openwebui(parents, times, order):
    messages = {
        name(index): {
            "parentId": name(parents[index]),
            "role": "user",
            "content": name(index),
            "timestamp": None if times[index] is None else times[index] * 60,
        }
        for index in order
    }
    return [{"id": "c", "chat": {"history": {"messages": messages, "currentId": name(order[0])}}}]


def librechat_message(parents, times, index):
    return {
        "messageId": name(index),
        "parentMessageId": name(parents[index]) or "00000000-0000-0000-0000-000000000000",
        "isCreatedByUser": True,
        "text": name(index),
        "createdAt": iso(times[index]),
    }


def as_librechat(parents, times, order):
    messages = [librechat_message(parents, times, index) for index in order]
    return {"conversationId": "c", "messages": messages}


def as_nested_librechat(parents, times, order):
    messages = {index: librechat_message(parents, times, index) for index in order}
    for index in order:
        if parents[index] is not None:
            messages[parents[index]].setdefault("children", []).append(messages[index])
    roots = [messages[index] for index in order if parents[index] is None]
    return {"conversationId": "c", "recursive": True, "messagesTree": roots}


def as_claude_code(parents, times, order):
    return tuple(
        {
            "type": "user",
            "uuid": name(index),
            "parentUuid": name(parents[index]),
            "sessionId": "c",
            "timestamp": iso(times[index]),
            "message": {"role": "user", "content": name(index)},
        }
        for index in order
    )


@pytest.mark.parametrize(
    ("file_format", "write"),
    [
        ("claude", as_claude),
        ("openwebui", as_openwebui),
        ("librechat", as_librechat),
        ("librechat", as_nested_librechat),
        ("claude_code", as_claude_code),
    ],
)
@settings(max_examples=60, deadline=None)
@given(tree=trees())
def test_each_message_follows_its_parent(file_format, write, tree):
    parents, times, order = tree
    (chat,) = read(file_format, write(parents, times, order))
    texts = [message.content for message in chat.messages]
    follows = chat.parents or [None, *range(len(texts) - 1)]
    found = {
        text: None if parent is None else texts[parent]
        for text, parent in zip(texts, follows, strict=True)
    }
    assert found == {name(index): name(parent) for index, parent in enumerate(parents)}
    assert all(parent is None or parent < index for index, parent in enumerate(follows))
    if file_format == "openwebui" and chat.parents:
        assert texts[chat.active] == name(order[0])


@settings(max_examples=60, deadline=None)
@given(tree=trees())
def test_messages_are_in_order_of_time_as_far_as_the_tree_allows(tree):
    parents, times, order = tree
    (chat,) = read("claude", as_claude(parents, times, order))
    shown = {}
    for index, parent in enumerate(parents):
        before = float("-inf") if parent is None else shown[parent]
        shown[index] = before if times[index] is None else max(times[index], before)
    found = [shown[int(message.content[1:])] for message in chat.messages]
    assert found == sorted(found)
