"""The two names that one resource goes by: conversations, and the sessions of older clients."""

from __future__ import annotations

from dataclasses import dataclass

from conversations.db.bulk_rows import Row
from conversations.models import as_read


@dataclass(frozen=True, slots=True)
class Contract:
    """How a contract names the resource.

    `errors`: "standard" is this API's own form, "422" answers validation errors as
    `{"detail": [{"loc", "msg", "type"}]}`. `wrapped`: the detail is `{name: {…}, "messages": […]}`.
    """

    name: str
    plural: str
    id_name: str
    messages_route: str
    errors: str = "standard"
    wrapped: bool = False

    def message(self, row: Row) -> Row:
        """A message's row as this contract tells it: an abandoned answer is `interrupted`."""
        row = as_read(row)
        if self.id_name == "conversation_id":
            return row
        return {
            self.id_name if name == "conversation_id" else name: value
            for name, value in row.items()
        }


CONVERSATIONS = Contract("conversation", "conversations", "conversation_id", "message-list")
SESSIONS = Contract(
    "session", "sessions", "session_id", "session-message-list", errors="422", wrapped=True
)
