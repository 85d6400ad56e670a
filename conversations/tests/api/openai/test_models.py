"""GET /v1/models: what each provider says, or what is configured."""

import openai
import pytest

from conversations.chat.llm.models import model_list
from conversations.tests.chat.fixtures import nobody_listens
from conversations.tests.chat.scripted_provider import ScriptedProvider
from conversations.tests.factories import client_for

from .forwarding import *  # noqa: F403

__all__ = ["nobody_listens"]


@pytest.fixture(autouse=True)
def nothing_is_known():
    model_list.forget()
    yield
    model_list.forget()


@pytest.fixture
def configured(settings, nobody_listens, db):
    """Two providers, of which one does not answer, and one without its key."""
    with ScriptedProvider() as provider:
        settings.CHAT_PROVIDERS = {
            "here": {"base_url": provider.url, "model": "other"},
            "away": {"base_url": nobody_listens, "model": "a/b"},
            "unnamed": {"base_url": nobody_listens},
            "locked": {"base_url": provider.url, "model": "m", "needs_key": True},
            "embedded": {"start": "conversations.tests.nothing", "model": "small"},
        }
        yield provider


def test_all_models_are_listed_with_their_providers(api, configured):
    listed = api.get("/v1/models").json()
    assert listed == {
        "object": "list",
        "data": [
            {"id": "away/a/b", "object": "model", "created": 0, "owned_by": "away"},
            {"id": "embedded/small", "object": "model", "created": 0, "owned_by": "embedded"},
            {"id": "here/scripted", "object": "model", "created": 1, "owned_by": "here"},
        ],
    }


def test_one_is_found_by_its_id(api, configured):
    assert api.get("/v1/models/away/a/b").json()["owned_by"] == "away"
    assert api.get("/v1/models/here/scripted/").json()["id"] == "here/scripted"
    missing = api.get("/v1/models/here/nothing")
    assert missing.status_code == 404
    assert missing.json()["error"]["type"] == "invalid_request_error"


def test_a_provider_is_asked_once_a_minute(api, configured, monkeypatch):
    for _ in range(3):
        api.get("/v1/models")
    assert [request.path for request in configured.requests] == ["/v1/models"]
    monkeypatch.setattr("conversations.chat.llm.models.KNOWN_SECONDS", -1)
    api.get("/v1/models")
    assert len(configured.requests) == 2


def test_everybody_with_a_token_sees_them(configured, alice, staff, trusted):
    for user in (alice, staff, trusted):
        assert client_for(user).get("/v1/models").status_code == 200
    assert client_for(None).get("/v1/models").status_code == 401


@pytest.mark.django_db(transaction=True)
def test_the_strict_client_reads_them(sdk):
    ids = [model.id for model in sdk.models.list()]
    assert "scripted/scripted" in ids
    assert sdk.models.retrieve("scripted/scripted").owned_by == "scripted"
    with pytest.raises(openai.NotFoundError):
        sdk.models.retrieve("nothing")
