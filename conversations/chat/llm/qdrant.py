"""A retriever over Qdrant: a server's URL, or a folder that its client reads itself.

Needs `qdrant-client`, which requirements-extras.in brings. CHAT_QDRANT says where and what.
"""

from __future__ import annotations

import asyncio
from functools import cached_property
from typing import Any

from django.conf import settings

from conversations.chat.llm.providers import client_for, provider_named, started
from conversations.chat.llm.retrieval import RetrievedSource

_TEXT_KEYS = ("text", "content", "document", "page_content")


class QdrantRetriever:
    """The points of one collection that lie nearest to the question's embedding."""

    def __init__(self) -> None:
        given = settings.CHAT_QDRANT
        self.collection: str = given["collection"]
        self.limit: int = given.get("limit", 4)
        self.provider_name: str | None = given.get("provider") or None
        self.model: str = given.get("embedding_model", "")

    async def retrieve(self, question: str) -> list[RetrievedSource]:
        vector = await self.embed(question)
        points = await asyncio.to_thread(self._nearest, vector)
        return [_source(point) for point in points]

    async def embed(self, text: str) -> list[float]:
        """The text's vector, from the provider's /v1/embeddings."""
        provider = await started(provider_named(self.provider_name))
        model = self.model or provider.embedding_model or provider.model
        async with client_for(provider) as client:
            answer = await client.embeddings.create(
                model=model, input=text, encoding_format="float"
            )
        return answer.data[0].embedding

    def _nearest(self, vector: list[float]) -> list[Any]:
        found = self._client.query_points(
            self.collection, query=vector, limit=self.limit, with_payload=True
        )
        return list(found.points)

    @cached_property
    def _client(self) -> Any:
        from qdrant_client import QdrantClient

        given = settings.CHAT_QDRANT
        if given.get("path"):
            # One process at a time: the folder is locked. Several workers need a server.
            return QdrantClient(path=given["path"], force_disable_check_same_thread=True)
        return QdrantClient(url=given["url"], api_key=given.get("api_key") or None)


def _source(point: Any) -> RetrievedSource:
    payload = dict(point.payload or {})
    key = next((key for key in _TEXT_KEYS if isinstance(payload.get(key), str)), None)
    text = payload.pop(key) if key else ""
    return RetrievedSource(id=str(point.id), text=text, score=point.score, metadata=payload)
