"""The examples on the OpenAPI page are what the server really answers.

`UPDATE_EXAMPLES=1 pytest` on this file writes them anew; then `make schema`.
"""

import json
import os
import re

import pytest
from rest_framework.test import APIClient

from conversations.api.examples import FOLDER, read
from conversations.tests.api.contract.openapi import operations
from conversations.tests.factories import client_for, make_staff, make_trusted, make_user

pytestmark = pytest.mark.django_db

PLACEHOLDERS = [
    # (what differs from run to run, what stands for it)
    (
        r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        "019a2f00-0000-7000-8000-{:012d}",
    ),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.?\d*Z", "2026-01-05T09:30:{:02d}Z"),
    (r"(?<=_)[0-9a-f]{32}", "019a2f00000070008000{:012d}"),
    # In whole seconds, of which a run may need one or two.
    (r'(?<=_at": )\d{10}', "1767605401"),
    (r'(?<=")[0-9a-f]{15}(?=")', "6f1c0a4be8d2{:03d}"),
    (r'(?<=")\d{4}-\d\d-\d\d(?=")', "2026-01-{:02d}"),
]
SECRETS = {
    "token": "6f1c0a4be8d2…",
    "request_id": "0f8fad5bd9cb469fa16570867728950e",
    "expires_at": "2026-01-12T09:30:01Z",
    "rank": 0.12,
    "ticket": "kf3Hq1…",
    "next_cursor": "WyJmIiwyXQ:a1b2c3",
    "previous_cursor": "WyJmIiwyXQ:a1b2c3",
}


class Story:
    """Sends requests one after the other and keeps, as examples, what was asked and answered."""

    def __init__(self):
        self.disclosed = {}

    def tell(self, client, operation_id, name, method, path, body=None, **headers):
        answer = getattr(client, method)(path, body, headers=headers)
        exchange = {"name": name, "status": answer.status_code, "response": answer.json()}
        if body is not None and method != "get":
            exchange["request"] = body
        self.disclosed.setdefault(operation_id, []).append(exchange)
        return answer.json()


@pytest.fixture
def story():
    alice, backend = make_user("alice"), make_trusted("backend")
    story = Story()
    client = client_for(alice)
    tell_of_conversations(story, client)
    tell_of_branches(story, client)
    tell_of_tokens(story, client)
    tell_of_an_application(story, client_for(make_user("crm"), trusted=True, namespace="crm"))
    tell_of_a_ticket(story, client)
    tell_of_many(story, client_for(backend))
    tell_of_sessions(story, client_for(backend))
    tell_of_changes(story, client_for(backend))
    tell_of_openai(story, client_for(make_user("carol")))
    return {operation: masked(exchanges) for operation, exchanges in story.disclosed.items()}


