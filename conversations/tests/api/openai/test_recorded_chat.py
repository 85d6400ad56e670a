"""Who a recorded model call is for, and which conversation it names."""

import time
import uuid

import jwt
import pytest
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from conversations.api.openai.owners import name_of_owner, owner_named
from conversations.api.openai.recorded_chat import chat_named, task_named
from conversations.services import InvalidValue, NotAllowed, NotFound
from conversations.services.recorded_turns import NamedChat
from conversations.tests.factories import access_of, make_staff

SECRET = "0123456789abcdef" * 4
CHAT = uuid.UUID("0199d2a8-0000-7000-8000-000000000001")


def request(**headers):
    given = {f"HTTP_{name.upper()}": value for name, value in headers.items()}
    return Request(APIRequestFactory().post("/v1/chat/completions", **given))


def signed(secret=SECRET, algorithm="HS256", **claims):
    given = {"sub": "u1", "email": "ann@example.org", "role": "user", "exp": time.time() + 300}
    given |= claims
    return jwt.encode({name: value for name, value in given.items() if value}, secret, algorithm)


@pytest.mark.parametrize(
    ("headers", "body", "chat"),
    [
        ({}, {}, NamedChat()),
        ({"x_conversation_id": f"conv_{CHAT.hex}"}, {}, NamedChat(conversation_id=CHAT)),
        ({"x_conversation_id": str(CHAT)}, {}, NamedChat(name=str(CHAT))),
        ({"x_openwebui_chat_id": "abc"}, {}, NamedChat(name="abc")),
        ({"x_openwebui_chat_id": "temporary:xyz"}, {}, NamedChat()),
        ({"x_openwebui_chat_id": "local:xyz"}, {}, NamedChat()),
        ({"x_conversation_id": " ", "x_openwebui_chat_id": "abc"}, {}, NamedChat(name="abc")),
        ({"x_conversation_id": "{{LIBRECHAT_BODY_CONVERSATIONID}}"}, {}, NamedChat()),
        ({"x_conversation_id": "a"}, {"conversation_id": "b"}, NamedChat(name="a")),
        ({}, {"conversation_id": "b", "metadata": {"conversation_id": "c"}}, NamedChat(name="c")),
        ({}, {"conversation_id": "b", "metadata": {"conversation_id": 1}}, NamedChat(name="b")),
        ({}, {"conversation_id": ["b"], "metadata": "x"}, NamedChat()),
        ({"x_stainless_retry_count": "0"}, {}, NamedChat()),
        ({"x_stainless_retry_count": "2"}, {}, NamedChat(is_retry=True)),
        ({"x_conversation_id": "Straße".encode().decode("latin-1")}, {}, NamedChat(name="Straße")),
    ],
)
def test_the_conversation_that_a_request_names(headers, body, chat):
    assert chat_named(request(**headers), body) == chat


def test_what_looks_like_an_id_of_ours_and_is_none_is_not_found():
    with pytest.raises(NotFound):
        chat_named(request(x_conversation_id="conv_123"), {})


def test_what_a_request_is_for():
    assert task_named(request(x_task="title_generation"), {}) == "title_generation"
    assert task_named(request(x_task=""), {"metadata": {"task": "tags"}}) == "tags"
    assert task_named(request(x_task=" "), {"metadata": None}) is None


@pytest.mark.parametrize(
    ("headers", "body", "name"),
    [
        ({}, {}, None),
        ({"x_user_id": "ann"}, {"user": "bob"}, "ann"),
        ({"x_user_id": "", "x_openwebui_user_id": "u1"}, {}, "u1"),
        ({"x_user_id": "{{LIBRECHAT_USER_ID}}"}, {"user": "bob"}, "bob"),
        ({}, {"user": "bob", "safety_identifier": "eve"}, "eve"),
        ({}, {"user": "", "safety_identifier": 1}, None),
        ({"x_openwebui_user_email": "ann@example.org"}, {}, None),
    ],
)
def test_who_a_trusted_token_acts_for(alice, bob, headers, body, name):
    asked = request(**headers)
    assert name_of_owner(asked, access_of(alice, trusted=True), body) == name
    # Nobody else names anybody.
    assert name_of_owner(asked, access_of(bob), body) is None
    assert owner_named(asked, access_of(bob), body) is None
    assert owner_named(asked, access_of(make_staff()), body) is None


