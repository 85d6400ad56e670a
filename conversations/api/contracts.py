"""The names that one resource goes by: conversations, the sessions of older clients, and OpenAI's.

What differs between them is defined here once: names, the form of errors, and the shapes of
responses in the OpenAPI schema.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from drf_spectacular.utils import PolymorphicProxySerializer, inline_serializer
from rest_framework.serializers import CharField, IntegerField, Serializer, URLField, UUIDField

from conversations.api.answer_shapes import AnswerStateSerializer
from conversations.api.serializers import (
    ConversationSerializer,
    MessageSerializer,
    fields_of,
)
from conversations.db.bulk_rows import Row
from conversations.models import as_read


@dataclass(frozen=True, slots=True)
class Contract:
    """How a contract names the resource.

    `errors`: "standard" is this API's own form, "422" answers validation errors as
    `{"detail": [{"loc", "msg", "type"}]}`, "openai" all errors as `{"error": {…}}`. `wrapped`:
    the detail is `{name: {…}, "messages": […]}`. `message_shape` and `appended` (many messages,
    and one or many) are names in the OpenAPI schema, `operations` is what the names of operations
    begin with. `default_provider` is that of messages that name none.
    """

    name: str
    plural: str
    id_name: str
    operations: str
    messages_route: str
    message_shape: type[Serializer[Any]]
    appended: tuple[str, str]
    errors: str = "standard"
    wrapped: bool = False
    default_provider: str = ""

    def message(self, row: Row) -> Row:
        """A message's row with this contract's names; an abandoned answer is `interrupted`."""
        row = as_read(row)
        if self.id_name == "conversation_id":
            return row
        return {
            self.id_name if name == "conversation_id" else name: value
            for name, value in row.items()
        }

    @cache  # noqa: B019 (there are two contracts, for as long as the process runs)
    def list_schema(self) -> Serializer[Any]:
        rows = ConversationSerializer(many=True)
        count = IntegerField(
            allow_null=True,
            help_text=f"All {self.plural} of the owner that match; null for `user_id=*`.",
        )
        name = f"{self.name.title()}List"
        return inline_serializer(name, {self.plural: rows, "count": count, **page_links()})

    @cache  # noqa: B019 (as above)
    def created_schema(self) -> Serializer[Any]:
        messages = self.message_shape(
            many=True, required=False, help_text="Those of the request, if it had any."
        )
        fields = fields_of(ConversationSerializer) | {"messages": messages}
        return inline_serializer(f"Created{self.name.title()}", fields)

    def detail_schema(self) -> Serializer[Any]:
        conversation = (
            {self.name: ConversationSerializer()}
            if self.wrapped
            else fields_of(ConversationSerializer)
        )
        name = f"{self.name.title()}Detail"
        return inline_serializer(name, {**conversation, **self._first_messages()})

    def history_schema(self) -> Serializer[Any]:
        key = {self.id_name: UUIDField()}
        return inline_serializer("ChatHistory", {**key, **self._first_messages()})

    def deleted_schema(self) -> Serializer[Any]:
        return deleted_schema(f"{self.name.title()}Deleted", self.id_name)

    def cleared_schema(self) -> Serializer[Any]:
        status = CharField(help_text="`cleared`")
        count = IntegerField(help_text="How many messages were deleted.")
        name = f"{self.name.title()}Cleared"
        return inline_serializer(
            name, {"status": status, self.id_name: UUIDField(), "deleted": count}
        )

    def message_list_schema(self) -> Serializer[Any]:
        name = f"{self.message_shape.__name__.removesuffix('Serializer')}List"
        messages = self.message_shape(many=True)
        return inline_serializer(name, {"messages": messages, **page_links()})

    def appended_schema(self) -> PolymorphicProxySerializer:
        many, either = self.appended
        messages = inline_serializer(many, {"messages": self.message_shape(many=True)})
        return PolymorphicProxySerializer(
            component_name=either,
            serializers=[self.message_shape, messages],
            resource_type_field_name=None,
        )

    def written_schema(self) -> PolymorphicProxySerializer:
        name = self.message_shape.__name__.removesuffix("Serializer")
        return PolymorphicProxySerializer(
            component_name=f"{name}Written",
            serializers=[self.message_shape, AnswerStateSerializer],
            resource_type_field_name=None,
        )

    def _first_messages(self) -> dict[str, Any]:
        return {
            "messages": self.message_shape(many=True),
            "messages_next": URLField(allow_null=True),
        }


def page_links() -> dict[str, Any]:
    """The neighbours of a page, beside its rows."""
    again = "The same as `cursor` of the same list."
    return {
        "next": URLField(allow_null=True),
        "previous": URLField(allow_null=True),
        "next_cursor": CharField(allow_null=True, help_text=again),
        "previous_cursor": CharField(allow_null=True, help_text=again),
    }


def deleted_schema(name: str, id_name: str) -> Serializer[Any]:
    status = CharField(help_text="`deleted`")
    return inline_serializer(name, {"status": status, id_name: UUIDField()})


_SESSION_MESSAGE = inline_serializer(
    "SessionMessage",
    {
        "session_id" if name == "conversation_id" else name: field
        for name, field in fields_of(MessageSerializer).items()
    },
)
CONVERSATIONS = Contract(
    name="conversation",
    plural="conversations",
    id_name="conversation_id",
    operations="conversations",
    messages_route="message-list",
    message_shape=MessageSerializer,
    appended=("Appended", "AppendedOneOrMany"),
)
SESSIONS = Contract(
    name="session",
    plural="sessions",
    id_name="session_id",
    operations="chat_history_sessions",
    messages_route="session-message-list",
    message_shape=type(_SESSION_MESSAGE),
    appended=("AppendedSessionMessages", "AppendedToSession"),
    errors="422",
    wrapped=True,
    default_provider="ollama",  # the promise of a service that this API replaces
)
# Shapes of its own, in `openai/`: only the errors are those of all its views.
OPENAI = replace(CONVERSATIONS, errors="openai")
