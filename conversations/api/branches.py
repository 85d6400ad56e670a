"""Branches of a conversation over HTTP: …/{id}/branches and …/{id}/fork."""

from __future__ import annotations

import uuid
from typing import Any

from drf_spectacular.utils import (
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
    extend_schema_view,
    inline_serializer,
)
from rest_framework import serializers as drf
from rest_framework.request import Request
from rest_framework.response import Response

from conversations.api import parameters
from conversations.api.contracts import CONVERSATIONS, SESSIONS, Contract, page_links
from conversations.api.fields import StrictSerializer, StrictUUIDField, TitleField
from conversations.api.pagination import Listing, Order, page_of
from conversations.api.queries import conversation_from_model, read_conversation
from conversations.api.serializers import ConversationSerializer
from conversations.api.views import (
    ApiViewSet,
    idempotency_key_of,
    read_body,
    whole_number_in_path,
)
from conversations.chat.runtime.process_liveness import is_dead
from conversations.db.bulk_rows import Row
from conversations.db.compiled import slot
from conversations.models import Branch, Conversation
from conversations.selectors.branch_list import listed_branches, only_branch
from conversations.services.branch_placement import MAX_BRANCHES
from conversations.services.branches import delete_branch, fork_conversation
from conversations.services.titles import TITLE_CHARS, shortened

_COLUMNS = (
    *("number", "parent", "forked_after", "length", "last_sequence", "updated_at", "beginning"),
)


_BRANCH: dict[str, Any] = {
    "number": drf.IntegerField(help_text="0 is the line in which the conversation began."),
    "parent": drf.IntegerField(
        allow_null=True, help_text="The branch that it forked from; null for a beginning."
    ),
    "forked_after": drf.UUIDField(
        allow_null=True, help_text="The message that it forked after; null for a beginning."
    ),
    "length": drf.IntegerField(help_text="Messages from the beginning to the end of the branch."),
    "last_sequence": drf.IntegerField(help_text="For `expected_last_sequence`."),
    "first_words": drf.CharField(
        allow_null=True,
        help_text=f"Of its own first message, at most {TITLE_CHARS} characters; null for none.",
    ),
    "last_activity": drf.DateTimeField(help_text="The time of its newest message."),
    "active": drf.BooleanField(help_text="Whether it is the branch that is shown."),
}
_BRANCHES = inline_serializer("Branch", _BRANCH, many=True)


class ForkSerializer(StrictSerializer):
    """Where a fork ends, and how it is called."""

    message_id = StrictUUIDField(help_text="The last message that the new conversation gets.")
    title = TitleField(required=False, help_text="By default that of the conversation.")


def branch_operations(contract: Contract) -> Any:
    """Describes the operations on branches, by either name of a conversation."""
    name, title = contract.name, contract.name.title()
    number = OpenApiParameter(
        "branch",
        {"type": "integer", "minimum": 0, "maximum": MAX_BRANCHES},
        OpenApiParameter.PATH,
        description="The number of the branch.",
    )
    deleted: dict[str, Any] = {
        "status": drf.CharField(help_text="`deleted`"),
        contract.id_name: drf.UUIDField(),
        "branch": drf.IntegerField(),
        "deleted": drf.IntegerField(help_text="How many messages were deleted."),
    }
    return extend_schema_view(
        list=extend_schema(
            operation_id=f"{contract.operations}_branches_list",
            summary=f"The branches of a {name}, by number",
            description=f"A {name} without forks has one, with the number 0.",
            parameters=[parameters.CURSOR, parameters.PAGE_SIZE],
            responses=inline_serializer(
                f"{title}Branches", {"branches": _BRANCHES, **page_links()}
            ),
        ),
        destroy=extend_schema(
            operation_id=f"{contract.operations}_branches_destroy",
            summary=f"Delete a branch of a {name}",
            description=(
                "With the branches that forked from it and the messages that only these have. "
                "If the active branch is among them, the one that it forked from becomes active. "
                "The only branch is not deleted (409 `only_branch`)."
            ),
            parameters=[number],
            responses={200: inline_serializer(f"{title}BranchDeleted", deleted)},
        ),
    )


