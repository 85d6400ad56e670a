"""OpenAI's own clients of a live server, strict, for the tests of `/v1/responses`.

A test module takes the fixtures with `from .response_clients import *  # noqa: F403`.
"""

import openai
import pytest

from conversations.models import Message, Status
from conversations.tests.chat.clients import ChatClient
from conversations.tests.chat.fixtures import wait_until
from conversations.tests.factories import make_token, make_trusted, make_user

__all__ = ["client", "relaying", "rest", "strict", "token", "trusted_client"]

WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "The weather in a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}


def strict(url, token, kind=openai.OpenAI, **options):
    options = {"max_retries": 0, "_strict_response_validation": True} | options
    return kind(base_url=f"{url}/v1", api_key=token, **options)


@pytest.fixture
def token(transactional_db):
    return make_token(make_user("alice"))


@pytest.fixture
def client(scripted, token, live_server):
    """Alice's client, of a server whose provider speaks chat completions."""
    with strict(live_server.url, token) as client:
        yield client
    # What still runs would write into the next test's tables.
    wait_until(lambda: not Message.objects.filter(status=Status.STREAMING).exists())


@pytest.fixture
def rest(token, live_server):
    """Alice's client of /api."""
    return ChatClient(live_server.url, token)


@pytest.fixture
def trusted_client(scripted, transactional_db, live_server):
    with strict(live_server.url, make_token(make_trusted())) as client:
        yield client


@pytest.fixture
def relaying(settings, scripted):
    """The provider speaks the Responses API too."""
    settings.CHAT_PROVIDERS["scripted"]["responses"] = True
    return scripted
