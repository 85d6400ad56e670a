"""Fixtures around the scripted provider.

A conftest.py takes them with `from .provider_fixtures import *  # noqa: F403`.
"""

import pytest

from .scripted_provider import ScriptedProvider, refusing_url

__all__ = ["nobody_listens", "provider"]


@pytest.fixture
def provider():
    """A provider that has begun to serve; it takes any key until `provider.key` is set."""
    with ScriptedProvider() as provider:
        yield provider


@pytest.fixture
def nobody_listens():
    """The base URL of a provider that refuses connections."""
    with refusing_url() as url:
        yield url