def fork_operation(contract: Contract) -> Any:
    again = "Already made, by the same request before."
    return extend_schema_view(
        create=extend_schema(
            operation_id=f"{contract.operations}_fork",
            summary=f"A new {contract.name} with the messages up to one of them",
            description=(
                "It has the owner, title, model, metadata and tags of this one, the messages from "
                "the beginning to `message_id` on its branch as a single line with ids of their "
                "own, and `forked_from`."
            ),
            parameters=[parameters.IDEMPOTENCY_KEY],
            request=ForkSerializer,
            responses={
                201: ConversationSerializer,
                200: OpenApiResponse(ConversationSerializer, description=again),
            },
        ),
    )


@branch_operations(CONVERSATIONS)
@extend_schema(tags=["branches"])
class BranchViewSet(ApiViewSet):
    queryset = Branch.objects.none()
    serializer_class = type(_BRANCHES)
    lookup_field = "branch"
    lookup_value_regex = "[^/]+"
    query_names = {"list": {"cursor", "page_size"}}
    read_on_replicas = ("list",)

    def list(self, request: Request, **path: str) -> Response:
        key = self.conversation_id
        owner, conversation = read_conversation(self.access, key)
        rows, links = page_of(request, _listing(owner.pk, key))
        if not rows and "cursor" not in request.query_params:
            line = only_branch(owner.pk, key)
            rows = [line] if line else []
        active = conversation["active_branch"]
        return Response({"branches": [_shown(row, active) for row in rows], **links})

    def destroy(self, request: Request, branch: str, **path: str) -> Response:
        key = self.conversation_id
        number = whole_number_in_path(branch, "branch", maximum=MAX_BRANCHES)
        deleted = delete_branch(
            conversation_id=key, number=number, access=self.access, is_dead=is_dead
        )
        answer = {"status": "deleted", self.contract.id_name: key}
        return Response(answer | {"branch": number, "deleted": deleted})


@branch_operations(SESSIONS)
@extend_schema(tags=["branches"])
class SessionBranchViewSet(BranchViewSet):
    contract = SESSIONS


@fork_operation(CONVERSATIONS)
@extend_schema(tags=["branches"])
class ForkViewSet(ApiViewSet):
    queryset = Conversation.objects.none()
    serializer_class = ConversationSerializer

    def create(self, request: Request, **path: str) -> Response:
        conversation, created = fork_conversation(
            conversation_id=self.conversation_id,
            access=self.access,
            key=idempotency_key_of(request),
            **read_body(request, ForkSerializer),
        )
        name = self.caller.name_of(conversation.user)
        shown = conversation_from_model(conversation, name)
        return Response(shown, status=201 if created else 200)


@fork_operation(SESSIONS)
@extend_schema(tags=["branches"])
class SessionForkViewSet(ForkViewSet):
    contract = SESSIONS


def _listing(owner_id: int, conversation_id: uuid.UUID) -> Listing:
    return Listing(
        build=lambda: listed_branches(slot("owner"), slot("conversation")),
        columns=_COLUMNS,
        order=Order(columns=("number",), descending=False),
        scope=f"branches:{conversation_id}",
        values={"owner": owner_id, "conversation": conversation_id},
        shape="branches",
    )


def _shown(row: Row, active: int) -> Row:
    beginning = row.pop("beginning")
    return {
        "number": row["number"],
        # That of a second beginning is none.
        "parent": row["parent"] if row["forked_after"] else None,
        "forked_after": row["forked_after"],
        "length": row["length"],
        "last_sequence": row["last_sequence"],
        "first_words": None if beginning is None else shortened(beginning),
        "last_activity": row["updated_at"],
        "active": row["number"] == active,
    }
