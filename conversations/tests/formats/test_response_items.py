"""Items of OpenAI's APIs as messages, and messages as items: whatever is stored reads as items that
strict readers accept."""

import json
import re
import uuid
from dataclasses import asdict

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conversations.formats import Malformed, MessageDraft, as_own_fields
from conversations.formats.response_items import items_of, message_fields
from conversations.services import InvalidValue
from conversations.services.drafts import check_draft
from conversations.tests import generated_messages as generated
from conversations.tests.api.openai.items import EXAMPLES, expected, read_strictly
from conversations.tests.sdk_messages import IMAGE, SDKS

GENERATED = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
ID = uuid.UUID("019a2f00000070008000000000000001")
READ = (
    *("role", "content", "parts", "tool_calls", "tool_call_id", "name", "sources", "status"),
    "extra",
)
TEXT = st.text(min_size=1, max_size=12)
IDS = st.from_regex(r"[a-z]{2,4}_[0-9a-f]{48}|\w[\w.:=+@~-]{0,20}", fullmatch=True).filter(
    lambda id_: not re.fullmatch(r"[a-z]{1,16}_[0-9a-f]{32}(_[0-9]+)?", id_)
)
OPTIONAL_TEXT = st.none() | TEXT


def stored(**fields):
    """The row of a message with these fields, as the database gives it back."""
    row = asdict(MessageDraft(**fields))
    return json.loads(json.dumps(row | {"created_at": None})) | {"id": str(ID)}


def stored_item(item):
    return stored(**message_fields(item))


def dumped(message):
    """The row of an SDK's message, as far as items are made of it. Raises what storing it does."""
    given = as_own_fields(message)
    fields = {"role": "user"} | {k: v for k, v in given.items() if k in READ}
    check_draft(MessageDraft(**fields), from_client=False)
    return stored(**fields)


def part(kind, **fields):
    return st.fixed_dictionaries({"type": st.just(kind), **fields})


TEXTS = (
    part("input_text", text=TEXT)
    | part("output_text", text=TEXT, annotations=st.just([]))
    | part("refusal", refusal=TEXT)
)
FILES = part("input_image", detail=st.sampled_from(["low", "auto"]), image_url=TEXT) | part(
    "input_file", file_id=TEXT, filename=OPTIONAL_TEXT
)
OUTPUT = TEXT | st.lists(part("input_text", text=TEXT) | FILES, min_size=1, max_size=3)
STATUS = st.sampled_from(["completed", "incomplete", "in_progress"])
ITEMS = st.one_of(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "system", "developer"]), "content": TEXT},
        optional={"type": st.just("message"), "status": STATUS, "id": IDS},
    ),
    part(
        "message",
        role=st.sampled_from(["user", "assistant"]),
        status=STATUS,
        content=st.lists(TEXTS | FILES, min_size=1, max_size=4),
    ),
    part("function_call", id=IDS, call_id=TEXT, name=TEXT, arguments=st.text(), status=STATUS),
    part("custom_tool_call", id=IDS, call_id=TEXT, name=TEXT, input=st.text()),
    part("function_call_output", call_id=TEXT, output=OUTPUT, status=STATUS),
    part("custom_tool_call_output", id=IDS, call_id=TEXT, output=OUTPUT),
    part(
        "reasoning",
        id=IDS,
        summary=st.lists(part("summary_text", text=TEXT), max_size=2),
        content=st.lists(part("reasoning_text", text=TEXT), max_size=2),
        encrypted_content=OPTIONAL_TEXT,
    ),
    part("file_search_call", id=IDS, queries=st.lists(TEXT, max_size=2), status=STATUS),
    part("mcp_call", id=IDS, name=TEXT, arguments=TEXT, server_label=TEXT, output=OPTIONAL_TEXT),
    part("code_interpreter_call", id=IDS, code=TEXT, container_id=IDS, status=STATUS),
    part("image_generation_call", id=IDS, result=OPTIONAL_TEXT, status=st.just("completed")),
    part("compaction", id=IDS, encrypted_content=TEXT),
    part("local_shell_call_output", id=IDS, output=TEXT),
    part("mcp_approval_response", approval_request_id=TEXT, approve=st.booleans()),
)


