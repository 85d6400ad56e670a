"""The base class of the views of `/v1`."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from datetime import datetime
from typing import Any, ClassVar

from rest_framework.request import Request
from rest_framework.response import Response

from conversations.api.contracts import OPENAI, Contract
from conversations.api.openai.errors import NO_RETRY
from conversations.api.openai.ids import conversation_id_of, conversation_name
from conversations.api.openai.owners import check_owner
from conversations.api.views import ApiViewSet
from conversations.db.bulk_rows import Row


class OpenAIViewSet(ApiViewSet):
    """A conversation in the path has an id of `/v1`, and belongs to whom the request names."""

    contract: ClassVar[Contract] = OPENAI
    # The actions that store something anew each time, unless the request has an Idempotency-Key.
    stores_anew: ClassVar[Collection[str]] = ()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if self.contract.id_name in self.kwargs:
            check_owner(request, self.access, self.conversation_id)

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Response:
        """SDKs repeat a request that has failed, of which it is not known what it has stored."""
        repeatable = "Idempotency-Key" in request.headers or self.action not in self.stores_anew
        if response.status_code >= 500 and not repeatable:
            response[NO_RETRY] = "false"
        return super().finalize_response(request, response, *args, **kwargs)

    @property
    def conversation_id(self) -> uuid.UUID:
        """Raises NotFound for what is no id."""
        return conversation_id_of(self.kwargs[self.contract.id_name])


def shown_conversation(row: Row) -> Row:
    """A conversation as OpenAI has it, and more, from a row of `queries`."""
    return {
        "id": conversation_name(uuid.UUID(str(row["id"]))),
        "object": "conversation",
        "created_at": _seconds(row["created_at"]),
        "metadata": row["metadata"],
        "title": row["title"],
        "user_id": row["user_id"],
        "message_count": row["message_count"],
        "updated_at": _seconds(row["updated_at"]),
    }


def _seconds(time: datetime | str) -> int:
    """Since 1970, of a time or of what the database writes of one in JSON."""
    known = datetime.fromisoformat(time) if isinstance(time, str) else time
    return int(known.timestamp())
