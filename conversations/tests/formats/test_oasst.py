import io
import json
from datetime import UTC, datetime

import pytest

from conversations.formats import READERS, Chat, Rejected
from conversations.tests.factories import DATA

TREES = DATA / "trees.oasst.jsonl"
MESSAGES = DATA / "messages.oasst.jsonl"


def read(*lines):
    texts = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    return list(READERS["oasst"](io.BytesIO(b"\n".join(texts))))


def read_file(path):
    return list(READERS["oasst"](io.BytesIO(path.read_bytes())))


def said(message_id, parent_id=None, **fields):
    """A line of a flat file."""
    known = {"text": message_id, "role": "prompter", "message_tree_id": "t", "tree_state": "x"}
    return {"message_id": message_id, "parent_id": parent_id} | known | fields


def test_a_tree_is_read_depth_first_with_all_that_it_says():
    tea, line = read_file(TREES)
    assert tea.file_id == "tree-tea"
    assert tea.metadata == {"message_tree_id": "tree-tea", "tree_state": "ready_for_export"}
    ids = [message.extra["message_id"] for message in tea.messages]
    assert ids == ["tea", "tea-long", "tea-short", "tea-why", "tea-bitter", "tea-again", "tea-old"]
    assert tea.parents == (None, 0, 0, 2, 3, 2, 0)
    first, *_, bitter, _, old = tea.messages
    assert (first.role, first.content) == ("user", "How long should green tea steep?")
    assert first.created_at == datetime(2024, 2, 1, 8, 0, 0, 250_000, tzinfo=UTC)
    assert (bitter.role, bitter.model) == ("assistant", "small-7b")
    assert first.extra == {
        "message_id": "tea",
        "user_id": "u1",
        "lang": "en",
        "review_count": 3,
        "review_result": True,
        "deleted": False,
        "rank": None,
        "synthetic": False,
        "emojis": {"+1": 2},
        "labels": {"name": ["spam", "quality"], "value": [0.0, 0.75], "count": [3, 2]},
    }
    assert old.extra["deleted"] is True
    assert (line.parents, line.active) == ((), None)


def test_the_active_path_is_that_of_the_best_ranks():
    tea, _ = read_file(TREES)
    assert tea.messages[tea.active].extra["message_id"] == "tea-bitter"


def test_without_ranks_the_first_reply_is_active():
    (chat,) = read(said("a"), said("b", "a"), said("c", "a"), said("d", "b"))
    assert chat.messages[chat.active].content == "d"


def test_flat_messages_are_the_same_conversations():
    trees, messages = read_file(TREES), read_file(MESSAGES)
    for nested, flat in zip(trees, messages, strict=True):
        assert nested.messages == flat.messages
        assert (nested.parents, nested.active) == (flat.parents, flat.active)
        assert (nested.key, nested.metadata) == (flat.key, flat.metadata)


def test_a_tree_without_an_id_has_that_of_its_prompt():
    (chat,) = read({"prompt": {"message_id": "p", "text": "x", "role": "prompter"}})
    assert chat.file_id == "p"


PROMPT = {"message_id": "p", "text": "x", "role": "prompter"}


@pytest.mark.parametrize(
    ("lines", "line", "expected"),
    [
        ([{}], 1, "Neither a tree with a `prompt` nor a message with a `message_tree_id`."),
        ([{"prompt": None}], 1, "prompt: Not an object."),
        ([{"prompt": PROMPT | {"replies": {}}}], 1, "prompt.replies: Not a list."),
        ([{"prompt": PROMPT | {"replies": [1]}}], 1, "prompt.replies.0: Not an object."),
        (
            [{"prompt": PROMPT | {"replies": [{"role": "assistant"}]}}],
            1,
            "prompt.replies.0.text: Missing.",
        ),
        ([{"prompt": PROMPT | {"role": "user"}}], 1, "prompt.role: Must be `prompter` or"),
        ([{"prompt": PROMPT | {"rank": "0"}}], 1, "prompt.rank: Not an integer."),
        ([{"prompt": PROMPT | {"created_date": "x"}}], 1, "prompt.created_date: Not a date"),
        ([said("a"), said("b", "c")], 2, "parent_id: No message before this one has that id."),
        ([said("a"), said("b")], 2, "parent_id: Missing: another message is the prompt"),
        ([said("a"), said("a", "a")], 2, "message_id: Another message has the same id."),
        ([said("a"), said("b", "a", text=None)], 2, "text: Missing."),
    ],
)
def test_a_tree_that_is_none_says_why(lines, line, expected):
    (rejected,) = read(*lines)
    assert isinstance(rejected, Rejected), rejected
    assert rejected.line == line
    assert rejected.reason.startswith(expected)


def test_a_line_that_cannot_be_read_may_belong_to_the_tree_before_it():
    found = read(
        *(said("a"), b"{", said("b", "a")),
        *({"prompt": PROMPT}, b"{"),
        said("o", message_tree_id="other"),
    )
    assert [(type(each), each.line) for each in found] == [
        (Rejected, 2),
        (Rejected, 1),
        (Chat, 4),
        (Rejected, 5),
        (Chat, 6),
    ]
    assert "line 2" in found[1].reason


def test_a_tree_whose_messages_are_apart_is_refused():
    first, other, rest = read(said("a"), said("o", message_tree_id="other"), said("b", "a"))
    assert isinstance(first, Chat)
    assert isinstance(other, Chat)
    assert rest == Rejected(
        3,
        "message_tree_id: The messages of this tree do not follow each other: sort the file by "
        "this field.",
    )


def test_one_tree_is_held_at_a_time():
    class Endless(io.RawIOBase):
        """A flat file without an end."""

        lines = 0

        def readline(self, _size=-1):
            self.lines += 1
            tree, place = divmod(self.lines, 3)
            line = said(f"{place}", "0" if place else None, message_tree_id=f"t{tree}")
            return json.dumps(line).encode() + b"\n"

    file = Endless()
    chats = READERS["oasst"](file)
    next(chats)
    assert file.lines < 10
