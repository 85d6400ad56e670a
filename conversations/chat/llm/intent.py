"""Which of settings.CHAT_MODES a question belongs to: the model picks one, as structured output."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from typing import Any

from django.conf import settings

from conversations.chat.llm.providers import Provider, client_for

INSTRUCTIONS = "Which mode does the user's message belong to? Answer with its name.\n{modes}"
SECONDS = 20
LONGEST_MODE = 50

log = logging.getLogger(__name__)


async def detect_mode(provider: Provider, model: str, question: str) -> str | None:
    """One of the configured modes; None when none are, the question has no text, or the model
    names none of them."""
    modes: Mapping[str, str] = settings.CHAT_MODES
    if not modes or not question:
        return None
    try:
        async with asyncio.timeout(SECONDS):
            return _one_of(modes, await _ask(provider, model, question, modes))
    except Exception as error:
        # The turn goes on without a mode.
        log.warning("No mode was detected: %s", type(error).__name__)
        return None


async def _ask(provider: Provider, model: str, question: str, modes: Mapping[str, str]) -> str:
    listed = "\n".join(f"- {name}: {text}" if text else f"- {name}" for name, text in modes.items())
    async with client_for(provider) as client:
        answer = await client.chat.completions.create(
            model=model,
            messages=[
                {"role": "system", "content": INSTRUCTIONS.format(modes=listed)},
                {"role": "user", "content": question},
            ],
            response_format={"type": "json_schema", "json_schema": _schema(list(modes))},
        )
    return answer.choices[0].message.content or ""


def _schema(modes: list[str]) -> Any:
    return {
        "name": "detected_mode",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"mode": {"type": "string", "enum": modes}},
            "required": ["mode"],
            "additionalProperties": False,
        },
    }


def _one_of(modes: Mapping[str, str], answer: str) -> str | None:
    value = json.loads(answer)
    mode = value.get("mode") if isinstance(value, dict) else None
    return str(mode)[:LONGEST_MODE] if mode in modes else None
