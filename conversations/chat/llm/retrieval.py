"""What is retrieved before the model answers, by the class that settings.CHAT_RETRIEVER names."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any, Protocol

from django.conf import settings
from django.utils.module_loading import import_string

from conversations.chat.tool_results import storable

SECONDS = 20
INSTRUCTIONS = "Answer from these sources where they help, naming them as [1], [2]:"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RetrievedSource:
    """A chunk of text that was found. `score`: the higher, the nearer to the question."""

    id: str
    text: str
    score: float | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


class Retriever(Protocol):
    """Finds what a question is about. Made once a process, without arguments."""

    async def retrieve(self, question: str) -> list[RetrievedSource]:
        """The nearest chunks, best first."""
        ...


async def retrieve_sources(question: str) -> list[dict[str, Any]] | None:
    """The sources as they are stored; None when there is no retriever or no text, or it failed."""
    if not settings.CHAT_RETRIEVER or not question:
        return None
    try:
        async with asyncio.timeout(SECONDS):
            retriever = await asyncio.to_thread(_retriever, settings.CHAT_RETRIEVER)
            found = await retriever.retrieve(question)
    except Exception as error:
        # The turn goes on: its answer has no sources.
        log.warning("The retriever failed: %s", type(error).__name__)
        return None
    return [asdict(source) | {"text": storable(source.text)} for source in found]


def with_sources(instructions: str, sources: list[dict[str, Any]] | None) -> str:
    """The system prompt with the chunks below it, numbered."""
    if not sources:
        return instructions
    chunks = [f"[{number}] {source['text']}" for number, source in enumerate(sources, start=1)]
    return "\n\n".join([*filter(None, [instructions]), INSTRUCTIONS, *chunks])


@cache
def _retriever(path: str) -> Retriever:
    retriever: Retriever = import_string(path)()
    return retriever
