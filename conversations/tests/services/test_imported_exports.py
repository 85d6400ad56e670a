"""People's exports, imported: counts, path, times, calls and results against the files themselves.

Runs on the samples of this project, and on a file of one's own if an environment variable names it:
EXPORT_CLAUDE, EXPORT_OPENWEBUI, EXPORT_LIBRECHAT, EXPORT_CLAUDE_CODE, EXPORT_CODEX, EXPORT_COPILOT
or EXPORT_GEMINI.
"""

import io
import json
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from conversations.formats import READERS
from conversations.models import Conversation, Message
from conversations.selectors.branches import path_of, places_on
from conversations.services import SCRIPT, export_conversations
from conversations.services.imports import import_conversations
from conversations.tests.factories import DATA, make_user
from conversations.tests.formats.exports import SAMPLES

pytestmark = pytest.mark.django_db

FILES = [(each, DATA / name) for each, names in SAMPLES.items() for name in names]
for each in SAMPLES:
    if given := os.environ.get(f"EXPORT_{each.upper()}"):
        FILES.append((each, Path(given)))


@pytest.fixture(params=FILES, ids=lambda param: param[1].name)
def file(request):
    return request.param


def import_file(file_format, data, owner):
    data = data.read_bytes() if isinstance(data, Path) else data
    chats = READERS[file_format](io.BytesIO(data))
    return import_conversations(chats=chats, owner_id=owner.pk, source=f"import:{file_format}")


def import_sample(name, owner):
    file_format = next(each for each, names in SAMPLES.items() if name in names)
    return import_file(file_format, DATA / name, owner)


def path(chat):
    """The messages of the active branch, in order."""
    branch = path_of(chat.user_id, chat.pk, chat.active_branch)
    places = places_on(Message.objects.of(chat.user_id, chat.pk), branch, limit=10_000)
    return [chat.messages.get(sequence=sequence) for _, sequence in places]


def chat_titled(title):
    return Conversation.objects.get(title=title)


def values_of(file):
    text = file.read_text()
    if file.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines()]
    value = json.loads(text)
    return value if isinstance(value, list) else [value]


def times_in(file_format, file):
    """The times that a file has of its messages, found without the readers."""
    keys = {"claude": "created_at", "librechat": "createdAt", "gemini": "time"}
    key = keys.get(file_format, "timestamp")
    found, left = set(), values_of(file)
    while left:
        value = left.pop()
        if isinstance(value, dict):
            found.add(value.get(key))
        left += value.values() if isinstance(value, dict) else value
        left = [each for each in left if isinstance(each, dict | list)]
    return {_seconds(time) for time in found if time is not None and time != ""}


def _seconds(time):
    if isinstance(time, str):
        return datetime.fromisoformat(time).timestamp()
    return time / 1000 if time > 10**11 else time


def texts_in(file_format, values):
    """What the conversations of a file say, each text apart, found without the readers."""
    return list(filter(None, TEXTS[file_format](values)))


def _of_parts(parts):
    for part in [parts] if isinstance(parts, str) else parts or ():
        if isinstance(part, str):
            yield part
        elif part.get("type") in ("text", "input_text", "output_text"):
            yield part["text"]
        elif part.get("type") == "tool_result":
            yield from _of_parts(part["content"])


def _of_claude(chats):
    for message in (message for chat in chats for message in chat["chat_messages"]):
        yield from _of_parts(message.get("content") or message["text"])
        yield from (each.get("extracted_content") for each in message["attachments"])


def _of_openwebui(chats):
    for chat in (each["chat"] for each in chats):
        history = chat.get("history", {}).get("messages") or {}
        for message in [*history.values()] or chat.get("messages", []):
            for item in message.get("output") or ():
                yield from _of_parts(item.get("content") if item["type"] == "message" else ())
                yield from _of_parts(item.get("output"))
            if not message.get("output"):
                yield message["content"].rpartition("</details>")[2].strip()


def _of_librechat(chats):
    left = [message for chat in chats for message in chat.get("messagesTree", chat.get("messages"))]
    while left:
        message = left.pop()
        left += message.get("children", ())
        yield from _of_parts(message.get("content", ()))
        yield message["text"].rpartition(":::")[2].strip()
        for part in message.get("content", ()):
            yield part.get("tool_call", {}).get("output")


def _of_claude_code(lines):
    for line in lines:
        yield from _of_parts(line.get("message", {}).get("content") or line.get("content"))


def _of_codex(lines):
    for item in (line.get("payload", line) for line in lines):
        if item.get("type") == "message":
            yield from _of_parts(item["content"])
        yield item.get("output")


def _of_copilot(sessions):
    for request in (each for session in sessions for each in session.get("requests", ())):
        yield request["message"]["text"] if isinstance(request["message"], dict) else None
        yield from (part["value"] for part in request["response"] if "kind" not in part)


def _of_gemini(entries):
    for entry in entries:
        yield entry["title"].partition("Prompted ")[2]


TEXTS = {
    "claude": _of_claude,
    "openwebui": _of_openwebui,
    "librechat": _of_librechat,
    "claude_code": _of_claude_code,
    "codex": _of_codex,
    "copilot": _of_copilot,
    "gemini": _of_gemini,
}


def conversations_in(file_format, values):
    """How many conversations a file has, found without the readers."""
    if file_format in ("claude", "openwebui"):
        return len(values)
    if file_format == "claude_code":
        agents = {value.get("agentId") for value in values if value.get("isSidechain")}
        return 1 + len(agents)
    if file_format == "gemini":
        prompts = [e for e in values if e["title"].startswith("Prompted") or "safeHtmlItem" in e]
        pages = [re.findall(r"google.com/app/([/\w-]+)", json.dumps(each)) for each in prompts]
        return pages.count([]) + len({page[0] for page in pages if page})
    return 1


