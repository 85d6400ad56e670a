"""Requests drawn from the OpenAPI page, sent to a real server by Schemathesis, all checks on.

`SCHEMATHESIS_EXAMPLES=100 pytest -s` on this file is a long run by hand: that many requests an
operation and phase, new ones each time. Unset, there are few and always the same.
"""

import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from django.urls import resolve

from conversations.formats.message_reader import OWN_FIELDS
from conversations.models import Message
from conversations.services import SCRIPT, MessageDraft, append_drafts
from conversations.tests.api.contract.conftest import token_of
from conversations.tests.api.contract.openapi import operations
from conversations.tests.factories import client_for, make_conversation, make_trusted, make_user

HERE = Path(__file__).parent
BY_HAND = "SCHEMATHESIS_EXAMPLES" in os.environ
EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "4"))
TIME_LIMIT = 400 + 10 * EXAMPLES  # seconds; a run takes a fifth of it
ALL_PHASES = "examples,coverage,fuzzing,stateful"


@pytest.fixture
def people(server):
    return [make_user("alice"), make_user("bob"), make_trusted("backend")]


@pytest.mark.parametrize(
    ("who", "phases"),
    [("alice", ALL_PHASES), ("backend", ALL_PHASES if BY_HAND else "fuzzing,stateful")],
    ids=["an ordinary user", "a trusted client"],
)
def test_every_answer_is_as_the_schema_says(server, people, tmp_path, who, phases):
    me = next(person for person in people if person.username == who)
    environment = {
        "SCHEMATHESIS_HOOKS": str(HERE / "schemathesis_hooks.py"),
        "CONTRACT_USER": who,
        "CONTRACT_USERS": written(tmp_path / "users.json", users(people)),
        "CONTRACT_DATA": written(tmp_path / "data.json", data_of(me)),
    }
    before = len(server.log())
    run = subprocess.run(
        command(server.url, phases),
        cwd=tmp_path,
        env=os.environ | environment,
        timeout=TIME_LIMIT,
    )
    lines = [json.loads(line) for line in server.log()[before:].splitlines()]
    assert not [line for line in lines if line["level"] == "error" or line.get("status", 0) >= 500]
    assert run.returncode == 0
    if phases == ALL_PHASES:
        may_not = FOR_APPLICATIONS if who == "alice" else set()
        assert set(never_succeeded(statuses(lines))) <= may_not


# An ordinary user gets 403.
FOR_APPLICATIONS = {"GET /api/changes"}
# Each request would run a model, ask a provider, need an answer of one, or hold a stream open:
# test_chat_*.py and openai/ have them.
WITH_A_MODEL = r"^/api/chat($|/ask-stream|/streams)|^/v1/(chat|models|responses)"


def command(url, phases):
    settled = [] if BY_HAND else ["--generation-deterministic"]
    return [
        Path(sys.executable).parent / "schemathesis",
        f"--config-file={HERE / 'schemathesis.toml'}",
        "--no-color",
        "run",
        f"{url}/api/schema",
        f"--max-examples={EXAMPLES}",
        f"--phases={phases}",
        f"--exclude-path-regex={WITH_A_MODEL}",
        *settled,
    ]


def users(people):
    """The users' file, in the form of Web Fuzzing Commons."""

    def authorization(person):
        return {"name": "Authorization", "value": f"Bearer {token_of(person)}"}

    return {
        "auth": [
            {"name": person.username, "fixedHeaders": [authorization(person)]} for person in people
        ]
    }


def data_of(me):
    """Conversations to read, write and delete, a later page of each list, and my tokens."""
    chats = [with_two_branches(make_conversation(me, 4)) for _ in range(60 + 2 * EXAMPLES)]
    client = client_for(me)
    return {
        "conversations": {str(chat.pk): message_ids(chat) for chat in chats},
        "pages": later_pages(client, me.username, str(chats[0].pk)),
        "me": me.username,
        "tokens": [token["id"] for token in client.get("/api/tokens").json()["tokens"]],
        "own_fields": sorted(OWN_FIELDS),
    }


def with_two_branches(chat):
    drafts = [MessageDraft(role="user", content="Again?")]
    append_drafts(conversation_id=chat.pk, drafts=drafts, parents=["root"], access=SCRIPT)
    return chat


def message_ids(chat):
    return [
        str(key) for key in Message.objects.of(chat.user_id, chat.pk).values_list("id", flat=True)
    ]


def later_pages(client, user, chat):
    """For each list, by its path in the schema: what fills that path, and the page's query."""
    lists = {
        "/api/conversations": {},
        "/api/users/{user}/conversations": {"user": user},
        "/api/conversations/{conversation_id}/messages": {"conversation_id": chat},
        "/api/conversations/{conversation_id}/branches": {"conversation_id": chat},
        "/api/chat-history/sessions": {},
        "/api/chat-history/sessions/{session_id}/messages": {"session_id": chat},
        "/api/chat-history/sessions/{session_id}/branches": {"session_id": chat},
        "/api/search": {},
        "/api/messages": {},
    }
    return {
        path: {"path": names, "query": later_page(client, path, names)}
        for path, names in lists.items()
    }


def later_page(client, path, names):
    query = {"page_size": 1}
    if path == "/api/search":
        query["q"] = "message"
    elif path.endswith("/messages") and names:
        query["branch"] = "all"
    following = client.get(path.format(**names), query).json()["next"]
    return dict(parse_qsl(urlsplit(following).query))


def written(path, content):
    path.write_text(json.dumps(content))
    return str(path)


def statuses(lines):
    """The statuses that each method and route was answered with, from the lines of the log."""
    found = defaultdict(set)
    for line in lines:
        if line["event"] == "request":
            found[line["method"], line["route"]].add(line["status"])
    return found


def never_succeeded(answered):
    return [
        f"{method} {path}"
        for method, path, _ in operations()
        if not re.match(WITH_A_MODEL, path)
        and not any(status < 300 for status in answered[method, resolve(path).route])
    ]
