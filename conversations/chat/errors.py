"""What can go wrong in a turn, in texts that are safe to show: no key, address or stack trace.

A turn that fails keeps the code in `finish_reason` and the text in `error`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from conversations.models.turn import Step
from conversations.services import ServiceError


class NotConfigured(ServiceError):
    """There is no provider to ask; the text says what to set."""

    code = "not_configured"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a turn failed. `status` is the HTTP answer, `retry_after` is in seconds.

    `given` is what the provider says of a request that it was passed as it came: `message`,
    `param`, `code` and `type`, each text or None.
    """

    code: str
    text: str
    status: int = 502
    retry_after: int | None = None
    given: Mapping[str, Any] | None = None


class TurnFailed(Exception):
    """Ends a turn as `failed`."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.text)
        self.failure = failure


_FAILURES = [
    Failure("provider_unreachable", "The model's server cannot be reached."),
    Failure("provider_refused", "The model's server does not accept this installation's key."),
    Failure("provider_busy", "The model's server is overloaded.", 503),
    Failure("provider_error", "The model's server answered with an error."),
    Failure("provider_timeout", "The model's server did not answer in time.", 504),
    Failure(
        "provider_broke_off",
        "The model's server closed the connection before the answer was complete.",
    ),
    Failure("provider_unreadable", "The model's server sent something that cannot be read."),
    Failure("provider_rejected", "The model's server does not accept the request."),
    Failure(
        "history_too_long",
        "The conversation has too many messages to be sent whole: send `truncation: auto`.",
        400,
    ),
    Failure("empty_answer", "The model gave an empty answer."),
    Failure("answer_too_long", "The model's answer is longer than this server stores."),
    Failure("client_too_slow", "The client did not read the answer in time.", 408),
    Failure("tool_rounds_exceeded", "The model went on calling tools past the limit."),
    Failure("interrupted", "The process that ran this turn ended before its end.", 503),
    Failure("not_stored", "The answer could not be stored completely.", 503),
    Failure("internal_error", "The turn failed on this server; its log says why.", 500),
]
FAILURES = {failure.code: failure for failure in _FAILURES}
_SECONDS = re.compile(r"[0-9]{1,9}")


def failure_named(code: str | None) -> Failure:
    """The failure that a stored turn ended with."""
    return FAILURES.get(code or "", FAILURES["provider_error"])


def failure_of(error: BaseException, step: Step) -> Failure:
    """What an exception of the model's client means, of which this step had come."""
    import openai

    begun = bool(step.content or step.reasoning)
    if isinstance(error, TurnFailed):
        return error.failure
    if isinstance(error, openai.APITimeoutError):
        return FAILURES["provider_timeout"]
    if isinstance(error, openai.APIConnectionError):
        return FAILURES["provider_broke_off" if begun else "provider_unreachable"]
    if isinstance(error, openai.APIStatusError):
        return failure_of_status(error.status_code, error.response.headers.get("retry-after"))
    if isinstance(error, openai.APIError):  # an error as an event of the stream
        return FAILURES["provider_broke_off" if begun else "provider_error"]
    return _of_other(error, step, begun=begun)


def failure_of_status(status: int, retry_after: str | None) -> Failure:
    """What a provider's answer with another status than 200 means."""
    if status in (401, 403):
        return FAILURES["provider_refused"]
    if status in (429, 503):
        wait = int(retry_after) if retry_after and _SECONDS.fullmatch(retry_after) else None
        busy = FAILURES["provider_busy"]
        return Failure(busy.code, busy.text, busy.status, wait)
    if status in (408, 504):
        return FAILURES["provider_timeout"]
    return FAILURES["provider_error" if status >= 500 else "provider_rejected"]


def _of_other(error: BaseException, step: Step, *, begun: bool) -> Failure:
    # Values may be nested deeper than they can be copied.
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError | RecursionError):
        return FAILURES["provider_unreadable"]
    agents = sys.modules.get("agents")  # a turn without it does not wait for its import
    if agents is not None and isinstance(error, agents.MaxTurnsExceeded):
        return FAILURES["tool_rounds_exceeded"]
    if agents is not None and isinstance(error, agents.ModelBehaviorError):
        # The library says so of an answer that was cut off while the model still thought.
        return FAILURES["provider_unreadable" if step.content else "empty_answer"]
    if type(error).__module__.partition(".")[0] in ("httpx", "httpx2", "httpcore"):
        return FAILURES["provider_broke_off" if begun else "provider_unreachable"]
    return FAILURES["internal_error"]