def test_the_field_that_named_a_user_is_told_in_errors(alice):
    trusted = access_of(alice, trusted=True)
    for headers, body, field in (
        ({"x_user_id": "*"}, {}, "X-User-Id"),
        ({"x_openwebui_user_id": "*"}, {}, "X-OpenWebUI-User-Id"),
        ({}, {"user": "a\x00"}, "user"),
    ):
        with pytest.raises(InvalidValue) as refused:
            owner_named(request(**headers), trusted, body)
        assert refused.value.field == field


def test_users_of_open_webui_by_their_address(alice, settings):
    settings.OPENWEBUI_USER_BY = "email"
    trusted = access_of(alice, trusted=True)
    plain = request(x_openwebui_user_id="u1", x_openwebui_user_email="ann@example.org")
    assert name_of_owner(plain, trusted) == "ann@example.org"
    settings.OPENWEBUI_JWT_SECRET = SECRET
    assert name_of_owner(request(x_openwebui_user_jwt=signed()), trusted) == "ann@example.org"


def test_signed_users_of_open_webui(alice, bob, settings):
    settings.OPENWEBUI_JWT_SECRET = SECRET
    trusted = access_of(alice, trusted=True)
    asked = request(x_openwebui_user_jwt=signed())
    assert owner_named(asked, trusted).username == "u1"
    assert name_of_owner(asked, access_of(bob)) is None
    # The clocks of two machines differ.
    assert name_of_owner(request(x_openwebui_user_jwt=signed(exp=time.time() - 5)), trusted)


def test_staff_find_the_people_behind_the_ids(alice, settings):
    trusted = access_of(alice, trusted=True)
    named = {"x_openwebui_user_email": "ann@example.org", "x_openwebui_user_name": "Ann%20%C3%89"}
    owner = owner_named(request(x_openwebui_user_id="u1", **named), trusted)
    owner.refresh_from_db()
    assert (owner.email, owner.first_name) == ("ann@example.org", "Ann É")
    # What somebody has corrected stays, and what cannot be kept is left out.
    later = {"x_openwebui_user_email": "x@example.org", "x_openwebui_user_name": "%00"}
    owner_named(request(x_openwebui_user_id="u1", **later), trusted)
    owner.refresh_from_db()
    assert (owner.email, owner.first_name) == ("ann@example.org", "Ann É")
    other = owner_named(request(x_openwebui_user_id="u2", **later), trusted)
    other.refresh_from_db()
    assert (other.email, other.first_name) == ("x@example.org", "")
    settings.OPENWEBUI_JWT_SECRET = SECRET
    token = signed(sub="u3", email="eve@example.org", name="Eve")
    signed_user = owner_named(request(x_openwebui_user_jwt=token), trusted)
    signed_user.refresh_from_db()
    assert (signed_user.email, signed_user.first_name) == ("eve@example.org", "Eve")
    # Nobody else says anything of anybody.
    assert owner_named(request(x_user_id="u4", **named), trusted).email == ""


NOT_SIGNED = {
    "another secret": lambda: signed(secret=SECRET[::-1]),
    "expired": lambda: signed(exp=time.time() - 3_600),
    "no end": lambda: signed(exp=None),
    "nobody": lambda: signed(sub=None),
    "no text": lambda: signed(sub=["u1"]),
    "another algorithm": lambda: signed(algorithm="HS512"),
    "no algorithm": lambda: jwt.encode({"sub": "u1", "exp": time.time() + 300}, "", "none"),
    "no token": lambda: "x",
    "no JSON": lambda: "a.b.c",
    "no signature": lambda: signed().rpartition(".")[0] + ".",
}


@pytest.mark.parametrize("token", NOT_SIGNED)
def test_names_that_are_not_signed_as_they_should_be_are_refused(alice, settings, token):
    settings.OPENWEBUI_JWT_SECRET = SECRET
    asked = request(x_openwebui_user_jwt=NOT_SIGNED[token]())
    with pytest.raises(NotAllowed) as refused:
        name_of_owner(asked, access_of(alice, trusted=True))
    assert refused.value.field == "X-OpenWebUI-User-Jwt"


def test_a_secret_on_one_side_alone_is_refused(alice, settings):
    trusted = access_of(alice, trusted=True)
    with pytest.raises(NotAllowed):
        name_of_owner(request(x_openwebui_user_jwt=signed()), trusted)
    settings.OPENWEBUI_JWT_SECRET = SECRET
    with pytest.raises(NotAllowed) as refused:
        name_of_owner(request(x_openwebui_user_id="u1"), trusted)
    assert refused.value.field == "X-OpenWebUI-User-Id"