def tell_of_conversations(story, client):
    def tell(operation_id, name, method, path, body=None):
        return story.tell(client, operation_id, name, method, f"/api/{path}", body)

    asked = {
        "title": "Trip to Rome",
        "model_used": "llama3.2",
        "metadata": {"topic": "travel"},
        "external_id": "trip-7",
        "tags": ["travel"],
    }
    chat = tell("conversations_create", "Start a conversation", "post", "conversations", asked)[
        "id"
    ]
    append = f"conversations/{chat}/messages"
    said = {"role": "user", "content": "What is the weather in Rome?"}
    message = tell("conversations_messages_create", "One message", "post", append, said)["id"]
    turn = {"expected_last_sequence": 1, "messages": TURN}
    tell("conversations_messages_create", "The rest of a turn", "post", append, turn)
    of_sdk = "As the OpenAI SDK dumps it"
    tell("conversations_messages_create", of_sdk, "post", append, COMPLETION)
    tell("conversations_messages_list", "A page", "get", f"{append}?page_size=2")
    tell("conversations_messages_retrieve", "A message", "get", f"{append}/{message}")
    good = {"rating": 1, "rating_comment": "To the point."}
    tell("conversations_messages_partial_update", "Good", "patch", f"{append}/{message}", good)
    tell("conversations_retrieve", "With its messages", "get", f"conversations/{chat}")
    tell("conversations_list", "A page", "get", "conversations?page_size=1")
    tell("users_conversations_list", "A page", "get", "users/alice/conversations?page_size=1")
    tell("messages_list", "A page", "get", "messages?role=user&page_size=1")
    tell("usage", "By day and model", "get", "usage?group_by=day,model")
    tell("search", "A message and its snippet", "get", "search?q=weather&role=user")
    changes = {"title": "Rome", "pinned": True}
    tell("conversations_partial_update", "Pin it", "patch", f"conversations/{chat}", changes)
    opening = {"role": "assistant", "status": "streaming", "model": "llama3.2"}
    answer = tell("conversations_messages_create", "Open an answer", "post", append, opening)["id"]
    for name, body in WRITES.items():
        tell("conversations_messages_partial_update", name, "patch", f"{append}/{answer}", body)
    tell("conversations_messages_destroy", "Gone", "delete", f"{append}/{message}")
    tell("conversations_messages_clear", "All gone", "delete", append)
    tell("conversations_destroy", "Gone", "delete", f"conversations/{chat}")


def tell_of_branches(story, client):
    for prefix, path in (
        ("conversations", "/api/conversations"),
        ("chat_history_sessions", "/api/chat-history/sessions"),
    ):

        def tell(operation_id, name, method, path, body=None, prefix=prefix):
            return story.tell(client, f"{prefix}_{operation_id}", name, method, path, body)

        made = client.post(path, {"user_id": "alice", "title": "Trip to Rome"}).json()
        chat = f"{path}/{made['id']}"
        asked = client.post(f"{chat}/messages", {"role": "user", "content": "Where to?"}).json()
        answer = {"role": "assistant", "content": "Rome.", "model": "llama3.2"}
        client.post(f"{chat}/messages", answer)
        again = {"role": "assistant", "content": "Pisa.", "parent_id": asked["id"]}
        tell("messages_create", "Another answer", "post", f"{chat}/messages", again)
        tell("branches_list", "Two answers", "get", f"{chat}/branches")
        tell("partial_update", "Show the first", "patch", chat, {"active_branch": 0})
        forked = {"message_id": asked["id"], "title": "Where else?"}
        tell("fork", "Elsewhere", "post", f"{chat}/fork", forked)
        tell("branches_destroy", "Gone", "delete", f"{chat}/branches/1")


def tell_of_a_ticket(story, client):
    asked = {"purpose": "ask-stream"}
    story.tell(client, "chat_ticket", "For a question", "post", "/api/chat/tickets", asked)


def tell_of_many(story, client):
    talk = [
        {"role": "user", "content": "Is it open today?"},
        {"role": "assistant", "content": "Until six."},
    ]
    asked = {
        "conversations": [
            {"user_id": 3, "external_id": "ticket-7", "tags": ["billing"], "messages": talk},
            {"user_id": 4, "title": "Empty"},
        ]
    }
    path = "/api/conversations/bulk"
    made = story.tell(client, "conversations_bulk_create", "Two", "post", path, asked)
    missing = "019a2f00-0000-7000-8000-999999999999"
    ids = {"ids": [made["conversations"][1]["id"], missing]}
    path = "/api/conversations/delete"
    story.tell(client, "conversations_bulk_delete", "One of two", "post", path, ids)


