"""The base class of the views of `/v1`."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from rest_framework.request import Request

from conversations.api.contracts import OPENAI, Contract
from conversations.api.openai.ids import conversation_id_of
from conversations.api.openai.owners import check_owner
from conversations.api.views import ApiViewSet


class OpenAIViewSet(ApiViewSet):
    """A conversation in the path has an id of `/v1`, and belongs to whom the request names."""

    contract: ClassVar[Contract] = OPENAI

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if self.contract.id_name in self.kwargs:
            check_owner(request, self.access, self.conversation_id)

    @property
    def conversation_id(self) -> uuid.UUID:
        """Raises NotFound for what is no id."""
        return conversation_id_of(self.kwargs[self.contract.id_name])