@GENERATED
@given(ITEMS)
def test_a_generated_item_comes_back_key_for_key(sent):
    (item,) = items_of(stored_item(sent))
    wanted = expected(sent)
    assert {key: item[key] for key in wanted} == wanted
    read_strictly(item)


@GENERATED
@given(ITEMS)
def test_an_item_that_is_sent_again_stays_the_same(sent):
    (item,) = items_of(stored_item(sent))
    (again,) = items_of(stored_item(item))
    assert again == item


@GENERATED
@given(
    generated.BY_ROLE
    | generated.BY_TYPE
    | generated.WRAPPED
    | generated.CALL_ITEMS
    | generated.RESULTS
)
def test_any_message_of_an_sdk_reads_as_items(message):
    try:
        row = dumped(message)
    except (Malformed, InvalidValue):
        return
    items = items_of(row)
    assert items
    assert len({item["id"] for item in items}) == len(items)
    for item in items:
        read_strictly(item)


@GENERATED
@given(generated.WHOLE | generated.ANY_OBJECT)
def test_whatever_is_accepted_reads_as_items_with_ids(message):
    try:
        row = dumped(message)
    except (Malformed, InvalidValue):
        return
    items = items_of(row)
    assert items
    assert all(item["id"] and item["type"] for item in items)


KEYS = TEXT | st.sampled_from(["type", "role", "content"])


@GENERATED
@given(st.dictionaries(KEYS, generated.JSON | st.sampled_from(["message", "user", "reasoning"])))
def test_an_item_is_read_or_refused(item):
    try:
        fields = message_fields(item)
    except Malformed:
        return
    assert items_of(stored(**fields))


@pytest.mark.parametrize("sdk", SDKS, ids=lambda sdk: sdk.__name__)
def test_messages_of_every_sdk_read_as_items(sdk):
    for message in sdk().values():
        for item in items_of(dumped(message)):
            read_strictly(item)


def texts(item):
    return [part.get("text") for part in item["content"]]


def test_an_answer_with_calls_reads_as_a_message_and_calls():
    calls = [
        {"id": f"call_{n}", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        for n in range(2)
    ]
    said, first, second = items_of(stored(role="assistant", content="Let me see", tool_calls=calls))
    assert (said["id"], texts(said)) == (f"msg_{ID.hex}", ["Let me see"])
    assert [first["id"], second["id"]] == [f"fc_{ID.hex}", f"fc_{ID.hex}_1"]
    assert [first["call_id"], second["call_id"]] == ["call_0", "call_1"]
    (alone,) = items_of(stored(role="assistant", content="", tool_calls=calls[:1]))
    assert alone["id"] == f"fc_{ID.hex}"


def test_the_reasoning_of_a_turn_comes_before_its_text():
    thought = {
        "type": "reasoning",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": "Hm"}],
    }
    for fields in ({"parts": [thought]}, {"extra": {"reasoning_content": "Hm"}}):
        items = items_of(stored(role="assistant", content="Yes", **fields))
        assert [item["type"] for item in items] == ["reasoning", "message"]
        assert items[0]["content"] == thought["content"]
        assert texts(items[1]) == ["Yes"]


def test_a_question_with_images_reads_as_text_and_images():
    image = {"type": "image_url", "image_url": {"url": IMAGE, "detail": "low"}}
    (item,) = items_of(stored(role="user", content="What is it?", parts=[image]))
    assert item["content"] == [
        {"type": "input_text", "text": "What is it?"},
        {"type": "input_image", "image_url": IMAGE, "detail": "low"},
    ]
    asked = [{"type": "text", "text": "What is it?"}, image]
    (same,) = items_of(stored(role="user", content="What is it?", parts=asked))
    assert same == item


def test_blocks_of_anthropic_read_in_their_order():
    blocks = [
        {"type": "thinking", "thinking": "Hm", "signature": "s"},
        {"type": "text", "text": "I look"},
        {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": 1}},
        {"type": "text", "text": "again"},
    ]
    items = items_of(dumped({"role": "assistant", "content": blocks}))
    assert [item["type"] for item in items] == [
        "reasoning", "message", "function_call", "message"
    ]  # fmt: skip
    assert items[2]["arguments"] == '{"at": 1}'
    assert len({item["id"] for item in items}) == 4
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "There"}
    (told,) = items_of(dumped({"role": "user", "content": [result]}))
    assert (told["type"], told["call_id"], told["output"]) == (
        "function_call_output", "toolu_1", "There"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        ("complete", "completed"),
        ("streaming", "in_progress"),
        ("stopped", "incomplete"),
        ("interrupted", "incomplete"),
        ("failed", "incomplete"),
    ],
)
def test_a_status_has_openais_name(status, shown):
    (item,) = items_of(stored(role="assistant", content="", status=status))
    assert (item["status"], item["content"]) == (shown, [])


