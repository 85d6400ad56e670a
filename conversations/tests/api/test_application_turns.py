"""Answers that an application writes itself: opened by POST, continued and ended by PATCH."""

from datetime import timedelta
from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import call_command
from django.utils import timezone

from conversations.models import Message
from conversations.models.interrupted import INTERRUPTED
from conversations.services import get_chat_history
from conversations.tests.api.answers import OPENING, Answer, code_of
from conversations.tests.chat.turns import begin

pytestmark = pytest.mark.django_db

CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
THOUGHT = {"type": "reasoning", "text": "Let me think"}


@pytest.fixture
def answer(api, alice):
    return Answer(api, alice)


def abandon(answer):
    old = timezone.now() - timedelta(seconds=31)
    Message.objects.filter(id=answer.id).update(updated_at=old)


# Opening


def test_a_question_and_the_answer_to_it_are_opened_together_once(api, alice):
    url = Answer(api, alice).messages
    Message.objects.all().delete()
    body = {"messages": [{"role": "user", "content": "Hi"}, OPENING | {"content": "He"}]}
    first = api.post(url, body, headers={"Idempotency-Key": "k"})
    question, answer = first.json()["messages"]
    assert (first.status_code, question["status"], answer["status"]) == (
        201,
        "complete",
        "streaming",
    )
    # The same request again, whatever has become of the answer since.
    for change in (
        {"append": {"content": "llo"}, "offset": 2},
        {"status": "complete", "model": "m", "finish_reason": "stop", "extra": {"a": 1}},
    ):
        assert api.patch(f"{url}/{answer['id']}", change).status_code == 200
        again = api.post(url, body, headers={"Idempotency-Key": "k"})
        assert (again.status_code, again.json()["messages"][1]["id"]) == (200, answer["id"])
    assert again.json()["messages"][1]["content"] == "Hello"
    other = {"messages": [{"role": "user", "content": "Hi"}, OPENING | {"content": "Ha"}]}
    refused = api.post(url, other, headers={"Idempotency-Key": "k"})
    assert code_of(refused) == (409, "key_reused", "Idempotency-Key")
    assert Message.objects.count() == 2


def test_one_answer_is_open_in_a_conversation(api, answer):
    assert code_of(api.post(answer.messages, OPENING)) == (409, "turn_running", "conversation_id")
    two = {"messages": [OPENING, OPENING]}
    assert code_of(api.post(answer.messages, two)) == (400, "two_answers", "messages")
    # The results of tools and whatever else is said come after it.
    assert api.post(answer.messages, {"role": "user", "content": "And?"}).json()["sequence"] == 2
    assert answer.end(content="Done.").status_code == 200
    assert api.post(answer.messages, OPENING).json()["sequence"] == 3


def test_an_abandoned_answer_makes_room(api, answer):
    answer.say("so far", 0)
    abandon(answer)
    assert api.post(answer.messages, OPENING).status_code == 201
    assert (answer.stored.status, answer.stored.content) == ("interrupted", "so far")


def test_only_an_answer_can_be_opened(api, answer):
    refused = api.post(answer.messages, {"role": "user", "content": "x", "status": "streaming"})
    assert code_of(refused) == (400, "not_an_answer", "status")


def test_it_is_the_same_by_the_name_of_sessions(api, alice):
    answer = Answer(api, alice, base="/api/chat-history/sessions")
    assert answer.stored.provider == "ollama"
    assert answer.say("Hello", 0).json()["offset"] == 5
    bad = answer.patch(append={"content": "x"}, offset=-1)
    assert (bad.status_code, bad.json()["detail"][0]["loc"]) == (422, ["body", "offset"])
    assert code_of(answer.say("x", 9)) == (409, "offset_mismatch", "offset")
    assert answer.end(offset=5).json()["status"] == "complete"


# Pieces


def test_a_piece_is_stored_at_its_offset_and_only_once(answer):
    # Characters are code points: 😀 is one.
    for text, offset, length in [
        ("Hé 😀", 0, 4),
        ("Hé 😀", 0, 4),  # repeated
        (" you", 4, 8),
        ("é 😀", 1, 8),  # late
        ("you two", 5, 12),  # overlapping
        ("", 12, 12),
    ]:
        said = answer.say(text, offset)
        assert (said.status_code, said.json()) == (
            200,
            {
                "id": answer.id,
                "status": "streaming",
                "offset": length,
                "parts_offset": 0,
                "tool_calls_offset": 0,
                "stopping": False,
            },
        )
    assert answer.stored.content == "Hé 😀 you two"
    assert answer.stored.status == "streaming"


