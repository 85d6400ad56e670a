"""The OpenAPI page says what a reader and a generated client need of every operation."""

import re

import pytest
import yaml
from django.core.management import call_command
from drf_spectacular.generators import SchemaGenerator

from conversations.api.all_messages import AnyMessageViewSet
from conversations.api.branches import BranchViewSet, SessionBranchViewSet
from conversations.api.changes import ChangesViewSet
from conversations.api.conversations import ConversationViewSet, UserConversationViewSet
from conversations.api.messages import MessageViewSet
from conversations.api.search import SearchViewSet
from conversations.api.sessions import SessionMessageViewSet, SessionViewSet
from conversations.api.usage import UsageViewSet
from conversations.tests.api.contract.openapi import SCHEMA_FILE, operations, schema

ALL = pytest.mark.parametrize(
    ("method", "path", "operation"), operations(), ids=lambda value: str(value)[:60]
)

# An EventSource sends no token.
TICKETED = {"chat_ask_stream", "chat_stream"}


def test_the_committed_page_is_current(tmp_path):
    fresh = tmp_path / "openapi.yaml"
    call_command("spectacular", file=str(fresh), validate=True, fail_on_warn=True)
    assert fresh.read_text() == SCHEMA_FILE.read_text(), "run make schema"


def test_a_server_answers_the_same_page_each_time():
    first, second = (SchemaGenerator().get_schema(request=None, public=True) for _ in range(2))
    assert first == second


@ALL
def test_an_operation_has_a_name_a_summary_and_a_tag(method, path, operation):
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", operation["operationId"])
    assert operation["summary"][0].isupper()
    assert not operation["summary"].endswith(".")
    assert set(operation["tags"]) <= {tag["name"] for tag in schema()["tags"]}


@ALL
def test_an_operation_names_its_errors_and_who_may_call(method, path, operation):
    answers = set(operation["responses"])
    assert {"401", "404", "429", "500", "503"} <= answers
    assert answers & {"200", "201"}
    assert answers & {"400", "422"}
    ticket = [{"ticket": []}] if operation["operationId"] in TICKETED else []
    assert operation["security"] == [*ticket, {"token": []}, {"session": []}]


@pytest.mark.parametrize(
    ("path", "view"),
    [
        ("/api/conversations", ConversationViewSet),
        ("/api/users/{user}/conversations", UserConversationViewSet),
        ("/api/changes", ChangesViewSet),
        ("/api/conversations/{conversation_id}/branches", BranchViewSet),
        ("/api/chat-history/sessions/{session_id}/branches", SessionBranchViewSet),
        ("/api/conversations/{conversation_id}/messages", MessageViewSet),
        ("/api/chat-history/sessions", SessionViewSet),
        ("/api/messages", AnyMessageViewSet),
        ("/api/search", SearchViewSet),
        ("/api/usage", UsageViewSet),
        ("/api/chat-history/sessions/{session_id}/messages", SessionMessageViewSet),
    ],
)
def test_a_list_shows_every_query_parameter_that_it_takes(path, view):
    shown = schema()["paths"][path]["get"]["parameters"]
    names = {parameter["name"] for parameter in shown if parameter["in"] == "query"}
    assert names == set(view.query_names["list"])


def test_no_two_operations_have_one_name():
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(names) == len(set(names))


def test_request_bodies_take_no_unknown_fields():
    shapes = schema()["components"]["schemas"]
    open_ones = [
        name
        for name, shape in shapes.items()
        if name.endswith("Request")
        and "properties" in shape
        and shape.get("additionalProperties") is not False
    ]
    assert not open_ones


def test_the_page_is_openapi_3_1():
    assert yaml.safe_load(SCHEMA_FILE.read_text())["openapi"].startswith("3.1.")
