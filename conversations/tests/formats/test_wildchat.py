import io
import json
from datetime import UTC, datetime

import pytest

from conversations.formats import READERS, Files, read_files
from conversations.formats import parquet as parquet_module

ASKED = {
    "role": "user",
    "content": "Name a hill.",
    "hashed_ip": "f00d",
    "country": "France",
    "timestamp": None,
    "toxic": False,
}
ANSWERED = {
    "role": "assistant",
    "content": "Montmartre.",
    "hashed_ip": None,
    "timestamp": "2023-04-09T00:02:53+00:00",
    "usage": {"prompt_tokens": 11, "completion_tokens": 4, "total_tokens": 15},
}
CHAT = {
    "conversation_hash": "h1",
    "model": "gpt-4",
    "timestamp": "2023-04-09 00:02:55",
    "conversation": [ASKED, ANSWERED],
    "turn": 1,
    "toxic": False,
    "detoxify_moderation": [{"toxicity": 0.1}, {"toxicity": 0.2}],
}


def read(**fields):
    return next(READERS["wildchat"](io.BytesIO(json.dumps(CHAT | fields).encode())))


def test_a_conversation_is_read_with_its_fields():
    chat = read()
    assert (chat.file_id, chat.owner, chat.model_used) == ("h1", "f00d", "gpt-4")
    assert chat.metadata == {"turn": 1, "toxic": False}
    assert chat.created_at == datetime(2023, 4, 9, 0, 2, 53, tzinfo=UTC)
    assert chat.updated_at == datetime(2023, 4, 9, 0, 2, 55, tzinfo=UTC)
    asked, answered = chat.messages
    assert asked.extra == {
        "hashed_ip": "f00d",
        "country": "France",
        "toxic": False,
        "detoxify_moderation": {"toxicity": 0.1},
    }
    assert (asked.created_at, answered.created_at) == (None, chat.created_at)
    assert (answered.prompt_tokens, answered.completion_tokens) == (11, 4)
    assert answered.model == "gpt-4"


def test_the_older_id_and_the_owner_of_the_conversation_are_read():
    chat = read(conversation_hash=None, conversation_id="old", hashed_ip="beef")
    assert (chat.file_id, chat.owner) == ("old", "beef")
    anonymous = read(conversation=[{"role": "user", "content": "Hi", "turn_identifier": 1}])
    assert anonymous.owner is None


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("2023-04-09T02:02:55+02:00", datetime(2023, 4, 9, 0, 2, 55, tzinfo=UTC)),
        (1_680_998_575, datetime(2023, 4, 9, 0, 2, 55, tzinfo=UTC)),
        (1_680_998_575_500, datetime(2023, 4, 9, 0, 2, 55, 500_000, tzinfo=UTC)),
        (-1, datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("2999-01-01", datetime(2999, 1, 1, tzinfo=UTC)),
        (None, None),
    ],
)
def test_times_are_read_in_any_form(time, expected):
    assert read(timestamp=time).updated_at == expected


@pytest.mark.parametrize("time", ["yesterday", True, 1e300, -1e300, [], "0000-01-01"])
def test_a_time_that_is_none_is_refused(time):
    assert read(timestamp=time).reason.startswith("timestamp: Not a date and time")


def test_the_time_of_a_message_is_named():
    messages = [ASKED, ANSWERED | {"timestamp": "x"}]
    assert read(conversation=messages).reason.startswith("conversation.1.timestamp: Not a date")


# Parquet


def test_parquet_without_pyarrow_says_what_to_install(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(parquet_module.importlib, "import_module", missing)
    (rejected,) = read_files(Files(io.BytesIO(b"PAR1....PAR1")), "wildchat")
    assert rejected.reason == (
        "A file in parquet needs pyarrow: pip install -r requirements-extras.txt, "
        "or use the same data as JSON Lines."
    )


@pytest.fixture
def pyarrow():
    pytest.importorskip("pyarrow.parquet", reason="an optional dependency")
    return pytest.importorskip("pyarrow")


def in_parquet(pyarrow, rows):
    data = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), data)
    return data.getvalue()


def test_parquet_is_read_as_json_lines(pyarrow, tmp_path):
    rows = [CHAT | {"timestamp": datetime(2023, 4, 9, 0, 2, 55, tzinfo=UTC)}] * 40
    rows.append(CHAT | {"conversation": [], "timestamp": None})
    path = tmp_path / "train-00000.parquet"
    path.write_bytes(in_parquet(pyarrow, rows))
    for source in (path, tmp_path, io.BytesIO(path.read_bytes())):
        *chats, rejected = read_files(Files(source), "auto")
        assert {chat.format for chat in chats} == {"wildchat"}
        assert [chat.line for chat in chats] == list(range(1, 41))
        assert chats[0].messages == read().messages
        assert (rejected.line, rejected.reason) == (
            *(41, "conversation: The list of messages is empty."),
        )


def test_parquet_of_another_format_is_named(pyarrow):
    data = in_parquet(pyarrow, [CHAT])
    (rejected,) = read_files(Files(io.BytesIO(data)), "openai")
    assert rejected.reason == "This looks like WildChat (format wildchat), not like openai."


def test_parquet_that_is_cut_is_refused(pyarrow):
    data = in_parquet(pyarrow, [CHAT])
    (rejected,) = read_files(Files(io.BytesIO(data[:-50])), "wildchat")
    assert rejected.reason.startswith("Not a parquet file that can be read: ")