def test_all_conversations_go_in_with_all_that_they_say(file):
    file_format, data = file
    report = import_file(*file, make_user("ann"))
    assert report.rejected == []
    assert report.created == conversations_in(file_format, values_of(data))
    stored = [row.content for chat in Conversation.objects.all() for row in chat.messages.all()]
    missing = [
        text
        for text in texts_in(file_format, values_of(data))
        if not any(text in content for content in stored)
    ]
    assert missing == []


def test_a_second_import_adds_nothing(file):
    ann = make_user("ann")
    import_file(*file, ann)
    rows = list(Conversation.objects.order_by("pk").values())
    report = import_file(*file, ann)
    assert (report.created, report.already_there, report.rejected) == (0, len(rows), [])
    assert list(Conversation.objects.order_by("pk").values()) == rows


def test_times_are_those_of_the_file(file):
    file_format, data = file
    import_file(*file, make_user("ann"))
    given = times_in(file_format, data)
    for chat in Conversation.objects.all():
        given |= {chat.created_at.timestamp()}  # of messages without a time
        times = {row.created_at.timestamp() for row in chat.messages.all()}
        if file_format == "copilot":
            times -= {1752000004.2}  # `completedAt`
        assert times <= given


def test_every_result_follows_its_call(file):
    import_file(*file, make_user("ann"))
    for chat in Conversation.objects.all():
        rows = list(chat.messages.in_order())
        called = [call["id"] for row in rows for call in row.tool_calls or ()]
        answered = [row.tool_call_id for row in rows if row.role == "tool"]
        assert set(answered) <= set(called)
        for row in rows:
            if row.role == "tool":
                before = [each for each in rows if each.sequence < row.sequence]
                ids = [call["id"] for each in before for call in each.tool_calls or ()]
                assert row.tool_call_id in ids


def test_what_goes_in_comes_out_and_goes_in_again(file):
    ann, bob = make_user("ann"), make_user("bob")
    import_file(*file, ann)
    rows = Conversation.objects.filter(user=ann)
    text = "".join(export_conversations(conversations=rows, file_format="json", access=SCRIPT))
    assert import_file("json", text.encode(), bob).rejected == []

    def said(user):
        return [
            [
                (row.role, row.content, row.parts, row.extra, row.branch)
                for row in chat.messages.order_by("sequence")
            ]
            for chat in Conversation.objects.filter(user=user).order_by("title", "created_at")
        ]

    assert said(bob) == said(ann)


def test_a_tree_of_claude_is_shown_to_its_last_message():
    import_sample("conversations.claude.json", make_user("ann"))
    chat = chat_titled("Rye bread")
    assert chat.messages.count() == 7
    assert [(row.role, row.content) for row in path(chat)][1:] == [
        ("assistant", "About four hours."),
        ("tool", "24 degrees"),
        ("assistant", "At 24 degrees, four hours."),
        ("user", "And wheat?"),
        ("assistant", "Half of that."),
    ]
    assert (chat.pinned, chat.source) == (True, "import:claude")


def test_a_tree_of_open_webui_is_shown_on_its_current_path():
    import_sample("chats.openwebui.json", make_user("ann"))
    chat = chat_titled("Garlic")
    assert [row.content for row in path(chat)][1:] == [
        *("In October.", "Is the soil warm?", "", "9 degrees", "It has 9 degrees.")
    ]
    assert (chat.tags, chat.archived_at) == (["garden"], chat.updated_at)
    rated = chat.messages.get(content="In October.")
    assert (rated.rating, rated.prompt_tokens, rated.model) == (1, 21, "llama3")


def test_a_tree_of_librechat_is_shown_to_its_last_message():
    import_sample("tree.librechat.json", make_user("ann"))
    chat = chat_titled("Stars in June")
    assert [row.content for row in path(chat)][-3:] == [
        *("Vega and Deneb.", "How far is Vega?\nVega,25", "The key is not valid.")
    ]


def test_a_session_of_claude_code_is_shown_without_the_branch_that_was_left():
    import_sample("session.claude_code.jsonl", make_user("ann"))
    chat = chat_titled("Prices in cents")
    texts = [row.content for row in path(chat)]
    assert texts[-4:] == ["Then leave it.", "I leave it.", "Conversation compacted", "Thank you."]
    assert "Then change it." not in texts
    assert Conversation.objects.count() == 2


def test_what_cannot_be_stored_is_refused_with_its_place():
    def chat(uuid, text, **fields):
        message = {"uuid": f"{uuid}1", "sender": "human", "text": text} | fields
        return {"uuid": uuid, "chat_messages": [message]}

    later = (datetime.now(UTC) + timedelta(days=3)).isoformat()
    chats = [
        chat("nul", "a\x00b"),
        chat("half", "\ud800"),
        chat("later", "text", created_at=later),
        chat("big", "text", index=2**70),
        chat("deep", "text", more=json.loads("[" * 60 + "]" * 60)),
        chat("good", "text", created_at="1969-12-31T23:00:00Z"),
    ]
    report = import_file("claude", json.dumps(chats).encode(), make_user("ann"))
    assert report.created == 1
    assert [(each.line, each.reason.partition(":")[0]) for each in report.rejected] == [
        (1, "messages.0.content"),
        (2, "messages.0.content"),
        (3, "messages.0.created_at"),
        (4, "messages.0.extra.index"),
        (5, "messages.0.extra"),
    ]
