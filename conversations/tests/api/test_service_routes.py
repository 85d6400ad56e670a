"""Schema, docs and what watches the process."""

from pathlib import Path

import pytest
from django.db import OperationalError
from django.test import Client

from conversations.api import health
from conversations.api.queries import CONVERSATION_COLUMNS, MESSAGE_COLUMNS
from conversations.models import Conversation, Message
from conversations.tests.factories import client_for

ROOT = Path(__file__).resolve().parents[3]


def test_healthz_asks_nothing_of_the_database(client):
    assert client.get("/healthz").json() == {"status": "ok"}


@pytest.mark.django_db
def test_readyz_asks_the_database(client):
    assert client.get("/readyz").json() == {"status": "ok", "database": "ok"}


def test_readyz_says_when_the_database_is_away(client, monkeypatch):
    class Away:
        def cursor(self):
            raise OperationalError("password=hunter2")

    monkeypatch.setattr(health, "connection", Away())
    answer = client.get("/readyz")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert b"hunter2" not in answer.content


@pytest.mark.django_db
def test_the_docs_need_no_network(client):
    page = client.get("/api/docs").content.decode()
    assert "/static/drf_spectacular_sidecar/" in page
    assert "https://" not in page


@pytest.mark.django_db
def test_a_database_that_goes_away_is_503_with_retry_after(alice, monkeypatch):
    def fail(*args, **kwargs):
        raise OperationalError("password=hunter2")

    client = client_for(alice)
    client.raise_request_exception = False
    monkeypatch.setattr("conversations.api.conversations.owner_to_read", fail)
    answer = client.get("/api/conversations")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert b"hunter2" not in answer.content


@pytest.mark.django_db
def test_a_defect_is_500_without_a_trace(alice, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("secret detail")

    client = client_for(alice)
    client.raise_request_exception = False
    monkeypatch.setattr("conversations.api.conversations.owner_to_read", fail)
    answer = client.get("/api/conversations")
    assert answer.status_code == 500
    assert b"secret" not in answer.content
    assert answer.json()["type"] == "server_error"


def test_an_unknown_host_is_refused():
    assert Client().get("/api/conversations", headers={"Host": "evil.example"}).status_code == 400


def test_every_answered_column_exists():
    columns = {field.attname for field in Message._meta.concrete_fields}
    assert set(MESSAGE_COLUMNS) <= columns
    columns = {field.attname for field in Conversation._meta.concrete_fields}
    assert set(CONVERSATION_COLUMNS) - {"path_length"} <= columns