@pytest.mark.parametrize(
    "body",
    [
        {"append": {"content": "x"}, "offset": 6},  # beyond
        {"append": {"content": "xy"}, "offset": 3},  # something else is there
        {"append": {"content": "lo you", "parts": [THOUGHT]}, "offset": 3, "parts_offset": 1},
        {"content": "Hallo"},
    ],
)
def test_a_piece_that_does_not_continue_is_refused_with_what_is_stored(answer, body):
    answer.say("Hello", 0)
    refused = answer.patch(**body)
    name = "parts_offset" if "parts_offset" in body else "offset"
    assert code_of(refused) == (409, "offset_mismatch", name)
    told = refused.json()
    assert (told["offset"], told["parts_offset"], told["status"]) == (5, 0, "streaming")
    assert (answer.stored.content, answer.stored.parts) == ("Hello", None)


def test_the_whole_text_so_far_may_be_sent_instead(answer):
    for text, stored in [("Hel", "Hel"), ("Hello", "Hello"), ("Hel", "Hello"), ("", "Hello")]:
        assert answer.patch(content=text).json()["offset"] == len(stored)
        assert answer.stored.content == stored


def test_an_offset_counts_only_with_what_it_is_of(answer):
    said = answer.say("Hello", 0, parts_offset=7)
    assert (said.status_code, said.json()["parts_offset"]) == (200, 0)
    assert answer.patch(append={}, offset=99).json()["offset"] == 5
    assert answer.say("lo you", 3, tool_calls_offset=7).json()["offset"] == 9
    # An end is compared with all of them.
    assert code_of(answer.end(parts_offset=1)) == (409, "offset_mismatch", "parts_offset")


def test_parts_and_tool_calls_are_added_to(answer):
    longer = THOUGHT | {"text": "Let me think about it."}
    other = CALL | {"id": "d"}
    for body, lengths in [
        ({"append": {"parts": [THOUGHT]}, "parts_offset": 0}, (0, 1, 0)),
        ({"append": {"parts": [longer]}, "parts_offset": 0}, (0, 1, 0)),
        ({"append": {"parts": [THOUGHT]}, "parts_offset": 0}, (0, 1, 0)),  # late
        ({"append": {"tool_calls": [CALL]}, "tool_calls_offset": 0}, (0, 1, 1)),
        ({"append": {"tool_calls": [CALL, other]}, "tool_calls_offset": 0}, (0, 1, 2)),
        (
            {
                "append": {"content": "Hi", "parts": [longer, THOUGHT]},
                "offset": 0,
                "parts_offset": 0,
            },
            (2, 2, 2),
        ),
    ]:
        said = answer.patch(**body)
        assert said.status_code == 200, said.json()
        assert tuple(said.json()[f"{name}offset"] for name in ("", "parts_", "tool_calls_")) == (
            lengths
        )
    stored = answer.stored
    assert (stored.parts, stored.tool_calls) == ([longer, THOUGHT], [CALL, other])
    refused = answer.patch(append={"tool_calls": [other]}, tool_calls_offset=0)
    assert code_of(refused) == (409, "offset_mismatch", "tool_calls_offset")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"append": {"content": "x"}}, ("required", "offset")),
        ({"append": {"parts": [1]}}, ("required", "parts_offset")),
        ({"append": {"tool_calls": [CALL]}}, ("required", "tool_calls_offset")),
        ({"append": {"content": "x"}, "offset": "0"}, ("invalid", "offset")),
        ({"append": {"content": "x"}, "offset": -1}, ("min_value", "offset")),
        ({"append": {"content": "a\x00"}, "offset": 0}, ("*", "append.content")),
        ({"append": {"content": "x", "role": "user"}, "offset": 0}, ("*", "append.role")),
        ({"append": {"tool_calls": ["x"]}, "tool_calls_offset": 0}, ("*", "append.tool_calls.0")),
        ({"append": {"parts": {}}, "parts_offset": 0}, ("not_a_list", "append.parts")),
        ({"append": "x", "offset": 0}, ("invalid", "append")),
        ({"append": None}, ("null", "append")),
        ({"append": {"content": "x"}, "content": "x", "offset": 0}, ("ambiguous", "content")),
        ({"content": "a\x00"}, ("null_characters_not_allowed", "content")),
        ({"append": {"content": "x"}, "offset": 0, "model": "m"}, ("without_status", "model")),
        ({"append": {}, "rating": 1}, ("ambiguous", "rating")),
        ({"append": {}, "offst": 1}, ("unknown_field", "offst")),
        ({"apend": {}}, ("unknown_field", "apend")),
        ({"status": "streaming"}, ("invalid_choice", "status")),
        ({"status": "interrupted"}, ("invalid_choice", "status")),
        ({"status": "failed"}, ("required", "error")),
        ({"status": "failed", "error": ""}, ("required", "error")),
        ({"status": "complete", "prompt_tokens": -1}, ("min_value", "prompt_tokens")),
        ({"status": "complete", "model": "m" * 256}, ("max_length", "model")),
        ({"status": "complete", "extra": []}, ("not_an_object", "extra")),
        ({"status": "complete"}, ("blank", "content")),
    ],
)
def test_bad_input_names_the_field_and_changes_nothing(answer, body, error):
    refused = answer.patch(**body)
    status, code, field = code_of(refused)
    assert (status, field) == (400, error[1])
    assert error[0] in (code, "*")
    stored = answer.stored
    assert (stored.content, stored.status, stored.parts) == ("", "streaming", None)


