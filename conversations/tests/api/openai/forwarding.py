"""A real web server that asks the scripted provider, and OpenAI's own clients of it.

A test module takes the fixtures with `from .forwarding import *  # noqa: F403`.
"""

import pytest
from openai import AsyncOpenAI, OpenAI

from conversations.models import Message, Status
from conversations.tests.chat.fixtures import wait_until
from conversations.tests.chat.scripted_provider import ScriptedProvider
from conversations.tests.chat.servers import serving
from conversations.tests.factories import make_token, make_user

__all__ = ["ask", "asked", "provider", "sdk", "server", "shared", "stored", "stream", "token"]


@pytest.fixture(scope="module")
def shared(django_db_setup):
    """A provider and a server that asks it, for all tests of a module that kill neither."""
    with ScriptedProvider() as provider, serving(provider) as server:
        yield provider, server


@pytest.fixture
def provider(shared):
    provider = shared[0]
    yield provider
    provider.reset()


@pytest.fixture
def token(transactional_db):
    return make_token(make_user("alice"))


@pytest.fixture
def server(shared, provider, token):
    yield shared[1]
    # What still runs would write into the next test's tables.
    wait_until(lambda: not Message.objects.filter(status=Status.STREAMING).exists())


@pytest.fixture
def sdk(server, token):
    """OpenAI's client, which refuses what its types do not allow and repeats nothing."""
    with client_of(server, token) as client:
        yield client


def client_of(server, token, kind=OpenAI, **options):
    options = {"max_retries": 0, "timeout": 60} | options
    return kind(
        base_url=f"{server.url}/v1",
        api_key=token,
        _strict_response_validation=True,
        **options,
    )


def async_client_of(server, token, **options):
    return client_of(server, token, AsyncOpenAI, **options)


def says_hi(text="Hi"):
    return [{"role": "user", "content": text}]


def ask(client, messages=None, **options):
    options = {"model": "scripted/scripted", "messages": messages or says_hi()} | options
    return client.chat.completions.create(**options)


def stream(client, messages=None, **options):
    return ask(client, messages, stream=True, **options)


def asked(provider):
    """The body of the last request to the provider."""
    return provider.chats[-1].body


def stored():
    """The only answer that is stored."""
    return Message.objects.get(role="assistant")
