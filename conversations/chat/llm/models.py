"""The names of models that clients use: `provider/model`, or a model of the default provider."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from conversations.chat.errors import NotConfigured
from conversations.chat.llm.providers import Provider, client_for, provider_named
from conversations.services import InvalidValue

# How long a provider may take to name its models, and how long they are known then.
ASK_SECONDS, KNOWN_SECONDS = 3.0, 60.0


@dataclass(frozen=True, slots=True)
class KnownModel:
    """`created` is in seconds since 1970, 0 where the provider does not say it."""

    provider: str
    name: str
    created: int = 0

    @property
    def id(self) -> str:
        return f"{self.provider}/{self.name}"


def model_named(name: str) -> tuple[Provider, str]:
    """The provider, and its own name for the model.

    Raises NotConfigured, InvalidValue.
    """
    first, _, rest = name.partition("/")
    if rest and is_usable(first):
        return provider_named(first), rest
    return provider_named(None), name


def is_usable(provider: str) -> bool:
    """Whether a provider of this name is configured, with its key if it needs one."""
    given: dict[str, Any] | None = settings.CHAT_PROVIDERS.get(provider)
    return given is not None and bool(given.get("api_key") or not given.get("needs_key"))


class ModelList:
    """The models of all providers that can be used, known for a minute in this process."""

    def __init__(self) -> None:
        self._known: tuple[float, list[KnownModel]] | None = None

    def known(self) -> list[KnownModel] | None:
        """Without asking anybody; None where that takes."""
        if self._known is None or time.monotonic() - self._known[0] > KNOWN_SECONDS:
            return None
        return self._known[1]

    def forget(self) -> None:
        """The next request asks anew."""
        self._known = None

    async def ask(self) -> list[KnownModel]:
        """All providers at once. One that does not answer has its configured model."""
        names = [name for name in sorted(settings.CHAT_PROVIDERS) if is_usable(name)]
        lists = await asyncio.gather(*(_models_of(name) for name in names))
        found = [model for models in lists for model in models]
        self._known = time.monotonic(), found
        return found


async def _models_of(name: str) -> list[KnownModel]:
    configured = settings.CHAT_PROVIDERS[name].get("model")
    default = [KnownModel(name, configured)] if configured else []
    try:
        async with asyncio.timeout(ASK_SECONDS):
            # An endpoint that is started by its first request is not started for this.
            if settings.CHAT_PROVIDERS[name].get("start"):
                return default
            async with client_for(provider_named(name)) as client:
                listed = [model async for model in client.models.list()]
    except (NotConfigured, InvalidValue):
        return []
    except Exception:  # whatever a server makes of this request
        return default
    found = [KnownModel(name, model.id, _seconds(model)) for model in listed if model.id]
    return found or default


def _seconds(model: Any) -> int:
    created = getattr(model, "created", None)
    return created if isinstance(created, int) and created >= 0 else 0


model_list = ModelList()
