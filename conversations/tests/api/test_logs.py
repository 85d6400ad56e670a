import json
import logging.config
from contextlib import closing

import pytest
import structlog
from django.db import IntegrityError

from chatproject.logs import configure
from conversations.api import middleware
from conversations.tests.factories import client_for, make_conversation

pytestmark = pytest.mark.django_db
LIST = "/api/conversations"


@pytest.fixture
def configured(monkeypatch):
    """Configures logging for the duration of a test; the access log has found its level before."""
    root, before = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level

    def configured(**options):
        logging.config.dictConfig(configure(**options))
        monkeypatch.setattr(middleware, "_log", structlog.get_logger("x"))

    yield configured
    structlog.configure(**before)
    root.handlers = handlers
    root.setLevel(level)


@pytest.fixture
def lines(capsys, configured):
    """What is written to standard error meanwhile, each line read as JSON."""
    written = []

    def lines():
        written.extend(json.loads(line) for line in capsys.readouterr().err.splitlines())
        return written

    configured(level="INFO", as_json=True)
    return lines


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


def test_static_files_are_logged_only_for_debugging(lines, client, configured):
    def ask():
        with closing(client.get("/static/conversations/icon.svg")) as answer:
            assert answer.status_code == 200

    ask()
    assert lines() == []
    configured(level="DEBUG", as_json=True)
    ask()
    (line,) = lines()
    assert (line["event"], line["level"]) == ("request", "debug")


def test_logs_can_be_for_people(api, capsys, configured):
    configured(level="INFO", as_json=False)
    api.get(LIST)
    logging.getLogger("x").warning("%s happened", "it")
    request, warning = capsys.readouterr().err.splitlines()
    assert "status" in request
    assert "200" in request
    assert "it happened" in warning


def test_no_line_of_a_request_above_its_level(api, capsys, configured):
    configured(level="WARNING", as_json=True)
    api.get(LIST)
    assert capsys.readouterr().err == ""
