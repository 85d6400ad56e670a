"""How the environment says which models there are; settings.py holds the result."""

from __future__ import annotations

from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

Objects = dict[str, Any]

NOT_AN_OBJECT = "{name} must be a JSON object."
OUT_OF_RANGE = "{name} must be between {least} and {most}."


def providers(env: environ.Env) -> dict[str, Objects]:
    """The shipped entries, changed and added to by the JSON object CHAT_PROVIDERS.

    A key is never written there: `api_key_env` names the variable that holds it.
    """
    shipped: dict[str, Objects] = {
        "embedded": {
            "start": "chatproject.embedded_model.provider.start",
            "model": "SmolLM2-135M-Instruct",
            "context_tokens": 1_500,
            # A model this small loses its thread when it may choose unlikely words.
            "temperature": 0.1,
            "timeout": 120,
        },
        "ollama": {
            "base_url": env.str("OLLAMA_BASE_URL", default="http://127.0.0.1:11434/v1"),
            "model": env.str("OLLAMA_MODEL", default="llama3.2"),
            # The first question loads the model.
            "timeout": 120,
        },
        "openai": {
            "base_url": env.str("OPENAI_BASE_URL", default="https://api.openai.com/v1"),
            "model": env.str("OPENAI_MODEL", default="gpt-4o-mini"),
            "api_key_env": "OPENAI_API_KEY",
            "needs_key": True,
            "embedding_model": "text-embedding-3-small",
        },
    }
    given = objects(env, "CHAT_PROVIDERS")
    merged = {
        name: shipped.get(name, {}) | given.get(name, {})
        for name in [*shipped, *(name for name in given if name not in shipped)]
    }
    return {name: _with_key(env, one) for name, one in merged.items()}


def objects(env: environ.Env, name: str) -> Objects:
    """A setting that is a JSON object."""
    value = env.json(name, default={})
    if not isinstance(value, dict):
        raise ImproperlyConfigured(NOT_AN_OBJECT.format(name=name))
    return value


def modes(env: environ.Env) -> dict[str, str]:
    """CHAT_MODES: names alone, separated by commas, or a JSON object of names and descriptions."""
    if env.str("CHAT_MODES", default="").lstrip().startswith("{"):
        return {name: str(text) for name, text in objects(env, "CHAT_MODES").items()}
    return dict.fromkeys(env.list("CHAT_MODES", default=[]), "")


def within(env: environ.Env, name: str, default: int, *, most: int, least: int = 0) -> int:
    value = int(env.int(name, default=default))
    if not least <= value <= most:
        raise ImproperlyConfigured(OUT_OF_RANGE.format(name=name, least=least, most=most))
    return value


def _with_key(env: environ.Env, provider: Objects) -> Objects:
    variable = provider.get("api_key_env")
    return provider | ({"api_key": env.str(variable, default="")} if variable else {})
