"""A server that asks the scripted provider, and clients of it.

A conftest.py takes them with `from conversations.tests.chat.fixtures import *  # noqa: F403`.
"""

import time

import pytest

from conversations.models import Message, Status
from conversations.tests.chat.clients import ChatClient
from conversations.tests.chat.provider_fixtures import nobody_listens, provider
from conversations.tests.factories import make_token, make_user

__all__ = ["chat", "nobody_listens", "provider", "scripted", "wait_until"]


@pytest.fixture
def scripted(settings, provider):
    """The scripted provider as the only one that is configured."""
    settings.CHAT_PROVIDERS = {
        "scripted": {"base_url": provider.url, "model": "scripted", "timeout": 2, "api_key": "k"}
    }
    settings.CHAT_PROVIDER = "scripted"
    return provider


@pytest.fixture
def chat(scripted, transactional_db, live_server):
    """Alice's client."""
    yield ChatClient(live_server.url, make_token(make_user("alice")))
    # What still runs would write into the next test's tables.
    wait_until(lambda: not Message.objects.filter(status=Status.STREAMING).exists())


def wait_until(holds, seconds=60):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)