def tell_of_sessions(story, client):
    def tell(operation_id, name, method, path, body=None):
        operation_id = f"chat_history_sessions_{operation_id}"
        return story.tell(client, operation_id, name, method, f"/api/chat-history/{path}", body)

    asked = {"user_id": 2, "title": "Security Q&A"}
    session = tell("create", "Start a session", "post", "sessions", asked)["id"]
    append = f"sessions/{session}/messages"
    said = {"role": "user", "content": "Is it safe?"}
    message = tell("messages_create", "One message", "post", append, said)["id"]
    tell("messages_list", "A page", "get", append)
    tell("messages_retrieve", "A message", "get", f"{append}/{message}")
    tell("messages_partial_update", "Bad", "patch", f"{append}/{message}", {"rating": -1})
    tell("list", "A page", "get", "sessions?user_id=2")
    tell("retrieve", "With its messages", "get", f"sessions/{session}")
    history = f"/api/chat/history/{session}"
    story.tell(client, "chat_history_retrieve", "A history", "get", history)
    tell("partial_update", "Archive", "patch", f"sessions/{session}", {"archived": True})
    tell("messages_destroy", "Gone", "delete", f"{append}/{message}")
    tell("messages_clear", "All gone", "delete", append)
    tell("destroy", "Gone", "delete", f"sessions/{session}")


def tell_of_tokens(story, client):
    made = story.tell(client, "tokens_create", "For a week", "post", "/api/tokens", {"days": 7})
    story.tell(client, "tokens_list", "Yours", "get", "/api/tokens")
    story.tell(client, "me", "An ordinary user", "get", "/api/me")
    story.tell(client, "tokens_destroy", "Revoked", "delete", f"/api/tokens/{made['id']}")


def tell_of_an_application(story, client):
    asked = {"user_id": 3, "expires_in": 600, "name": "browser"}
    story.tell(client, "tokens_create", "For a user's browser", "post", "/api/tokens", asked)
    story.tell(client, "me", "A trusted client", "get", "/api/me")


def tell_of_changes(story, client):
    start = story.tell(client, "changes", "From now on", "get", "/api/changes?after=now")
    chat = client.post("/api/conversations", {"user_id": 2, "title": "Rome"}).json()["id"]
    said = {"role": "user", "content": "What is the weather in Rome?"}
    client.post(f"/api/conversations/{chat}/messages", said)
    page = story.tell(client, "changes", "What was written since", "get", start["next"])
    client.delete(f"/api/conversations/{chat}")
    story.tell(client, "changes", "And since then", "get", page["next"])


COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_790_000_000,
    "model": "gpt-5",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": "Take a hat.", "refusal": None},
        }
    ],
    "usage": {
        "prompt_tokens": 61,
        "completion_tokens": 12,
        "total_tokens": 73,
        "prompt_tokens_details": {"cached_tokens": 32},
    },
}
WRITES = {
    "The first piece of an answer": {"append": {"content": "Take an "}, "offset": 0},
    "The next one": {"append": {"content": "umbrella."}, "offset": 8},
    "A piece that is not the next": {"append": {"content": "!"}, "offset": 99},
    "A sign of life": {"append": {}},
    "The end of the answer": {
        "status": "complete",
        "offset": 17,
        "finish_reason": "stop",
        "prompt_tokens": 88,
        "completion_tokens": 5,
    },
}
TURN = [
    {
        "role": "assistant",
        "tool_calls": [
            {
                "id": "call_1",
                "type": "function",
                "function": {"name": "weather", "arguments": '{"city": "Rome"}'},
            }
        ],
        "model": "llama3.2",
    },
    {"role": "tool", "tool_call_id": "call_1", "name": "weather", "content": "Sunny, 24 °C"},
    {
        "role": "assistant",
        "content": "It is sunny in Rome, at 24 °C.",
        "model": "llama3.2",
        "prompt_tokens": 61,
        "completion_tokens": 12,
        "latency_ms": 840,
    },
]


