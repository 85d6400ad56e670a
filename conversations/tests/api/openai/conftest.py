"""Clients of OpenAI's SDK, whose strict reader refuses an answer that its types do not allow."""

import asyncio
from functools import cache

import pytest

from conversations.tests.api.contract.conftest import running_server, server  # noqa: F401
from conversations.tests.factories import client_for, make_token, make_user


class Sdk:
    """`call(lambda client: …)` makes one call, by the synchronous or the asynchronous client."""

    def __init__(self, url, *, is_async=False, **options):
        self._url, self._is_async = f"{url}/v1", is_async
        self._options = {"max_retries": 0, "_strict_response_validation": True} | options

    def __call__(self, call):
        openai = library()
        if self._is_async:
            return asyncio.run(self._call(openai, call))
        with openai.OpenAI(base_url=self._url, **self._options) as client:
            return call(client)

    async def _call(self, openai, call):
        async with openai.AsyncOpenAI(base_url=self._url, **self._options) as client:
            return await call(client)


@cache
def library():
    """Its import takes a second: not when tests are collected."""
    import openai

    return openai


@pytest.fixture(params=["sync", "async"])
def kind(request):
    return request.param


@pytest.fixture(params=["strict", "loose"])
def reading(request):
    return request.param


@pytest.fixture
def sdk(server, kind, reading):  # noqa: F811
    strict, key = reading == "strict", make_token(make_user("alice"))
    options = {"api_key": key, "_strict_response_validation": strict}
    return Sdk(server.url, is_async=kind == "async", **options)


@pytest.fixture
def strict_sdk(server):  # noqa: F811
    return Sdk(server.url, api_key=make_token(make_user("alice")))


@pytest.fixture
def v1(alice):
    """Alice's client, without a server between; paths begin with /v1."""
    return client_for(alice)
