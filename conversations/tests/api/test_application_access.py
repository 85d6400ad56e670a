"""Who may open an application's answer and write it, and what a legal hold leaves of that."""

import pytest
from django.contrib.auth.models import User

from conversations.db.owners import is_distributed
from conversations.models import AccessRecord
from conversations.services import create_token, find_or_create_user, set_legal_hold
from conversations.tests.api.answers import OPENING, Answer, code_of
from conversations.tests.factories import access_of, client_for, make_user
from conversations.tests.services.test_legal_hold import FOR_CASE

pytestmark = pytest.mark.django_db

PIECE = {"append": {"content": "x"}, "offset": 0}
END = {"status": "stopped"}


@pytest.fixture
def carol(db):
    """A user of the application crm."""
    return find_or_create_user("carol", namespace="crm")


@pytest.fixture
def crm(db):
    return make_user("crm")


@pytest.fixture
def backend(crm):
    return client_for(crm, trusted=True, namespace="crm")


@pytest.fixture
def answer(backend, carol):
    """One that the application has opened for carol."""
    return Answer(backend, carol)


def browser_of(carol, crm):
    """A client with a token that the application has made for its user."""
    _, text = create_token(
        user=carol, access=access_of(crm, trusted=True, namespace="crm"), delegated=True
    )
    client = client_for(None)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
    return client


def test_every_token_of_the_account_that_opened_it_writes(answer, crm):
    again = client_for(crm, trusted=True, namespace="crm")
    assert answer.patch(again, **PIECE).status_code == 200
    assert answer.patch(again, **END).status_code == 200


@pytest.mark.parametrize("body", [PIECE, {"append": {}}, {"content": "x"}, END])
def test_nobody_else_does(answer, carol, crm, body):
    def refused(client):
        return code_of(answer.patch(client, **body))[:2]

    root = User.objects.create_superuser("root")
    assert refused(client_for(carol)) == (403, "permission_denied")
    assert refused(client_for(make_user("crm2"), trusted=True, namespace="crm")) == (
        403,
        "permission_denied",
    )
    assert not AccessRecord.objects.exists()
    assert refused(client_for(root)) == (403, "permission_denied")
    assert AccessRecord.objects.get().conversation_id == answer.chat.pk
    # Whoever may not see it is not told that it is there.
    assert refused(client_for(make_user("bob"))) == (404, "not_found")
    assert refused(client_for(make_user("erp"), trusted=True, namespace="erp")) == (
        404,
        "not_found",
    )
    assert (answer.stored.content, answer.stored.status) == ("", "streaming")


def test_a_browser_watches_and_stops_what_it_cannot_write(answer, carol, crm):
    browser = browser_of(carol, crm)
    assert code_of(answer.patch(browser, **PIECE))[0] == 403
    assert browser.post(f"/api/chat/streams/{answer.id}/stop").json()["status"] == "stopping"
    assert answer.say("x", 0).json()["stopping"] is True


def test_an_application_does_not_write_what_a_user_opened(backend, carol):
    theirs = Answer(client_for(carol), carol)
    assert code_of(theirs.patch(backend, **PIECE))[:2] == (403, "permission_denied")
    assert theirs.patch(**PIECE).status_code == 200
    assert theirs.end().status_code == 200


def test_staff_open_no_answer_in_the_conversation_of_another(answer, carol):
    answer.end(content="Done.")
    root = User.objects.create_superuser("root")
    refused = client_for(root).post(answer.messages, OPENING)
    assert code_of(refused) == (403, "permission_denied", "status")
    assert AccessRecord.objects.get().owner_id == carol.pk
    assert Answer(client_for(root), root).say("x", 0).status_code == 200


def test_what_is_not_there_is_not_found_like_what_is_not_yours(answer, backend, carol, statements):
    nothing = "00000000-0000-4000-8000-000000000000"
    stranger = client_for(make_user("bob"))
    answers, counts = [], []
    for chat in (answer.chat.pk, nothing):
        with statements() as seen:
            refused = stranger.patch(f"/api/conversations/{chat}/messages/{answer.id}", PIECE)
        answers.append((refused.status_code, refused.json()["errors"]))
        counts.append(len(seen))
    assert answers[0] == answers[1]
    assert counts[0] == counts[1]
    missing = backend.patch(f"{answer.messages}/{nothing}", PIECE)
    assert code_of(missing)[:2] == (404, "not_found")


def test_an_answer_goes_on_during_a_legal_hold(answer, backend):
    answer.patch(append={"content": "so ", "parts": [{"text": "a"}]}, offset=0, parts_offset=0)
    set_legal_hold(conversation_id=answer.chat.pk, on_hold=True, access=FOR_CASE)
    assert answer.patch(rating=1).status_code == 409
    assert answer.say("far", 3).status_code == 200
    grown = answer.patch(append={"parts": [{"text": "ab"}, {"text": "c"}]}, parts_offset=0)
    assert grown.json()["parts_offset"] == 2
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    end = {"model": "m", "prompt_tokens": 3, "cost": "0.1", "extra": {"a": 1}, "sources": [1]}
    ended = answer.end(append={"tool_calls": [call]}, tool_calls_offset=0, **end)
    assert ended.status_code == 200
    stored = answer.stored
    assert (stored.content, stored.model, stored.tool_calls) == ("so far", "m", [call])
    assert code_of(answer.patch(content="so far away"))[1] == "turn_ended"
    # A new one can be opened, as any message can be appended.
    assert backend.post(answer.messages, OPENING).status_code == 201


def test_what_a_write_costs(answer, backend, alice, api, statements):
    """Authentication, for a trusted client whose conversation it is, and the write itself."""
    own = Answer(api, alice)
    for one, more in ((own, 0), (answer, 1 + is_distributed())):
        for body, expected in (
            ({"append": {"content": "Hello"}, "offset": 0}, 2),
            ({"append": {}}, 2),
            ({"append": {"content": "Hello"}, "offset": 0}, 5),  # repeated
            ({"append": {"parts": [1]}, "parts_offset": 0}, 4),
            ({"content": "Hello you"}, 5),
            ({"status": "complete", "offset": 9}, 4),
        ):
            with statements() as seen:
                assert one.patch(**body).status_code == 200
            assert len(seen) <= expected + more, "\n".join(seen)
        opening = {"messages": [{"role": "user", "content": "x"}, OPENING]}
        with statements() as seen:
            assert one.client.post(one.messages, opening).status_code == 201
        assert len(seen) <= 6 + more, "\n".join(seen)