def test_an_answer_is_no_longer_than_a_request(answer, settings):
    settings.CHAT_MAX_BODY_BYTES = 1_000
    assert answer.say("x" * 600, 0).status_code == 200
    assert code_of(answer.say("x" * 600, 600)) == (400, "max_length", "append.content")
    parts = [{"text": "x" * 600}]
    assert answer.patch(append={"parts": parts}, parts_offset=0).status_code == 200
    refused = answer.patch(append={"parts": parts}, parts_offset=1)
    assert code_of(refused) == (400, "too_large", "append.parts")


# The end


def test_an_end_says_what_is_known_then(answer):
    answer.say("Hello", 0)
    end = {
        "model": "gpt-4o",
        "provider": "openai",
        "finish_reason": "stop",
        "prompt_tokens": 10,
        "completion_tokens": 2,
        "cached_tokens": 4,
        "reasoning_tokens": 1,
        "cost": "0.0000125",
        "latency_ms": 900,
        "first_token_ms": 120,
        "sources": [{"id": 1}],
        "detected_mode": "sales",
        "extra": {"service_tier": "default"},
    }
    ended = answer.end(append={"content": " you"}, offset=5, **end)
    assert (ended.status_code, ended.json()["status"], ended.json()["offset"]) == (
        200,
        "complete",
        9,
    )
    told = answer.client.get(answer.url).json()
    assert told | end | {"content": "Hello you", "error": None, "status": "complete"} == told
    stored = answer.stored
    assert (stored.cost, stored.runner) == (Decimal("0.0000125"), None)
    # The same end again, or a part of what it said; but no other, and no more text.
    assert answer.end(append={"content": " you"}, offset=5, **end).status_code == 200
    assert answer.end(offset=9, model="gpt-4o").status_code == 200
    assert answer.say("Hel", 0).json()["status"] == "complete"
    for other in (
        {"status": "stopped"},
        {"status": "complete", "model": "other"},
        {"status": "complete", "offset": 5},
        {"append": {"content": "!"}, "offset": 9},
        {"append": {"content": "Ha"}, "offset": 0},
        {"append": {"parts": [1]}, "parts_offset": 0},
        {"append": {}},
    ):
        refused = answer.patch(**other)
        assert code_of(refused) == (409, "turn_ended", None)
        assert refused.json()["status"] == "complete"
    # Afterwards a PATCH is what it is for every message.
    assert answer.patch(rating=1, metadata={"a": 1}).json()["rating"] == 1


def test_an_end_that_says_where_it_is_finds_what_is_missing_or_too_much(answer):
    answer.say("Hello", 0)
    for body in ({"offset": 6}, {"offset": 4}, {"content": "Hell"}):
        assert code_of(answer.end(**body)) == (409, "offset_mismatch", "offset")
    assert answer.stored.status == "streaming"
    assert answer.end(content="Hello").status_code == 200


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ({"status": "stopped"}, ("stopped", "stopped", None)),
        ({"status": "failed", "error": "No quota."}, ("failed", None, "No quota.")),
        (
            {"status": "failed", "error": "No quota.", "finish_reason": "quota"},
            ("failed", "quota", "No quota."),
        ),
    ],
)
def test_an_answer_may_end_before_it_said_anything(answer, end, expected):
    assert answer.patch(**end).status_code == 200
    stored = answer.stored
    assert (stored.status, stored.finish_reason, stored.error) == expected


