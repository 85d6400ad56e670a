"""The messages of a conversation over HTTP: /api/conversations/{id}/messages."""

from __future__ import annotations

import builtins
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

from drf_spectacular.utils import (
    OpenApiResponse,
    PolymorphicProxySerializer,
    extend_schema,
    extend_schema_view,
)
from rest_framework.exceptions import ErrorDetail, ParseError, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from conversations.api import parameters, serializers
from conversations.api.answer_shapes import AnswerWriteSerializer
from conversations.api.contracts import CONVERSATIONS, Contract, deleted_schema
from conversations.api.creating import drafts_of
from conversations.api.exceptions import ApiError
from conversations.api.fields import reader
from conversations.api.filters import MessageFilters
from conversations.api.message_pages import MessagePages, appended
from conversations.api.parsers import MERGE_PATCH, has_body, is_merge_patch, loads
from conversations.api.views import (
    ApiViewSet,
    idempotency_key_of,
    read_body,
    read_changes,
    uuid_of,
)
from conversations.chat.runtime.process_liveness import is_dead
from conversations.db.bulk_rows import Row
from conversations.models import AccessAction, Message
from conversations.services import (
    append_drafts,
    clear_conversation,
    delete_message,
    owner_of,
    update_message,
)
from conversations.services.application_turns import write_answer

TWO_IDENTITIES = "Send ids or an Idempotency-Key, not both."
NOT_JSON = "Not a list in JSON."
TWO_PLACES = "With a body, give this in it and not in the query string."
TWO_WRITES = "Send this in a request of its own: the others write the answer."
NO_MESSAGE_ID = "To delete one message, name it; to delete all, leave out the slash at the end."
APPEND_OPTIONS = ("expected_last_sequence", "activate")
NO_BODY_FIELDS = ("role", "content", "tool_calls")


ViewMethod = TypeVar("ViewMethod", bound=Callable[..., Any])
NEW_MESSAGES = PolymorphicProxySerializer(
    component_name="NewMessages",
    serializers=[serializers.AppendSerializer, serializers.BulkAppendSerializer],
    resource_type_field_name=None,
)
MESSAGE_WRITES = PolymorphicProxySerializer(
    component_name="MessageWrite",
    serializers=[serializers.MessageChangesSerializer, AnswerWriteSerializer],
    resource_type_field_name=None,
)

_DELETED = deleted_schema("MessageDeleted", "message_id")


def message_operations(contract: Contract) -> Any:
    """Describes the operations on the messages of a conversation, by either of its names."""
    message, appended = contract.message_shape, contract.appended_schema()
    return extend_schema_view(
        list=extend_schema(
            summary=f"The messages of a {contract.name} in order",
            parameters=parameters.MESSAGE_LISTING,
            responses=contract.message_list_schema(),
        ),
        create=extend_schema(
            summary=f"Append one message to a {contract.name}, or up to 1,000, all or none",
            description=(
                "With `parent_id` a message follows any other message: one at the end of a branch "
                "continues it, one elsewhere opens a branch. "
                "Without a body, `role`, `content` and `tool_calls` are taken from the query "
                "string; this is discouraged, since query strings end up in access logs. A message "
                "with `role: assistant` and `status: streaming` opens an answer, which PATCH "
                "continues and ends; a conversation has at most one (409 `turn_running`)."
            ),
            parameters=[parameters.IDEMPOTENCY_KEY, *parameters.MESSAGE_AS_QUERY],
            request=NEW_MESSAGES,
            responses={
                201: appended,
                200: OpenApiResponse(
                    appended, description="Already stored: the same request was made before."
                ),
            },
        ),
        retrieve=extend_schema(summary=f"One message of a {contract.name}", responses=message),
        partial_update=extend_schema(
            summary=f"Rate a message of a {contract.name}, change its metadata, or write an answer",
            description=(
                "`append` adds to a running answer at its `offset`, `status` ends it; only who "
                "opened the answer may. What is stored already is answered 200 and not stored "
                "again; a piece that does not continue what is stored is answered 409 "
                "(`offset_mismatch`), as is one of an answer that has ended (`turn_ended`); both "
                f"say what is stored. {parameters.MERGING}"
            ),
            request={
                "application/json": MESSAGE_WRITES,
                MERGE_PATCH: serializers.MessageMergePatchSerializer,
            },
            responses=contract.written_schema(),
        ),
        destroy=extend_schema(
            summary=f"Delete a message of a {contract.name}",
            responses={200: _DELETED},
        ),
    )


def clear_operation(contract: Contract) -> Callable[[ViewMethod], ViewMethod]:
    return extend_schema(
        operation_id=f"{contract.operations}_messages_clear",
        summary=f"Delete all messages of a {contract.name}, which stays",
        description=(
            "All or none, and none while an answer is running (409). A slash at the end is "
            "refused: so looks the deletion of one message whose id is missing."
        ),
        responses={200: contract.cleared_schema()},
    )


