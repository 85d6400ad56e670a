"""Where the models are: the OpenAI-compatible endpoints of settings.CHAT_PROVIDERS."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.utils.module_loading import import_string

from conversations import tracing
from conversations.chat.errors import FAILURES, NotConfigured, TurnFailed
from conversations.services import InvalidValue

if TYPE_CHECKING:
    from openai import AsyncOpenAI

UNKNOWN = "There is no provider {name}. Configured: {known}."
NOTHING = "No model is configured. Set CHAT_PROVIDER as described in docs/chat.md."
NO_KEY = "The provider {name} needs a key: set {variable}."
NO_URL = "The provider {name} has no base_url: set it in CHAT_PROVIDERS."
NOT_STARTED = "The model's server cannot be started: this server's log says why."
# Imports the HTTP library.
CUT_ERROR_BODY = "conversations.chat.llm.error_bodies.cut_error_body"
# Import OpenTelemetry, which may not be installed.
TRACED = "conversations.chat.llm.traced_client.traced"
TRACED_CALL = "conversations.chat.llm.traced_client.ModelCall"

log = logging.getLogger(__name__)

# A function that waits for an endpoint: its base URL and key.
Start = Callable[[], tuple[str, str]]
# The starts that turns wait for, by the event loop and the provider's `start`.
_starts: dict[tuple[asyncio.AbstractEventLoop, str], asyncio.Future[tuple[str, str]]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One endpoint. Times are in seconds: `connect` to reach it, `timeout` of silence after.

    `start` is the dotted path of a function that raises an exception which says what is missing,
    or returns another one, a `Start`: that starts the endpoint where it does not run. `vision`: it
    takes images and files; `responses`: it speaks the Responses API too.
    `prices`: by model, `input`, `cached_input` and `output`, each for a million tokens.
    """

    name: str
    base_url: str = ""
    api_key: str = ""
    api_key_env: str = ""
    needs_key: bool = False
    model: str = ""
    connect: float = 5
    timeout: float = 60
    context_tokens: int | None = None
    temperature: float | None = None
    embedding_model: str = ""
    start: str = ""
    vision: bool = False
    responses: bool = False
    prices: dict[str, dict[str, Any]] = field(default_factory=dict, hash=False)

    def __repr__(self) -> str:  # settings and logs show it: without the key
        return f"<Provider {self.name}>"


def provider_named(name: str | None) -> Provider:
    """The provider of that name; None is settings.CHAT_PROVIDER. It can be asked once `started`.

    Raises InvalidValue, or NotConfigured saying what to set. Waits for nothing: requests hold a
    thread here, and their conversation's place.
    """
    wanted = name or settings.CHAT_PROVIDER
    if not wanted:
        raise NotConfigured(NOTHING)
    given = settings.CHAT_PROVIDERS.get(wanted)
    if given is None:
        known = ", ".join(sorted(settings.CHAT_PROVIDERS)) or "none"
        text = UNKNOWN.format(name=wanted[:100], known=known)
        raise InvalidValue(text, field="provider", code="unknown_provider")
    names = {one.name for one in fields(Provider)}
    provider = Provider(
        name=wanted, **{name: value for name, value in given.items() if name in names}
    )
    if provider.needs_key and not provider.api_key:
        variable = provider.api_key_env or "its key"
        raise NotConfigured(NO_KEY.format(name=wanted, variable=variable))
    if provider.start:
        _start_of(provider)
    elif not provider.base_url:
        raise NotConfigured(NO_URL.format(name=wanted))
    return provider


def _start_of(provider: Provider) -> Start:
    try:
        start: Start = import_string(provider.start)()
    except Exception as error:
        log.warning("%s", error)
        raise NotConfigured(str(error)) from error
    return start


async def started(provider: Provider) -> Provider:
    """The provider with its endpoint, which may take as long as a start does. Raises TurnFailed.

    All that wait for an endpoint wait for one thread, so that others can be asked meanwhile.
    """
    if not provider.start:
        return provider
    key = asyncio.get_running_loop(), provider.start
    try:
        if key not in _starts:
            _starts[key] = asyncio.ensure_future(asyncio.to_thread(_start_of(provider)))
            _starts[key].add_done_callback(lambda start: _forget(key, start))
        base_url, api_key = await asyncio.shield(_starts[key])
    except Exception as error:
        raise TurnFailed(replace(FAILURES["provider_unreachable"], text=NOT_STARTED)) from error
    return replace(provider, base_url=base_url, api_key=api_key)


def _forget(
    key: tuple[asyncio.AbstractEventLoop, str], start: asyncio.Future[tuple[str, str]]
) -> None:
    del _starts[key]
    if not start.cancelled() and (error := start.exception()):
        log.warning("%s", error)


@cache
def shared_client(provider: Provider) -> AsyncOpenAI:
    """One pool of connections to an endpoint, for the event loop of all turns alone."""
    return client_for(provider)


def pool_options() -> dict[str, Any]:
    """How every HTTP client of a provider keeps its connections, and where it may go.

    WEB_STREAMS limits the answers that run; the libraries would let no more than 100 or 1,000
    begin. What is said goes to the configured address alone: no redirect is followed.
    """
    from httpx2 import Limits

    return {"limits": Limits(max_connections=None), "follow_redirects": False}


def client_for(provider: Provider) -> AsyncOpenAI:
    """A client that never retries by itself: the caller decides, and a turn is asked once."""
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient, Timeout

    client = AsyncOpenAI(
        base_url=provider.base_url,
        api_key=provider.api_key or "none",
        max_retries=0,
        timeout=Timeout(provider.timeout, connect=provider.connect),
        http_client=DefaultAsyncHttpxClient(
            **pool_options(), event_hooks={"response": [import_string(CUT_ERROR_BODY)]}
        ),
    )
    if (tracer := tracing.tracer()) is None:
        return client
    traced: Callable[..., AsyncOpenAI] = import_string(TRACED)
    return traced(client, provider, tracer)


@contextmanager
def traced_call(provider: Provider, body: dict[str, Any]) -> Iterator[Callable[[Any], None]]:
    """Around a chat completion that is asked for by other means than a client's `create`: its span,
    where traces are sent. What it yields takes the chunks, as JSON."""
    if (tracer := tracing.tracer()) is None:
        yield lambda chunk: None
        return
    call = import_string(TRACED_CALL)("chat", body, provider, tracer)
    try:
        yield call.take
    except BaseException as error:
        call.end(error)
        raise
    call.end()
