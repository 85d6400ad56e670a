"""What a request may say of its turn: prompt, sampling, tools, metadata, images."""

import base64
import sys

import pytest
from django.conf import settings as django_settings

from conversations.models import Message
from conversations.tests.chat.clients import ChatClient
from conversations.tests.chat.scripted_behaviours import Call, calls, says
from conversations.tests.factories import make_token, make_user

TOOLS = "conversations.tests.chat.sample_tools"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
STORED = "data:image/png;base64," + base64.b64encode(PNG).decode()
HTTPS = "https://images.example/a.png?size=1"


def image(url=STORED, **more):
    return {"type": "image_url", "image_url": {"url": url} | more}


def refusal(answer):
    assert answer.status == 400, answer.body
    (error,) = answer.body["errors"]
    return error["attr"], error["code"]


@pytest.fixture
def tools(settings):
    settings.CHAT_TOOLS = [f"{TOOLS}.{name}" for name in ("add_task", "weather")]


@pytest.fixture
def vision(settings, scripted):
    settings.CHAT_PROVIDERS["scripted"]["vision"] = True


def test_the_prompt_and_the_sampling_of_one_turn(chat, scripted, settings):
    settings.CHAT_PROVIDERS["scripted"]["temperature"] = 0.7
    options = {"system": "Answer in Latin.", "temperature": 0, "max_tokens": 50}
    conversation = chat.ask(**options).body["conversation_id"]
    sent = scripted.chats[0].body
    assert sent["messages"][0] == {"role": "system", "content": "Answer in Latin."}
    assert (sent["temperature"], sent["max_tokens"]) == (0, 50)
    asked, answer = chat.messages(conversation)
    assert asked["extra"] == {"request": options}
    assert "request" not in answer["extra"]
    # The next turn is asked as it is configured.
    chat.ask(conversation_id=conversation)
    sent = scripted.chats[1].body
    assert sent["messages"][0]["content"] == settings.CHAT_SYSTEM_PROMPT
    assert (sent["temperature"], sent.get("max_tokens")) == (0.7, None)
    assert chat.messages(conversation)[2]["extra"] is None


def test_an_empty_prompt_is_none(chat, scripted):
    chat.ask(system="")
    assert scripted.chats[0].messages == [("user", "Hi")]


@pytest.mark.parametrize(("named", "offered"), [(["weather"], ["weather"]), ([], [])])
def test_a_turn_may_be_given_fewer_tools(chat, scripted, tools, named, offered):
    conversation = chat.ask(tools=named).body["conversation_id"]
    assert scripted.chats[0].tools == offered
    assert chat.messages(conversation)[0]["extra"] == {"request": {"tools": named}}


def test_a_tool_that_was_not_offered_is_not_called(chat, scripted, tools):
    scripted.script(calls(Call("add_task", {"title": "milk"})), says("Sorry."))
    body = chat.ask(tools=["weather"]).body
    assert body["response"] == "Sorry."
    assert body["actions_taken"][0]["task_id"] is None


def test_an_unknown_tool_is_refused_with_the_known_ones(chat, scripted, tools):
    answer = chat.ask(tools=["weather", "whether"])
    assert refusal(answer) == ("tools.1", "unknown_tool")
    assert answer.body["errors"][0]["detail"] == (
        "There is no tool whether. Configured: add_task, weather."
    )
    assert not scripted.chats
    assert not Message.objects.exists()


def test_tools_of_an_mcp_server_have_names_too(chat, scripted, settings, tools, tmp_path):
    example = django_settings.BASE_DIR / "docs" / "examples" / "tasks_mcp_server.py"
    command = [str(example), str(tmp_path / "tasks.json")]
    settings.CHAT_MCP_SERVERS = {"tasks": {"command": sys.executable, "args": command}}
    assert refusal(chat.ask(tools=["list_tasks", "nope"])) == ("tools.1", "unknown_tool")
    assert chat.ask(tools=["list_tasks", "weather"]).status == 200
    assert sorted(scripted.chats[0].tools) == ["list_tasks", "weather"]
    assert chat.ask(tools=["weather"]).status == 200
    assert scripted.chats[1].tools == ["weather"]


def test_metadata_is_that_of_the_question(chat, scripted):
    body = chat.ask(metadata={"page": 7}).body
    asked, answer = chat.messages(body["conversation_id"])
    assert (asked["metadata"], answer["metadata"]) == ({"page": 7}, {})
    where = f"/api/conversations/{body['conversation_id']}"
    assert chat.get(where).body["metadata"] == {}


@pytest.mark.parametrize(
    ("options", "attr", "code"),
    [
        ({"system": 5}, "system", "invalid"),
        ({"system": "a\x00"}, "system", "null_characters_not_allowed"),
        ({"temperature": "0.5"}, "temperature", "invalid"),
        ({"temperature": 2.1}, "temperature", "max_value"),
        ({"temperature": -1}, "temperature", "min_value"),
        ({"temperature": True}, "temperature", "invalid"),
        ({"max_tokens": 0}, "max_tokens", "min_value"),
        ({"max_tokens": 1.5}, "max_tokens", "invalid"),
        ({"tools": "weather"}, "tools", "not_a_list"),
        ({"tools": [5]}, "tools.0", "invalid"),
        ({"metadata": []}, "metadata", "not_an_object"),
        ({"store": "no"}, "store", "invalid"),
        ({"temprature": 1}, "temprature", "unknown_field"),
    ],
)
def test_bad_options_are_named_and_nothing_is_stored(chat, scripted, options, attr, code):
    answer = chat.ask(**options)
    assert refusal(answer) == (attr, code)
    assert not scripted.chats
    assert not Message.objects.exists()


