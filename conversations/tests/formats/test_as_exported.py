"""Our own JSON as an export wrote it: what must be there, and what is wrong with what is."""

import io
import json

import pytest

from conversations.formats import READERS, Rejected
from conversations.formats.as_exported import read_exported
from conversations.formats.chat import content_hash

TIME = "2026-01-02T03:04:05+00:00"
IDS = [f"00000000-0000-0000-0000-00000000000{number}" for number in range(5)]
REVIEW = {
    "reviewer": "support", "score": -1, "labels": ["a"], "comment": "", "created_at": TIME,
    "updated_at": TIME,
}  # fmt: skip


def line():
    message = {"role": "user", "content": "Hi", "created_at": TIME}
    return {
        "id": IDS[0], "owner": "alice", "title": "T", "source": "api", "created_at": TIME,
        "updated_at": TIME,
        "messages": [
            message | {"id": IDS[1], "sequence": 2, "reviews": [dict(REVIEW)]},
            message | {"id": IDS[2], "sequence": 5},
        ],
    }  # fmt: skip


def read(value, reader=read_exported):
    (found,) = reader(io.BytesIO(json.dumps(value).encode()))
    return found


def changed(path, value):
    """The line with another value at the path, or without one for None."""
    whole = line()
    *names, last = [int(name) if name.isdigit() else name for name in path.split(".")]
    at = whole
    for name in names:
        at = at[name]
    at[last] = value
    if value is None:
        del at[last]
    return whole


def test_what_other_imports_leave_out_is_read():
    chat = read(line())
    assert str(chat.exported.id) == IDS[0]
    assert chat.exported.source == "api"
    assert chat.exported.sequences == (2, 5)
    assert [str(message.id) for message in chat.messages] == IDS[1:3]
    ((review,), none) = chat.exported.reviews
    assert (review.reviewer, review.score, review.labels, none) == ("support", -1, ["a"], ())


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("id", None, "Missing."),
        ("id", "a", "Not a UUID."),
        ("owner", None, "Missing."),
        ("title", None, "Missing."),
        ("source", None, "Missing."),
        ("source", 3, "Not a string."),
        ("created_at", None, "Missing."),
        ("updated_at", None, "Missing."),
        ("messages.1.id", None, "Missing."),
        ("messages.1.id", 7, "Not a string."),
        ("messages.1.id", IDS[1], "Another message has the same id."),
        ("messages.0.created_at", None, "Missing."),
        ("messages.1.sequence", None, "Missing."),
        ("messages.1.sequence", "3", "Not an integer."),
        ("messages.0.sequence", 0, "Must be greater than that of the message before it."),
        ("messages.1.sequence", 2, "Must be greater than that of the message before it."),
        ("messages.0.reviews", {}, "Not a list."),
        ("messages.0.reviews.0", 1, "Not an object."),
        ("messages.0.reviews.0.reviewer", None, "Missing."),
        ("messages.0.reviews.0.score", True, "A score is 1 (good) or -1 (bad)."),
        ("messages.0.reviews.0.score", 2, "A score is 1 (good) or -1 (bad)."),
        ("messages.0.reviews.0.score", [1], "A score is 1 (good) or -1 (bad)."),
        ("messages.0.reviews.0.labels", "a", "Not a list."),
        ("messages.0.reviews.0.stars", 5, "Unknown field."),
        ("extra", 5, "Unknown field."),
    ],
)
def test_what_is_wrong_is_named(path, value, reason):
    assert read(changed(path, value)) == Rejected(1, f"{path}: {reason}")


@pytest.mark.parametrize(
    ("without", "reason"),
    [("active_branch", "active_branch: Missing."), ("branch", "messages.0.branch: Missing.")],
)
def test_a_tree_says_its_branches(without, reason):
    value = line() | {"active_branch": 1}
    for number, message in enumerate(value["messages"]):
        message |= {"parent_id": None, "branch": number}
        message.pop(without, None)
    if without == "active_branch":
        del value["active_branch"]
    else:
        value["active_branch"] = 0
    assert read(value) == Rejected(1, reason)


def test_a_number_of_many_digits_was_one_with_an_exponent():
    value = changed("messages.0.metadata", {"a": 10**22, "b": [-(10**300)], "c": 2**64 - 1})
    assert read(value).messages[0].metadata == {"a": 1e22, "b": [-1e300], "c": 2**64 - 1}


def test_other_imports_of_the_line_are_as_before():
    chat = read(line(), READERS["jsonl"])
    assert chat.exported is None
    assert [message.id for message in chat.messages] == [None, None]
    # As before there was `exported`: ids of imported conversations depend on it.
    assert content_hash(chat) == (
        "v1:sha256:90795da7963eb5fbfb82bd2cf612e50f88ee337d13157e2629b9bd1b1139fe10"
    )
