"""Branches in JSON Lines: which message each one follows."""

import io
import json

import pytest

from conversations.formats import READERS, Rejected


def read(*messages, **chat):
    line = {"messages": [{"role": "user", "content": "x", **message} for message in messages]}
    (found,) = READERS["json"](io.BytesIO(json.dumps(line | chat).encode()))
    return found


def reason(*messages, **chat):
    found = read(*messages, **chat)
    assert isinstance(found, Rejected), found
    return found.reason


def test_a_message_follows_the_one_before_it_or_its_parent():
    chat = read({"id": "a"}, {}, {"parent_id": "a"}, {}, {"parent_id": None})
    assert chat.parents == (None, 0, 0, 2, None)
    assert chat.branches == ()


def test_numbers_of_branches_are_kept():
    chat = read(
        {"id": 1, "branch": 0},
        {"id": 2, "branch": 0},
        {"parent_id": 1, "branch": 7},
        {"parent_id": 2, "branch": 0},
        active_branch=7,
    )
    assert (chat.parents, chat.branches, chat.active) == ((None, 0, 0, 1), (0, 0, 7, 0), 2)


def test_a_branch_may_begin_after_the_end_of_another():
    chat = read({"id": 1, "branch": 0}, {"parent_id": 1, "branch": 1})
    assert (chat.parents, chat.branches) == ((None, 0), (0, 1))


@pytest.mark.parametrize(
    "messages",
    [
        [{}, {}],
        [{"id": "a", "parent_id": None}, {"id": "b", "parent_id": "a"}],
        [{"branch": 3}, {"branch": 3}],
        [{"id": {"any": "thing"}}, {"id": {"any": "thing"}}],
    ],
)
def test_a_line_has_no_tree(messages):
    chat = read(*messages)
    assert (chat.parents, chat.branches) == ((), ())


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([{"id": "a"}, {"parent_id": "b"}], "messages.1.parent_id: No message before"),
        ([{"id": "a", "parent_id": "b"}, {"id": "b"}], "messages.0.parent_id: No message before"),
        ([{"id": "a", "parent_id": "a"}], "messages.0.parent_id: No message before this one"),
        ([{}, {"parent_id": 1.5}], "messages.1.parent_id: Must be a non-empty string or"),
        ([{"id": "a"}, {"id": "a", "parent_id": None}], "messages.1.id: Another message has"),
        ([{"id": []}, {"parent_id": None}], "messages.0.id: Must be a non-empty string or"),
        ([{"branch": 0}, {}], "messages.1.branch: Missing."),
        ([{"branch": -1}], "messages.0.branch: Must be 0 or more."),
        ([{"branch": True}], "messages.0.branch: Not an integer."),
        (
            [{"id": 1, "branch": 0}, {"branch": 0}, {"parent_id": 1, "branch": 0}],
            "messages.2.parent_id: Not the last message before it on its branch.",
        ),
    ],
)
def test_a_tree_that_is_none_says_why(messages, expected):
    assert reason(*messages).startswith(expected)


def test_an_active_branch_that_is_not_there_is_refused():
    assert reason({"branch": 0}, active_branch=1) == (
        "active_branch: No message of this conversation was written to this branch."
    )
    assert reason({}, active_branch="0") == "active_branch: Not an integer."


def test_branches_are_part_of_the_key_without_an_id():
    tree = [{"id": 1}, {}, {"parent_id": 1}]
    other = [{"id": 1}, {"id": 2}, {"parent_id": None}]
    line = [{}, {}, {}]
    assert len({read(*messages).key for messages in (tree, other, line)}) == 3
    numbered = [{"id": 1, "branch": 0}, {"branch": 0}, {"parent_id": 1, "branch": 5}]
    assert read(*numbered).key != read(*tree).key
    assert read(*numbered, active_branch=0).key == read(*numbered, active_branch=5).key
