"""A ticket stands for a token once, for a minute, on an event stream."""

import json
import logging
import uuid
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone
from rest_framework.test import APIClient

from conversations.models import AccessRecord, ApiToken, StreamTicket
from conversations.services import erase_user, get_chat_history
from conversations.services.audit import SCRIPT
from conversations.services.tickets import use_ticket
from conversations.services.tokens import create_token
from conversations.tests.api.test_concurrency import at_once
from conversations.tests.api.test_external_ids import error_of
from conversations.tests.factories import (
    client_for,
    make_conversation,
    make_staff,
    make_token,
    make_user,
)

pytestmark = pytest.mark.django_db
TICKETS, STREAMS, ASK = "/api/chat/tickets", "/api/chat/streams", "/api/chat/ask-stream"


def answer_of(user):
    return str(get_chat_history(conversation_id=make_conversation(user, 2).pk)[1].id)


@pytest.fixture
def answer(alice):
    return answer_of(alice)


def ticket_of(client, **body):
    made = client.post(TICKETS, body)
    assert made.status_code == 201, made.content
    return made.json()["ticket"]


def get(path, ticket, **headers):
    return APIClient(headers=headers).get(path, {"ticket": ticket})


def test_it_opens_the_stream_of_its_answer_once(api, answer):
    made = api.post(TICKETS, {"message_id": answer}).json()
    assert made.keys() == {"ticket", "expires_at"}
    opened = get(f"{STREAMS}/{answer}", made["ticket"])
    assert opened.status_code == 200
    assert opened.headers["Content-Type"] == "text/event-stream"
    assert b"message 2" in b"".join(opened)
    again = get(f"{STREAMS}/{answer}", made["ticket"])
    assert error_of(again) == (401, None, "authentication_failed")


def test_it_is_good_for_a_minute(api, answer):
    made = api.post(TICKETS, {"message_id": answer}).json()
    left = timezone.datetime.fromisoformat(made["expires_at"]) - timezone.now()
    assert timedelta(seconds=55) < left <= timedelta(seconds=60)
    StreamTicket.objects.update(expires_at=timezone.now())
    assert get(f"{STREAMS}/{answer}", made["ticket"]).status_code == 401


def test_it_is_good_for_its_answer_and_purpose_alone(api, alice, answer):
    other = answer_of(alice)
    assert get(f"{STREAMS}/{other}", ticket_of(api, message_id=answer)).status_code == 401
    of_any = ticket_of(api, purpose="stream")
    assert get(f"{STREAMS}/{other}", of_any).status_code == 200
    asking = ticket_of(api, purpose="ask-stream")
    assert get(f"{STREAMS}/{answer}", asking).status_code == 401
    streaming = ticket_of(api, purpose="stream")
    refused = APIClient().get(ASK, {"question": "Hi", "ticket": streaming})
    assert refused.status_code == 401
    assert not StreamTicket.objects.exists()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("post", "/api/chat"),
        ("post", STREAMS + "/{answer}/stop"),
        ("post", TICKETS),
        ("get", "/api/conversations"),
        ("get", "/api/chat/history/{answer}"),
        ("get", "/api/me"),
    ],
)
def test_no_other_route_takes_one(api, answer, method, path):
    ticket = ticket_of(api, purpose="stream")
    url = f"{path.format(answer=answer)}?ticket={ticket}"
    assert getattr(APIClient(), method)(url).status_code == 401
    assert getattr(api, method)(url).status_code == 400
    assert StreamTicket.objects.count() == 1


def test_it_gives_no_more_than_its_token_has(api, answer, bob):
    theirs = ticket_of(client_for(bob), message_id=answer)
    assert get(f"{STREAMS}/{answer}", theirs).status_code == 404
    crm = client_for(make_user("crm"), trusted=True, namespace="crm")
    assert get(f"{STREAMS}/{answer}", ticket_of(crm, message_id=answer)).status_code == 404
    backend = client_for(make_user("backend"), trusted=True)
    assert get(f"{STREAMS}/{answer}", ticket_of(backend, message_id=answer)).status_code == 200


def test_a_delegated_token_of_staff_has_no_rights_of_staff(answer):
    staff = make_staff()
    delegated = client_for(staff, delegated=True)
    assert get(f"{STREAMS}/{answer}", ticket_of(delegated, message_id=answer)).status_code == 404
    plain = ticket_of(client_for(staff), message_id=answer)
    assert get(f"{STREAMS}/{answer}", plain).status_code == 200
    assert AccessRecord.objects.get().staff_name == "support"


@pytest.mark.parametrize("how", ["revoked", "expired", "deactivated", "rights taken", "erased"])
def test_what_happens_to_the_token_happens_to_its_tickets(answer, how):
    staff = make_staff()
    ticket = ticket_of(client_for(staff), message_id=answer)
    token = ApiToken.objects.get(user=staff)
    if how == "revoked":
        token.delete()
    elif how == "expired":
        ApiToken.objects.update(expires_at=timezone.now())
    elif how == "deactivated":
        User.objects.filter(pk=staff.pk).update(is_active=False)
    elif how == "rights taken":
        staff.user_permissions.clear()
    else:
        User.objects.filter(pk=staff.pk).update(is_staff=False)
        erase_user(user_id=staff.pk, access=SCRIPT)
    status = 404 if how == "rights taken" else 401
    assert get(f"{STREAMS}/{answer}", ticket).status_code == status
    connection.check_constraints()
    assert not StreamTicket.objects.exists()


