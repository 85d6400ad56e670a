"""What Schemathesis once found, so that it stays found."""

import pytest

from conversations.tests.factories import make_conversation

pytestmark = pytest.mark.django_db
LIST = "/api/conversations"


@pytest.fixture
def chat(alice):
    return make_conversation(alice, 4)


def messages_of(chat):
    return f"{LIST}/{chat.pk}/messages"


def test_a_method_that_is_not_there_is_405_whatever_the_query_says(api):
    assert api.put(f"{LIST}?user_id=alice").status_code == 405


@pytest.mark.parametrize("number", [1e22, -6.6e20, 1e300])
def test_a_number_that_jsonb_spells_out_can_be_read_back(api, number):
    asked = {"metadata": {"big": number, "list": [number]}}
    chat = api.post(LIST, asked).json()["id"]
    answers = [
        api.post(LIST),  # the latest one
        api.patch(f"{LIST}/{chat}", {"pinned": True}),
        api.get(f"{LIST}/{chat}"),
        api.get(LIST),
    ]
    assert [answer.status_code for answer in answers] == [200] * 4
    assert answers[0].json()["metadata"] == asked["metadata"]


def test_a_whole_number_may_have_a_point(api, chat):
    said = {"role": "user", "content": "x", "prompt_tokens": 5.0, "expected_last_sequence": 4.0}
    answer = api.post(messages_of(chat), said)
    assert (answer.status_code, answer.json()["prompt_tokens"]) == (201, 5)
    refused = api.post(messages_of(chat), said | {"prompt_tokens": 5.5})
    assert refused.json()["errors"][0]["attr"] == "prompt_tokens"


@pytest.mark.parametrize("name", ["title", "created_after", "pinned", "metadata_key"])
def test_an_empty_filter_is_refused_by_name(api, name):
    for value in ("", "%20"):
        answer = api.get(f"{LIST}?{name}={value}")
        assert (answer.status_code, answer.json()["errors"][0]["attr"]) == (400, name)


def test_pages_keep_a_filter_that_is_given_twice(api, chat):
    page = api.get(f"{messages_of(chat)}?role=user&role=assistant&page_size=1").json()
    following = api.get(page["next"])
    assert following.json()["messages"][0]["sequence"] == 2


def test_a_message_is_in_the_body_or_in_the_query_string(api, chat):
    answer = api.post(f"{messages_of(chat)}?role=tool", {"role": "user", "content": "x"})
    error = answer.json()["errors"][0]
    assert (answer.status_code, error["attr"], error["code"]) == (400, "role", "ambiguous")


@pytest.mark.parametrize("text", ["", "[", "{}", "1"])
def test_tool_calls_in_the_query_string_are_refused_by_name(api, chat, text):
    answer = api.post(f"{messages_of(chat)}?role=assistant&tool_calls={text}")
    assert (answer.status_code, answer.json()["errors"][0]["attr"]) == (400, "tool_calls")
