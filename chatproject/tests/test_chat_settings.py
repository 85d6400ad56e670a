"""CHAT_PROVIDERS: a mistake is an error at the start, not in the middle of a turn."""

import json

import environ
import pytest
from django.core.exceptions import ImproperlyConfigured

from chatproject.chat_settings import providers

PRICES = {"m": {"input": 0.15, "cached_input": 0.075, "output": 0.6}}


def read(monkeypatch, **changes):
    monkeypatch.setenv("CHAT_PROVIDERS", json.dumps({"p": changes}))
    return providers(environ.Env())["p"]


def test_prices_and_vision_are_read(monkeypatch):
    assert read(monkeypatch, prices=PRICES, vision=True) == {"prices": PRICES, "vision": True}


@pytest.mark.parametrize(
    "prices",
    [
        [],
        {"m": 3},
        {"m": {"input": 3}},
        {"m": {"input": 3, "output": "15"}},
        {"m": {"input": 3, "output": -1}},
        {"m": {"input": 3, "output": True}},
        {"m": {"input": 3, "output": 15, "cached": 1}},
    ],
)
def test_other_prices_are_refused(monkeypatch, prices):
    with pytest.raises(ImproperlyConfigured, match="the prices of p must be"):
        read(monkeypatch, prices=prices)


def test_vision_is_true_or_false(monkeypatch):
    with pytest.raises(ImproperlyConfigured, match="vision of p must be true or false"):
        read(monkeypatch, vision="yes")


@pytest.mark.parametrize(("variable", "name"), [("OLLAMA", "ollama"), ("OPENAI", "openai")])
def test_vision_of_the_predefined_providers_is_off_until_it_is_set(monkeypatch, variable, name):
    assert providers(environ.Env())[name]["vision"] is False
    monkeypatch.setenv(f"{variable}_VISION", "true")
    assert providers(environ.Env())[name]["vision"] is True