def tell_of_openai(story, client):
    def tell(operation_id, name, method, path, body=None):
        path = f"/v1/conversations{path}"
        return story.tell(client, f"openai_{operation_id}", name, method, path, body)

    question = {"role": "user", "content": "How warm is Rome?"}
    call = {"call_id": "call_1", "type": "function_call", "name": "weather", "arguments": "{}"}
    result = {"type": "function_call_output", "call_id": "call_1", "output": "24 °C"}
    started = {"items": [question], "metadata": {"topic": "travel"}}
    chat = tell("conversations_create", "With a question", "post", "", started)["id"]
    tell("conversations_list", "A page", "get", "?limit=1")
    tell("conversations_retrieve", "One conversation", "get", f"/{chat}")
    update = {"metadata": {"topic": "weather"}}
    tell("conversations_update", "Other metadata", "post", f"/{chat}", update)
    called = {"items": [call, result]}
    item = tell("items_create", "A call and its result", "post", f"/{chat}/items", called)
    tell("items_list", "A page", "get", f"/{chat}/items?order=asc&limit=2")
    tell("items_retrieve", "A call", "get", f"/{chat}/items/{item['first_id']}")
    tell("items_destroy", "Gone", "delete", f"/{chat}/items/{item['last_id']}")
    tell("conversations_destroy", "Gone", "delete", f"/{chat}")


@pytest.fixture
def errors():
    alice, stranger, staff = make_user("alice"), make_user("bob"), make_staff()
    api, other, support = client_for(alice), client_for(stranger), client_for(staff)
    chat = f"/api/conversations/{api.post('/api/conversations', {}).json()['id']}"
    text = {"data": "Hello", "content_type": "text/plain"}
    long = {"data": b'"' + b"x" * 20_000_000 + b'"', "content_type": "application/json"}
    stale = {"role": "user", "content": "Hello", "expected_last_sequence": 7}
    answers = [
        api.patch(chat, {"titel": "Rome"}),
        APIClient().get(chat),
        support.patch(chat, {"title": "Rome"}),
        other.get(chat),
        api.post(f"{chat}/messages", stale),
        api.post("/api/conversations", **long),
        api.post("/api/conversations", **text),
        api.post("/api/chat-history/sessions", {"id": 2}),
    ]
    return masked({str(answer.status_code): answer.json() for answer in answers})


def masked(value):
    """The value with a placeholder for whatever differs from run to run; equal ones stay equal."""
    text = json.dumps(value, ensure_ascii=False)
    for pattern, placeholder in PLACEHOLDERS:
        found = list(dict.fromkeys(re.findall(pattern, text)))
        for number, original in enumerate(found, start=1):
            text = text.replace(original, placeholder.format(number))
    text = text.replace("http://testserver", "https://chat.example.org")
    text = re.sub(r"cursor=[^\"&]+", "cursor=WyJmIiwyXQ%3Aa1b2c3", text)
    return without_secrets(json.loads(text))


def without_secrets(value):
    if isinstance(value, list):
        return [without_secrets(item) for item in value]
    if isinstance(value, dict):
        return {
            name: SECRETS[name] if item and name in SECRETS else without_secrets(item)
            for name, item in value.items()
        }
    return value


def check(name, real):
    if "UPDATE_EXAMPLES" in os.environ:
        text = json.dumps(real, ensure_ascii=False, indent=2)
        (FOLDER / f"{name}.json").write_text(text + "\n")
        read.cache_clear()
    assert read(name) == real


def test_the_examples_are_what_is_asked_and_answered(story):
    for operation_id, exchanges in story.items():
        check(operation_id, exchanges)


def test_the_examples_of_errors_are_real(errors):
    check("errors", errors)


def test_every_operation_has_an_example(story):
    # What runs a model is shown, line by line, in docs/chat.md.
    with_a_model = {"chat", "chat_ask_stream", "chat_stream", "chat_stop"}
    named = {operation["operationId"] for _, _, operation in operations()}
    # And in docs/v1.md.
    of_models = ("openai_chat_completions_", "openai_models_", "openai_responses_")
    with_a_model |= {name for name in named if name.startswith(of_models)}
    # What answers with a file is shown in docs/formats.md.
    files = {"conversations_export", "sessions_export", "me_export"}
    assert named - with_a_model - files == story.keys()


def test_every_example_is_told(story):
    assert {file.stem for file in FOLDER.glob("*.json")} == {*story, "errors"}