def test_an_equal_request_repeats_a_turn_and_another_one_does_not(chat, scripted):
    options = {"system": "Be brief.", "parts": [image()], "metadata": {"n": 1}}
    first = chat.ask(key="k", **options).body
    assert chat.ask(key="k", **options).body == first
    for other in ({"system": "Be long."}, {"parts": []}, {"metadata": {"n": 2}}):
        assert chat.ask(key="k", **options | other).status == 409
    assert len(scripted.chats) == 1


def test_an_operator_may_keep_options_for_trusted_clients(chat, scripted, settings):
    settings.CHAT_PERSONAL_OPTIONS = ["temperature", "metadata"]
    for options in ({"system": ""}, {"tools": []}, {"parts": [image()]}, {"store": False}):
        answer = chat.ask(**options)
        assert answer.status == 403
        assert [error["attr"] for error in answer.body["errors"]] == list(options)
    assert chat.ask(temperature=1, metadata={}, store=True).status == 200
    backend = ChatClient(chat.url, make_token(make_user("crm"), trusted=True))
    assert backend.ask(user_id="carol", system="Be brief.").status == 200


# Images


def test_an_image_reaches_the_model_and_is_stored_as_it_was_sent(chat, scripted, vision):
    parts = [
        image(detail="low"),
        {"type": "input_image", "image_url": HTTPS},
    ]
    body = chat.ask("What is it?", parts=parts).body
    expected = [
        {"type": "text", "text": "What is it?"},
        image(detail="low"),
        image(HTTPS, detail="auto"),
    ]
    assert scripted.chats[0].body["messages"][-1] == {"role": "user", "content": expected}
    asked = chat.messages(body["conversation_id"])[0]
    assert (asked["content"], asked["parts"]) == ("What is it?", parts)
    # In the next turn as well.
    chat.ask("Sure?", conversation_id=body["conversation_id"])
    assert scripted.chats[1].body["messages"][1]["content"] == expected


def test_an_image_needs_no_text(chat, scripted, vision):
    body = chat.ask("", parts=[image()]).body
    assert scripted.chats[0].body["messages"][-1]["content"] == [image(detail="auto")]
    assert chat.messages(body["conversation_id"])[0]["content"] == ""


def test_a_model_that_does_not_see_is_told_so(chat, scripted):
    assert chat.ask("What is it?", parts=[image()]).status == 200
    assert scripted.chats[0].messages[-1][1] == "What is it?\n[Not shown to you: 1 image]"


@pytest.mark.parametrize(
    ("part", "attr", "code"),
    [
        ("x", "parts.0", "invalid"),
        ({"type": "text", "text": "Hi"}, "parts.0", "invalid"),
        ({"type": "image_url", "image_url": STORED}, "parts.0", "invalid"),
        ({"type": "input_image", "file_id": "f"}, "parts.0.file_id", "unknown_field"),
        ({"type": "input_image"}, "parts.0.image_url", "invalid"),
        (image(size=1), "parts.0.image_url.size", "unknown_field"),
        (image() | {"more": 1}, "parts.0.more", "unknown_field"),
        (image(HTTPS, detail="best"), "parts.0.image_url.detail", "invalid_choice"),
        (image(HTTPS, detail=[]), "parts.0.image_url.detail", "invalid_choice"),
        *(
            (image(url), "parts.0.image_url.url", "invalid")
            for url in (
                None,
                "",
                "http://images.example/a.png",
                "file:///etc/passwd",
                "https://",
                "https://a b/",
                "https://[",
                "https://a.example/" + "x" * 2000,
                "data:text/html;base64,QQ==",
                "data:image/png,QQ==",
                "data:image/png;base64,",
                "data:image/png;base64,Q",
                "data:image/png;base64,QQ==\n",
                "data:image/png;base64,Q!==",
            )
        ),
        (image("data:image/png;base64," + "QUJD" * 34), "parts.0.image_url.url", "too_large"),
    ],
)
def test_what_is_no_image_is_refused(chat, scripted, settings, part, attr, code):
    settings.CHAT_MAX_IMAGE_BYTES = 100
    assert refusal(chat.ask(parts=[part])) == (attr, code)
    assert not Message.objects.exists()


def test_the_largest_image_and_the_most(chat, scripted, settings):
    settings.CHAT_MAX_IMAGE_BYTES = len(PNG)
    assert chat.ask(parts=[image()] * 20).status == 200
    assert refusal(chat.ask(parts=[image()] * 21)) == ("parts", "max_length")


def test_the_message_is_limited_and_not_blank_as_before(chat, settings):
    settings.CHAT_MAX_MESSAGE_CHARS = 5
    assert refusal(chat.ask("123456", parts=[image()])) == ("message", "max_length")
    assert refusal(chat.ask("  ", parts=[])) == ("message", "blank")
    assert refusal(chat.ask("")) == ("message", "blank")
