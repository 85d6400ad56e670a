"""Requests that no client should send: each is refused as its sender's mistake."""

import json

import pytest

from conversations.api.openai.chat_completions import MAX_MESSAGES
from conversations.models import Message
from conversations.tests.factories import client_for

pytestmark = pytest.mark.django_db

HI = {"role": "user", "content": "Hi"}
COMPLETIONS, RESPONSES = "/v1/chat/completions", "/v1/responses"


@pytest.fixture(autouse=True)
def provider(settings):
    """Nothing of these gets as far as to be asked."""
    settings.CHAT_PROVIDERS = {"none": {"base_url": "http://127.0.0.1:9/v1", "model": "m"}}
    settings.CHAT_PROVIDER = "none"


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        (COMPLETIONS, {"messages": [HI | {"content": "\ud800"}]}, "messages[0].content"),
        (COMPLETIONS, {"messages": [HI | {"content": "a\x00b"}]}, "messages[0].content"),
        (COMPLETIONS, {"messages": [HI, HI | {"extra": 5}]}, "messages[1].extra"),
        (COMPLETIONS, {"messages": [HI] * (MAX_MESSAGES + 1)}, "messages"),
        (RESPONSES, {"input": "Hi", "text": {"format": 5}}, "text.format.type"),
        (RESPONSES, {"input": ""}, "input"),
    ],
)
def test_a_body_that_cannot_be_stored_or_asked_is_refused(alice, path, body, param):
    # As JSON escapes: REST framework's own writer refuses halves of pairs.
    response = client_for(alice).generic(
        "POST", path, json.dumps({"model": "m"} | body), "application/json"
    )
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)
    assert not Message.objects.exists()


@pytest.mark.parametrize("query", ["model=%00", "metadata[a]=%00", "metadata[a%00]=b"])
def test_a_filter_that_no_answer_can_fulfil_is_refused(alice, query):
    response = client_for(alice).get(f"{COMPLETIONS}?{query}")
    assert (response.status_code, response.json()["error"]["code"]) == (
        400,
        "null_characters_not_allowed",
    )
