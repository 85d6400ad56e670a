import io
import json
from datetime import UTC, datetime

import pytest

from conversations.formats import WRITERS, RecordedChat, RecordedMessage, RecordedReview
from conversations.formats.message import RecordedMessage as Message
from conversations.formats.openai import read_openai

AT = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
NOTHING = dict.fromkeys(Message.__dataclass_fields__)


def message(sequence, role, content="", **fields):
    known = {"id": "i", "provider": "", "model": "", "status": "complete", "metadata": {}}
    known["reviews"] = ()
    given = NOTHING | known | fields
    return RecordedMessage(
        **given | {"sequence": sequence, "role": role, "content": content, "created_at": AT}
    )


def chat(*messages, **fields):
    known = {"id": "c-1", "owner": "alice", "title": "Trains", "model_used": "", "source": "api"}
    times = {"archived_at": None, "created_at": AT, "updated_at": AT}
    return RecordedChat(
        **known
        | times
        | {"metadata": {}, "external_id": None, "tags": [], "pinned": False}
        | fields,
        messages=messages,
    )


def written(name, *chats):
    return "".join(piece for one in chats for piece in WRITERS[name].write(one))


LINES = [
    {
        "messages": [{"role": "user", "content": "Hi"}],
        "id": "7",
        "title": "T",
        "metadata": {"a": 1},
    },
    {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "look"}]},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}],
            },
            {"role": "tool", "content": "", "tool_call_id": "c", "name": "f"},
            {"role": "assistant", "content": None, "refusal": "No."},
            {"role": "assistant", "content": "ok", "audio": {"id": "x"}},
            {"role": "assistant", "content": None, "audio": {"id": "x", "transcript": "Hm."}},
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": ""}},
            {"role": "function", "content": "1", "name": "f"},
            {"role": "assistant", "content": "x", "unknown": [1], "metadata": "m"},
            {"role": "assistant", "content": "", "reasoning_content": "Hm."},
        ],
        "id": 12,
        "title": "T",
        "tools": [{"type": "function"}],
        "metadata": {"openai": "mine"},
    },
]


@pytest.mark.parametrize("line", LINES)
def test_an_openai_line_comes_out_as_it_went_in(line):
    read = next(read_openai(io.BytesIO(json.dumps(line).encode())))
    messages = [
        message(
            place, m.role, m.content, parts=m.parts, tool_calls=m.tool_calls,
            tool_call_id=m.tool_call_id, name=m.name, metadata=m.metadata, extra=m.extra,
        )
        for place, m in enumerate(read.messages, start=1)
    ]  # fmt: skip
    out = json.loads(written("openai", chat(*messages, title=read.title, metadata=read.metadata)))
    assert out | {"id": line["id"]} == line
    if not isinstance(line["id"], str):
        assert out["id"] == line["id"]


def test_a_text_beside_its_parts_is_written_with_them():
    image = {"type": "image_url", "image_url": {"url": "https://images.example/a.png"}}
    text = {"type": "text", "text": "Look"}
    asked, both, image_alone = (
        message(1, "user", "Look", parts=[image]),
        message(2, "user", "Look", parts=[text, image]),
        message(3, "user", "", parts=[image]),
    )
    line = json.loads(written("openai", chat(asked, both, image_alone)))
    contents = [one["content"] for one in line["messages"]]
    assert contents == [[text, image], [text, image], [image]]


def test_json_keeps_everything_on_one_line_a_chat():
    first = chat(message(1, "assistant", "a\nb", error="E", status="failed", latency_ms=7))
    lines = written("jsonl", first, chat()).splitlines()
    assert len(lines) == 2
    stored = json.loads(lines[0])
    assert stored["owner"] == "alice"
    assert stored["messages"][0]["latency_ms"] == 7
    assert stored["messages"][0]["created_at"] == "2026-01-02T03:04:00+00:00"
    assert json.loads(lines[1])["messages"] == []


def test_markdown_reads_as_a_transcript():
    call = {"id": "c", "function": {"name": "find", "arguments": "{}"}}
    text = written(
        "markdown",
        chat(
            message(1, "user", "Hello"),
            message(2, "assistant", tool_calls=[call]),
            message(3, "assistant", "It", status="failed", error="Too slow."),
            title="Two\nlines",
        ),
    )
    assert text.startswith("# Two lines\n")
    for shown in ("## 1. user, 2026", "Hello", '"name": "find"', "*failed: Too slow.*"):
        assert shown in text


def test_messages_are_read_as_they_are_written():
    def endless():
        while True:
            yield message(1, "user", "x")

    for name, writer in WRITERS.items():
        pieces = writer.write(RecordedChat(**{**as_fields(chat()), "messages": endless()}))
        assert len([next(pieces) for _ in range(100)]) == 100, name


def as_fields(one):
    return {name: getattr(one, name) for name in RecordedChat.__dataclass_fields__}


REVIEW = RecordedReview(
    reviewer="support",
    score=-1,
    labels=["tone"],
    comment="Too\nshort",
    created_at=AT,
    updated_at=AT,
)


def test_reviews_of_staff_stand_apart_from_the_owners_rating():
    judged = chat(message(1, "assistant", "a", rating=1, rating_comment="Nice", reviews=(REVIEW,)))
    stored = json.loads(written("jsonl", judged))["messages"][0]
    assert (stored["rating"], stored["rating_comment"]) == (1, "Nice")
    at = "2026-01-02T03:04:00+00:00"
    assert stored["reviews"] == [
        {
            "reviewer": "support",
            "score": -1,
            "labels": ["tone"],
            "comment": "Too\nshort",
            "created_at": at,
            "updated_at": at,
        }
    ]
    text = written("markdown", judged)
    assert "*Rating of the owner: good: Nice*" in text
    assert f"*Review by support, {at}, tone: bad: Too short*" in text


def test_openai_lines_hold_neither_ratings_nor_reviews():
    said = json.loads(written("openai", chat(message(1, "assistant", "a", reviews=(REVIEW,)))))
    assert said["messages"] == [{"role": "assistant", "content": "a"}]
