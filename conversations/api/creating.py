"""New conversations, with their first messages, from the bodies of requests."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from rest_framework.exceptions import ErrorDetail, ValidationError

from conversations.api.contracts import Contract
from conversations.api.message_pages import appended
from conversations.api.queries import conversation_from_model
from conversations.db.bulk_rows import Row
from conversations.models import Caller
from conversations.services import MessageDraft, NewConversation
from conversations.services.branch_placement import Parent
from conversations.services.bulk import Created

TWO_IDENTITIES = "Send an `id` or an Idempotency-Key, not both."


def new_conversation(body: dict[str, Any], *, owner: User, contract: Contract) -> NewConversation:
    """What a validated body asks for; its `user_id` has become the owner."""
    values = {name: value for name, value in body.items() if name not in ("user_id", "messages")}
    drafts, parents = drafts_of(body.get("messages") or [], contract)
    return NewConversation(owner=owner, values=values, messages=drafts, parents=parents)


def drafts_of(
    messages: list[dict[str, Any]], contract: Contract
) -> tuple[list[MessageDraft], list[Parent]]:
    """The messages of a validated body, and what each of them follows."""
    default = {"provider": contract.default_provider}
    parents = [fields.pop("parent_id", None) for fields in messages]
    return [MessageDraft(**default | fields) for fields in messages], parents


def check_one_identity(body: dict[str, Any], prefix: str = "") -> None:
    """Refuse ids, of the conversation or of messages, beside an Idempotency-Key."""
    named = {"id": body} | {
        f"messages.{place}.id": message for place, message in enumerate(body.get("messages") or [])
    }
    for path, fields in named.items():
        if "id" in fields:
            raise ValidationError({prefix + path: [ErrorDetail(TWO_IDENTITIES, "ambiguous")]})


def created_row(created: Created, caller: Caller, contract: Contract) -> Row:
    """As responses have it, with the messages that it was asked to begin with."""
    conversation = created.conversation
    row = conversation_from_model(conversation, caller.name_of(conversation.user))
    if created.messages:
        row["messages"] = appended(created.messages, contract)
    return row