@pytest.mark.parametrize(
    "row",
    [
        {"role": "user", "content": ""},
        {"role": "tool", "content": ""},
        {"role": "tool", "content": "x", "parts": [{"type": "of_tomorrow"}]},
        {"role": "assistant", "content": "", "parts": [{"type": "compaction_trigger"}]},
        {"role": "assistant", "content": "", "parts": [{"type": "web_search_call"}]},
        {"role": "assistant", "content": "a", "parts": ["a", {"type": "audio", "audio": {}}]},
    ],
)
def test_what_no_item_can_say_reads_as_a_valid_one(row):
    (item,) = items_of(stored(**row))
    read_strictly(item)


@pytest.mark.parametrize(
    ("item", "at"),
    [
        ({}, "role"),
        ({"type": "of_tomorrow"}, "type"),
        ({"type": ["message"]}, "type"),
        ({"type": "compaction_trigger"}, "type"),
        ({"role": "tool", "content": "x"}, "role"),
        ({"role": "user"}, "content"),
        ({"role": "user", "content": {}}, "content"),
        ({"role": "user", "content": "x", "status": "streaming"}, "status"),
        ({"role": "user", "content": "x", "sequence": 1}, "sequence"),
        ({"role": "user", "content": [{"type": "image_url"}]}, "content.0.type"),
        ({"role": "user", "content": [{"type": "input_text"}]}, "content.0.text"),
        (
            {"role": "user", "content": [{"type": "input_image", "detail": "huge"}]},
            "content.0.detail",
        ),
        ({"type": "function_call", "name": "f", "arguments": "{}"}, "call_id"),
        ({"type": "function_call", "call_id": "c", "name": "f", "arguments": {}}, "arguments"),
        ({"type": "function_call_output", "call_id": "c"}, "output"),
        ({"type": "reasoning", "summary": [{"type": "text", "text": "x"}]}, "summary.0.type"),
        ({"type": "mcp_call", "id": 7, "name": "f", "arguments": "", "server_label": "s"}, "id"),
    ],
)
def test_a_refusal_names_the_place(item, at):
    with pytest.raises(Malformed) as refused:
        message_fields(item)
    assert refused.value.field == at


def test_an_id_that_is_a_uuid_is_not_that_of_the_message():
    for name in ("message", "function_call", "reasoning"):
        fields = message_fields(EXAMPLES[name] | {"id": str(ID)})
        assert "id" not in fields


@pytest.mark.parametrize(
    "given",
    ["", "a/b", "..", "a\n", " a", "x" * 256, f"fc_{'0' * 32}", f"rs_{'f' * 32}_1", 7, None],
)
def test_an_id_that_leads_nowhere_or_to_another_item_is_not_kept(given):
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    extra = {"type": "function_call", "id": given}
    (item,) = items_of(stored(role="assistant", content="", tool_calls=[call], extra=extra))
    assert item["id"] == f"fc_{ID.hex}"
