"""The very lines of docs/api.md, application_turns.md and branches.md, on a real server."""

import os
import re
import subprocess
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.urls import resolve

from conversations.models import Conversation, Message
from conversations.tests.api.contract.conftest import token_of
from conversations.tests.factories import (
    client_for,
    make_conversation,
    make_trusted,
    make_user,
)

DOCS = settings.BASE_DIR / "docs"
PAGE = (DOCS / "api.md").read_text()
APPLICATION_TURNS = (DOCS / "application_turns.md").read_text()
BRANCHES = (DOCS / "branches.md").read_text()
PAGES = {"api": PAGE, "application_turns": APPLICATION_TURNS, "branches": BRANCHES}
CLAIMED = re.compile(r"^curl .*   # (\d{3})$")


def lines_of(page):
    blocks = re.findall(r"```sh\n(.*?)```", page, re.S)
    return [line for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize(
    ("name", "least"), [("api", 40), ("application_turns", 9), ("branches", 25)]
)
def test_every_line_says_what_it_answers(name, least):
    lines = lines_of(PAGES[name])
    for line in lines:
        assert CLAIMED.match(line) or re.match(r"^\w+=\$\(", line), line
    assert len([line for line in lines if CLAIMED.match(line)]) >= least


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_the_lines_answer_what_they_claim(server, page):
    """All in one shell, in order, as a reader would paste them; each prints its status."""
    run(server, page)


def test_the_page_of_branches_leaves_the_branches_that_it_describes(server):
    run(server, BRANCHES)
    chat = Conversation.objects.get(metadata__topic="travel", forked_from=None)
    client = client_for(chat.user)
    path = f"/api/conversations/{chat.pk}"
    shown = client.get(f"{path}/messages").json()["messages"]
    assert [message["content"] for message in shown] == [
        "Where should I go in May?",
        "To Bari.",
        "How do I get there by train?",
    ]
    assert [message["siblings"] and message["siblings"]["count"] for message in shown] == [2, 5, 2]
    branches = client.get(f"{path}/branches").json()["branches"]
    assert [branch["number"] for branch in branches] == [0, 1, 3, 4, 5, 6, 7]
    fork = Conversation.objects.get(forked_from=chat.pk)
    assert (fork.title, fork.message_count) == ("The train to Bari", 2)


def run(server, page):
    claims = [(line, CLAIMED.match(line)) for line in lines_of(page)]
    script = [
        line.replace("curl ", r"curl -o /dev/null -w '%{http_code}\n' ", 1) if m else line
        for line, m in claims
    ]
    environment = os.environ | {
        "API": f"{server.url}/api",
        "TOKEN": token_of(make_user("alice")),
        "BACKEND": token_of(make_trusted("backend")),
    }
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", "\n".join(script)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    expected = [(line, m.group(1)) for line, m in claims if m]
    assert list(zip([line for line, _ in expected], done.stdout.split(), strict=True)) == expected


@pytest.mark.parametrize("table", re.findall(r"^## Contract.*?(?=^## |\Z)", PAGE, re.S | re.M))
def test_the_routes_of_the_tables_exist(table):
    routes = re.findall(r"`(?:[A-Z ]+`* *`*)*(/api/[^`?\s]*)", table)
    assert routes
    for route in routes:
        resolve(urlsplit(re.sub(r"\{\w+\}", "x", route)).path.rstrip("/"))


def test_the_python_example_writes_an_answer(server):
    token = token_of(make_user("alice"))
    chat = make_conversation(User.objects.get(username="alice"))
    names = {"api": f"{server.url}/api", "token": token, "conversation": chat.pk}
    for block in re.findall(r"```python\n(.*?)```", APPLICATION_TURNS, re.S):
        exec(block, names)
    stored = Message.objects.get()
    assert (stored.content, stored.status, stored.completion_tokens) == (
        "It is raining.",
        "complete",
        4,
    )
