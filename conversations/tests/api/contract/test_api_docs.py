"""docs/api.md and docs/application_turns.md: their very lines, run against a real server."""

import os
import re
import subprocess
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.urls import resolve

from conversations.models import Message
from conversations.tests.api.contract.conftest import token_of
from conversations.tests.factories import make_conversation, make_trusted, make_user

DOCS = settings.BASE_DIR / "docs"
PAGE = (DOCS / "api.md").read_text()
APPLICATION_TURNS = (DOCS / "application_turns.md").read_text()
PAGES = {"api": PAGE, "application_turns": APPLICATION_TURNS}
CLAIMED = re.compile(r"^curl .*   # (\d{3})$")


def lines_of(page):
    blocks = re.findall(r"```sh\n(.*?)```", page, re.S)
    return [line for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize(("name", "least"), [("api", 40), ("application_turns", 9)])
def test_every_line_says_what_it_answers(name, least):
    lines = lines_of(PAGES[name])
    for line in lines:
        assert CLAIMED.match(line) or re.match(r"^\w+=\$\(", line), line
    assert len([line for line in lines if CLAIMED.match(line)]) >= least


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_the_lines_answer_what_they_claim(server, page):
    """All in one shell, in order, as a reader would paste them; each prints its status."""
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