def test_an_answer_of_tool_calls_alone_is_complete(answer):
    ended = answer.end(append={"tool_calls": [CALL]}, tool_calls_offset=0)
    assert (ended.status_code, ended.json()["tool_calls_offset"]) == (200, 1)
    assert answer.stored.tool_calls == [CALL]


def test_an_answer_is_found_by_search_once_it_has_ended(api, answer):
    answer.say("the lighthouse", 0)
    assert api.get("/api/search?q=lighthouse").json()["results"] == []
    answer.end()
    found = api.get("/api/search?q=lighthouse").json()["results"]
    assert [hit["message"]["id"] for hit in found] == [answer.id]


def test_a_message_that_was_never_open_cannot_be_written(api, answer):
    answer.end(content="Done.")
    said = api.post(answer.messages, {"role": "user", "content": "Thanks"}).json()
    refused = api.patch(f"{answer.messages}/{said['id']}", {"content": "Thanks a lot"})
    assert code_of(refused) == (409, "turn_ended", None)
    assert get_chat_history(conversation_id=answer.chat.pk)[1].content == "Thanks"


# Stops and silence


def test_whoever_asks_for_a_stop_reaches_the_application(api, answer):
    answer.say("Hello", 0)
    stopped = api.post(f"/api/chat/streams/{answer.id}/stop")
    assert stopped.json() == {"status": "stopping", "message_id": answer.id}
    assert answer.say(" you", 5).json()["stopping"] is True
    assert answer.patch(append={}).json()["stopping"] is True
    assert answer.patch(status="stopped").json()["stopping"] is False
    assert (answer.stored.status, answer.stored.finish_reason) == ("stopped", "stopped")


def test_a_stop_that_the_application_does_not_heed_leaves_no_trace(api, answer):
    answer.say("Hello", 0)
    api.post(f"/api/chat/streams/{answer.id}/stop")
    answer.end()
    assert (answer.stored.status, answer.stored.finish_reason) == ("complete", None)


def test_each_write_is_a_sign_of_life(answer):
    for body in (
        {"append": {}},
        {"append": {"content": "x"}, "offset": 0},
        {"append": {"content": "x"}, "offset": 0},
        {"append": {"parts": [1]}, "parts_offset": 0},
    ):
        old = timezone.now() - timedelta(seconds=20)
        Message.objects.filter(id=answer.id).update(updated_at=old)
        assert answer.patch(**body).status_code == 200
        assert answer.stored.updated_at > old + timedelta(seconds=10)
    call_command("reap_interrupted", stdout=StringIO())
    assert answer.stored.status == "streaming"


def test_an_answer_without_a_sign_of_life_is_interrupted_for_good(api, answer):
    answer.say("so far", 0)
    abandon(answer)
    assert api.get(answer.url).json()["error"] == INTERRUPTED
    # Also before its row says so.
    for body in ({"append": {"content": "!"}, "offset": 6}, {"append": {}}, {"status": "complete"}):
        refused = answer.patch(**body)
        assert code_of(refused) == (409, "turn_ended", None)
        assert refused.json()["status"] == "interrupted"
    # What is stored is known to be.
    assert answer.say("far", 3).json()["status"] == "interrupted"
    call_command("reap_interrupted", stdout=StringIO())
    stored = answer.stored
    assert (stored.status, stored.content, stored.runner) == ("interrupted", "so far", None)
    assert code_of(answer.end()) == (409, "turn_ended", None)


def test_metadata_and_ratings_are_no_sign_of_life_and_no_end(answer):
    before = answer.stored.updated_at
    assert answer.patch(rating=1, metadata={"a": 1}).json()["status"] == "streaming"
    assert answer.stored.updated_at == before


def test_an_answer_of_the_server_cannot_be_written(api, alice):
    turn = begin(alice, runner="r")
    url = f"/api/conversations/{turn.conversation_id}/messages/{turn.id}"
    for body in ({"append": {"content": "x"}, "offset": 0}, {"append": {}}, {"status": "stopped"}):
        assert code_of(api.patch(url, body)) == (409, "turn_running", "message_id")
    assert Message.objects.get(id=turn.id).content == ""
