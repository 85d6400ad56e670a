"""Parse the environment variables of model providers and modes, for settings.py."""

from __future__ import annotations

from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

JsonObject = dict[str, Any]

NOT_AN_OBJECT = "{name} must be a JSON object."
OUT_OF_RANGE = "{name} must be between {minimum} and {maximum}."
NOT_ONE_OF = "{name} must be {choices}."
BAD_PRICES = (
    "CHAT_PROVIDERS: the prices of {name} must be an object of models, each with the numbers "
    '"input" and "output", and "cached_input" where it differs.'
)
NOT_A_BOOLEAN = "CHAT_PROVIDERS: {key} of {name} must be true or false."


def providers(env: environ.Env) -> dict[str, JsonObject]:
    """The default providers, updated and extended by the JSON object CHAT_PROVIDERS.

    API keys are read from the variable that `api_key_env` names.
    """
    defaults: dict[str, JsonObject] = {
        "embedded": {
            "start": "chatproject.embedded_model.provider.start",
            "model": "SmolLM2-135M-Instruct",
            "context_tokens": 1_500,
            # Higher temperatures make a model this small incoherent.
            "temperature": 0.1,
            "timeout": 120,
        },
        "ollama": {
            "base_url": env.str("OLLAMA_BASE_URL", default="http://127.0.0.1:11434/v1"),
            "model": env.str("OLLAMA_MODEL", default="llama3.2"),
            "vision": env.bool("OLLAMA_VISION", default=False),
            # The first request loads the model.
            "timeout": 120,
        },
        "openai": {
            "base_url": env.str("OPENAI_BASE_URL", default="https://api.openai.com/v1"),
            "model": env.str("OPENAI_MODEL", default="gpt-4o-mini"),
            "vision": env.bool("OPENAI_VISION", default=False),
            "api_key_env": "OPENAI_API_KEY",
            "needs_key": True,
            "embedding_model": "text-embedding-3-small",
        },
    }
    given = json_object(env, "CHAT_PROVIDERS")
    merged = {
        name: defaults.get(name, {}) | given.get(name, {})
        for name in [*defaults, *(name for name in given if name not in defaults)]
    }
    for name, one in merged.items():
        _check(name, one)
    return {name: _with_key(env, one) for name, one in merged.items()}


def json_object(env: environ.Env, name: str) -> JsonObject:
    """A variable with a JSON object; empty if not set."""
    value = env.json(name, default={})
    if not isinstance(value, dict):
        raise ImproperlyConfigured(NOT_AN_OBJECT.format(name=name))
    return value


def modes(env: environ.Env) -> dict[str, str]:
    """CHAT_MODES: comma-separated names, or a JSON object of names and descriptions."""
    if env.str("CHAT_MODES", default="").lstrip().startswith("{"):
        return {name: str(text) for name, text in json_object(env, "CHAT_MODES").items()}
    return dict.fromkeys(env.list("CHAT_MODES", default=[]), "")


def one_of(env: environ.Env, name: str, choices: tuple[str, ...]) -> str:
    """One of these values, by default the first. Raises ImproperlyConfigured."""
    value = str(env.str(name, default=choices[0]))
    if value not in choices:
        raise ImproperlyConfigured(NOT_ONE_OF.format(name=name, choices=" or ".join(choices)))
    return value


def integer(env: environ.Env, name: str, default: int, *, maximum: int, minimum: int = 0) -> int:
    """An integer within these limits. Raises ImproperlyConfigured."""
    value = int(env.int(name, default=default))
    if not minimum <= value <= maximum:
        raise ImproperlyConfigured(OUT_OF_RANGE.format(name=name, minimum=minimum, maximum=maximum))
    return value


def _check(name: str, provider: JsonObject) -> None:
    """What a mistake in would only show in the middle of a turn."""
    if not isinstance(provider.get("vision", False), bool):
        raise ImproperlyConfigured(NOT_A_BOOLEAN.format(key="vision", name=name))
    prices = provider.get("prices", {})
    if not isinstance(prices, dict) or not all(map(_is_price, prices.values())):
        raise ImproperlyConfigured(BAD_PRICES.format(name=name))


def _is_price(price: object) -> bool:
    return (
        isinstance(price, dict)
        and {"input", "output"} <= price.keys() <= {"input", "cached_input", "output"}
        and all(_is_amount(amount) for amount in price.values())
    )


def _is_amount(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 <= value < 10**8  # type: ignore[operator]


def _with_key(env: environ.Env, provider: JsonObject) -> JsonObject:
    variable = provider.get("api_key_env")
    return provider | ({"api_key": env.str(variable, default="")} if variable else {})
