"""All lists of message columns derive from `formats/message.py`, which equals the model."""

from conversations.api.serializers import (
    PLACE_ON_BRANCHES,
    MessageSerializer,
    NewMessageSerializer,
)
from conversations.formats import DRAFT_FIELDS, RECORDED_FIELDS, MessageDraft
from conversations.formats.message_reader import ROLES
from conversations.formats.sdk_keys import LANGCHAIN_ROLES, STATUSES, WHOLE_ITEMS
from conversations.formats.sdk_message import MAX_CHARS
from conversations.formats.token_usage import LARGEST_COUNT
from conversations.formats.tool_calls import MAX_ID_CHARS
from conversations.models import Message, Role, Status
from conversations.services.drafts import OUT_OF_RANGE

# What a message has only once it is stored: whose it is, its place, and when it last changed.
PLACE = {"user", "conversation", "sequence", "branch", "updated_at"}
NEVER_SENT = {"rating", "rating_comment", "emptied_at"}


def test_the_list_names_every_column_of_the_model():
    columns = {column.name for column in Message._meta.concrete_fields}
    assert columns - PLACE == set(DRAFT_FIELDS)


def test_a_draft_has_the_defaults_of_the_model():
    draft = MessageDraft(role="user")
    for column in Message._meta.concrete_fields:
        if column.name in RECORDED_FIELDS and column.name not in {"role", "created_at"}:
            assert getattr(draft, column.name) == column.get_default(), column.name


def test_the_api_answers_every_column_that_leaves_the_server():
    place = {"id", "conversation_id", "sequence", *PLACE_ON_BRANCHES}
    assert set(MessageSerializer().fields) == {*place, *RECORDED_FIELDS, "updated_at"}


def test_the_api_reads_every_column_that_a_client_sets():
    read = set(NewMessageSerializer().fields)
    assert read == set(RECORDED_FIELDS) - NEVER_SENT | {"id", "parent_id"}


def test_a_request_field_is_as_wide_as_its_column():
    fields = NewMessageSerializer().fields
    for name in ("tool_call_id", "name", "provider", "model", "detected_mode", "finish_reason"):
        assert fields[name].max_length == Message._meta.get_field(name).max_length


def test_what_is_read_of_an_sdk_fits_the_columns():
    assert set(Role.values) == ROLES
    assert {*LANGCHAIN_ROLES.values(), *WHOLE_ITEMS.values()} <= ROLES
    assert set(STATUSES.values()) <= set(Status.values) - {Status.STREAMING}
    assert not set(STATUSES) & set(Status.values)
    limits = {**MAX_CHARS, "tool_call_id": MAX_ID_CHARS}
    for name, limit in limits.items():
        assert Message._meta.get_field(name).max_length == limit
    assert f"{LARGEST_COUNT:,}" in OUT_OF_RANGE