def test_a_login_session_gets_none(alice, answer):
    client = APIClient()
    client.force_login(alice)
    assert error_of(client.post(TICKETS, {"message_id": answer}))[0] == 403
    assert APIClient().post(TICKETS, {"message_id": answer}).status_code == 401


@pytest.mark.parametrize(
    ("body", "attr"),
    [
        ({}, "purpose"),
        ({"purpose": "all"}, "purpose"),
        ({"message_id": "nope"}, "message_id"),
        ({"purpose": "ask-stream", "message_id": str(uuid.uuid4())}, "message_id"),
        ({"stream_id": "x"}, "stream_id"),
    ],
)
def test_a_bad_request_is_refused_by_name(api, body, attr):
    assert error_of(api.post(TICKETS, body))[:2] == (400, attr)
    assert not StreamTicket.objects.exists()


@pytest.mark.parametrize("ticket", ["", "nope", "x" * 5_000, "é\0"])
def test_what_is_no_ticket_is_401(answer, ticket):
    assert get(f"{STREAMS}/{answer}", ticket).status_code == 401


def test_the_ticket_is_not_stored(api, answer):
    ticket = ticket_of(api, message_id=answer)
    row = StreamTicket.objects.values().get()
    assert ticket not in str(row)


def test_expired_ones_are_removed(api, answer):
    for _ in range(3):
        ticket_of(api, message_id=answer)
    StreamTicket.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    ticket_of(api, message_id=answer)
    assert StreamTicket.objects.count() == 1


def test_it_costs_one_statement_more_than_a_token(api, answer, statements):
    ticket = ticket_of(api, message_id=answer)
    with statements() as with_token:
        list(api.get(f"{STREAMS}/{answer}"))
    with statements() as with_ticket:
        list(get(f"{STREAMS}/{answer}", ticket))
    assert len(with_ticket) == len(with_token) + 1


def test_another_site_may_open_it_where_cors_allows_it(api, answer, settings):
    origin = "https://chat.example.org"
    ticket = ticket_of(api, message_id=answer)
    settings.CORS_ALLOWED_ORIGINS = [origin]
    opened = get(f"{STREAMS}/{answer}", ticket, Origin=origin)
    assert opened.headers["Access-Control-Allow-Origin"] == origin
    settings.CORS_ALLOWED_ORIGINS = []
    other = get(f"{STREAMS}/{answer}", ticket_of(api, message_id=answer), Origin=origin)
    assert "Access-Control-Allow-Origin" not in other.headers


def test_no_log_line_holds_it(api, answer, caplog, capsys):
    caplog.set_level(logging.DEBUG)
    ticket = ticket_of(api, message_id=answer)
    for _ in range(2):  # opened, and refused
        get(f"{STREAMS}/{answer}", ticket)
    said = [record.getMessage() for record in caplog.records]
    said += capsys.readouterr().err.splitlines()
    assert any("chat/streams" in text for text in said)
    assert not [text for text in said if ticket in text]


@pytest.mark.django_db(transaction=True)
def test_of_many_requests_at_the_same_moment_one_uses_it():
    alice = make_user("alice")
    make_token(alice)
    client = client_for(alice)
    for _ in range(5):
        ticket = ticket_of(client, purpose="stream")
        used = at_once(8, lambda _, t=ticket: use_ticket(t, purpose="stream", message_id=None))
        assert sum(digest is not None for digest in used) == 1


@pytest.mark.django_db(transaction=True)
def test_a_question_is_asked_with_one(scripted, chat):
    token, origin = chat.headers["Authorization"], {"Origin": "https://chat.example.org"}
    with chat.call("POST", TICKETS, {"purpose": "ask-stream"}) as reply:
        ticket = json.load(reply)["ticket"]
    chat.headers = origin
    events = list(chat.ask_stream(question="Hi", ticket=ticket))
    assert events[-1].name == "done"
    assert chat.ask_stream(question="Hi", ticket=ticket).status == 401
    chat.headers = {"Authorization": token}
    stream = events[-1].data["stream_id"]
    with chat.call("POST", TICKETS, {"message_id": stream}) as reply:
        ticket = json.load(reply)["ticket"]
    chat.headers = origin
    seen = events[1].id
    rest = list(chat.join(f"{stream}?ticket={ticket}", last=seen))
    assert [event.id for event in rest] == [event.id for event in events[2:]]


def test_a_token_that_was_made_for_a_browser_makes_tickets(alice, answer):
    _, text = create_token(user=alice, access=SCRIPT, delegated=True)
    client = APIClient(headers={"Authorization": f"Bearer {text}"})
    assert get(f"{STREAMS}/{answer}", ticket_of(client, message_id=answer)).status_code == 200