@message_operations(CONVERSATIONS)
@extend_schema(tags=["messages"])
class MessageViewSet(ApiViewSet):
    queryset = Message.objects.none()
    serializer_class = serializers.MessageSerializer
    lookup_field = "message_id"
    lookup_value_regex = "[^/]+"
    filterset_class = MessageFilters
    query_names = {
        "list": {"branch", "order", "cursor", "page_size", *MessageFilters.names()},
        "create": NO_BODY_FIELDS,
    }
    read_on_replicas = ("list", "retrieve")

    def list(self, request: Request, **path: str) -> Response:
        key = self.conversation_id
        owner = owner_of(self.access, key, action=AccessAction.READ)
        messages, links = self._pages(owner.pk).page()
        return Response({"messages": messages, **links})

    def create(self, request: Request, **path: str) -> Response:
        key = self.conversation_id
        if not has_body(request):
            return self._answer(self._append(key, self._from_query(request)), single=True)
        if given := sorted(request.query_params):
            raise ValidationError({given[0]: [ErrorDetail(TWO_PLACES, "ambiguous")]})
        if isinstance(request.data, dict) and "messages" in request.data:
            body = read_body(request, serializers.BulkAppendSerializer)
            return self._answer(self._append(key, body), single=False)
        body = read_body(request, serializers.AppendSerializer)
        return self._answer(self._append(key, body), single=True)

    def retrieve(self, request: Request, message_id: str, **path: str) -> Response:
        key = uuid_of(message_id, "message_id")
        detail = {"message": str(key)}
        owner = owner_of(self.access, self.conversation_id, action=AccessAction.READ, detail=detail)
        return Response(self._pages(owner.pk).one(key))

    def partial_update(self, request: Request, message_id: str, **path: str) -> Response:
        place: dict[str, Any] = {
            "conversation_id": self.conversation_id,
            "message_id": uuid_of(message_id, "message_id"),
        }
        if not is_merge_patch(request) and _writes_answer(request):
            body = read_body(request, AnswerWriteSerializer)
            return Response(write_answer(**place, changes=body, access=self.access))
        changes = read_changes(
            request,
            serializers.MessageChangesSerializer,
            serializers.MessageMergePatchSerializer,
        )
        message = update_message(**place, **changes, access=self.access)
        return Response(self._pages(message.user_id).one(message.id))

    def destroy(self, request: Request, message_id: str, **path: str) -> Response:
        key = uuid_of(message_id, "message_id")
        delete_message(conversation_id=self.conversation_id, message_id=key, access=self.access)
        return Response({"status": "deleted", "message_id": key})

    @clear_operation(CONVERSATIONS)
    def clear(self, request: Request, **path: str) -> Response:
        key = self.conversation_id
        if request.path.endswith("/"):
            raise ValidationError({"message_id": [ErrorDetail(NO_MESSAGE_ID, "required")]})
        deleted = clear_conversation(conversation_id=key, access=self.access, is_dead=is_dead)
        return Response({"status": "cleared", self.contract.id_name: key, "deleted": deleted})

    def _pages(self, owner_id: int) -> MessagePages:
        return MessagePages(self.request, self.contract, owner_id, self.conversation_id)

    def _from_query(self, request: Request) -> dict[str, Any]:
        """The discouraged form: role, content and tool_calls (as JSON) in the query string."""
        query: dict[str, Any] = {
            name: request.query_params[name]
            for name in NO_BODY_FIELDS
            if name in request.query_params
        }
        if "tool_calls" in query:
            query["tool_calls"] = self._loads(query["tool_calls"])
        return dict(reader(serializers.AppendSerializer).run_validation(query))

    @staticmethod
    def _loads(tool_calls: str) -> Any:
        try:
            return loads(tool_calls.encode("utf-8", "surrogatepass"))
        except (ParseError, ApiError):
            raise ValidationError({"tool_calls": [ErrorDetail(NOT_JSON, "invalid")]}) from None

    def _append(
        self, conversation_id: uuid.UUID, body: dict[str, Any]
    ) -> tuple[builtins.list[Row], bool]:
        options = {name: body.pop(name) for name in APPEND_OPTIONS if name in body}
        single = "messages" not in body
        given = [body] if single else body["messages"]
        key = idempotency_key_of(self.request)
        if key is not None and any("id" in fields for fields in given):
            raise ValidationError({"id": [ErrorDetail(TWO_IDENTITIES, "ambiguous")]})
        drafts, parents = drafts_of(given, self.contract)
        return append_drafts(
            conversation_id=conversation_id,
            drafts=drafts,
            parents=parents,
            access=self.access,
            key=key,
            **options,
            single=single,
            is_dead=is_dead,
        )

    def _answer(self, answered: tuple[builtins.list[Row], bool], *, single: bool) -> Response:
        stored, created = answered
        shown = appended(stored, self.contract, single=single)
        body = shown if single else {"messages": shown}
        return Response(body, status=201 if created else 200)


def _writes_answer(request: Request) -> bool:
    """Whether a PATCH is about what was said, and not about what the owner thinks of it."""
    if not isinstance(request.data, dict):
        return False
    if not request.data.keys() & set(serializers.ANSWER_NAMES):
        return False
    apart = request.data.keys() & {"rating", "rating_comment", "metadata"}
    if apart:
        raise ValidationError({name: [ErrorDetail(TWO_WRITES, "ambiguous")] for name in apart})
    return True
