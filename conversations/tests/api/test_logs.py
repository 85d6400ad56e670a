import io
import json
import logging
from contextlib import closing

import pytest
from django.db import IntegrityError

from chatproject.logs import configure
from conversations.tests.factories import client_for, make_conversation

pytestmark = pytest.mark.django_db
LIST = "/api/conversations"


@pytest.fixture
def lines():
    """What the configured formatter writes meanwhile, each line read as JSON."""
    given = dict(configure(level="INFO", as_json=True)["formatters"]["structured"])
    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(given.pop("()")(**given))
    logging.getLogger().addHandler(handler)
    yield lambda: [json.loads(line) for line in handler.stream.getvalue().splitlines()]
    logging.getLogger().removeHandler(handler)


def test_each_request_leaves_one_line(lines, api, alice):
    answer = api.get(f"{LIST}?page_size=5", headers={"X-Request-ID": "abc"})
    assert answer.status_code == 200
    (line,) = [line for line in lines() if line["event"] == "request"]
    assert line["request_id"] == "abc"
    assert (line["user"], line["method"], line["status"]) == ("alice", "GET", 200)
    assert line["route"] == "api/conversations/?$"
    assert line["queries"] == 2
    assert line["duration_ms"] > 0


def test_no_line_holds_what_was_said_or_a_token(lines, alice):
    client = client_for(alice)
    chat = make_conversation(alice)
    url = f"{LIST}/{chat.pk}/messages"
    client.post(url, {"role": "user", "content": "my secret words"})
    client.post(f"{url}?role=user&content=my+secret+words")
    client.get("/api/search?q=secret")
    client.post(url, {"role": "my secret words"})
    text = json.dumps(lines())
    assert text.count('"request"') == 4
    assert "secret" not in text
    assert client._credentials["HTTP_AUTHORIZATION"].split()[1] not in text


def test_a_defect_is_logged_by_place_not_by_what_it_quotes(lines, alice, monkeypatch):
    def fail(*args, **kwargs):
        raise IntegrityError("Failing row contains (my secret words)")

    client = client_for(alice)
    client.raise_request_exception = False
    monkeypatch.setattr("conversations.api.conversations.owner_to_read", fail)
    answer = client.get(LIST)
    assert answer.status_code == 500
    found = lines()
    (line,) = [line for line in found if "exception" in line]
    assert line["exception"] == "IntegrityError"
    assert any("in fail" in place or " fail" in place for place in line["trace"])
    assert "secret" not in json.dumps(found)


def test_an_anonymous_request_has_no_user(lines, client):
    client.get(LIST)
    (line,) = [line for line in lines() if line["event"] == "request"]
    assert (line["user"], line["status"]) == (None, 401)


def test_static_files_are_logged_only_for_debugging(lines, client):
    def ask():
        with closing(client.get("/static/conversations/icon.svg")) as answer:
            assert answer.status_code == 200

    logger = logging.getLogger("chatproject.requests")
    ask()
    assert lines() == []
    logger.setLevel(logging.DEBUG)
    try:
        ask()
    finally:
        logger.setLevel(logging.NOTSET)
    (line,) = lines()
    assert (line["event"], line["level"]) == ("request", "debug")


def test_logs_can_be_for_people(lines):
    assert configure(level="WARNING", as_json=False)["root"]["level"] == "WARNING"
    configure(level="INFO", as_json=True)
