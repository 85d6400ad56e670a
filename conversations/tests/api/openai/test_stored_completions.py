"""GET /v1/chat/completions and below: recorded answers, read again."""

from dataclasses import replace

import openai
import pytest

from conversations.models import AccessRecord, Message
from conversations.services import SCRIPT, MessageDraft, append_drafts, find_or_create_user
from conversations.services.legal_holds import set_legal_hold
from conversations.tests.chat.scripted_behaviours import Call, calls, says
from conversations.tests.factories import client_for, make_conversation, make_staff, make_user

from .forwarding import *  # noqa: F403
from .forwarding import ask, says_hi

LIST = "/v1/chat/completions"


def answered(owner, *contents, **fields):
    """A conversation of the owner's whose answers say these; the ids of the completions."""
    chat = make_conversation(owner)
    drafts = [
        draft
        for content in contents
        for draft in (
            MessageDraft(role="user", content=f"{content}?"),
            MessageDraft(
                role="assistant", content=content, **{"provider": "p", "model": "m"} | fields
            ),
        )
    ]
    rows, _ = append_drafts(conversation_id=chat.pk, drafts=drafts, access=SCRIPT)
    return [f"chatcmpl-{row['id'].hex}" for row in rows if row["role"] == "assistant"]


def ids_of(answer):
    return [one["id"] for one in answer.json()["data"]]


@pytest.mark.django_db(transaction=True)
def test_the_strict_client_reads_what_it_has_stored(sdk, provider):
    provider.script(
        says("One", usage={"prompt_tokens_details": {"cached_tokens": 1}}),
        calls(Call("weather", {"a": 1}, "c1")),
        says("Three"),
    )
    made = [ask(sdk, says_hi(text), metadata={"n": text}) for text in ("1", "2", "3")]
    assert [one.id for one in sdk.chat.completions.list(limit=2)] == [one.id for one in made]
    (found,) = sdk.chat.completions.list(metadata={"n": "2"})
    assert found.choices[0].message.tool_calls == made[1].choices[0].message.tool_calls
    assert found.metadata == {"n": "2"}
    assert not list(sdk.chat.completions.list(model="other"))
    assert len(list(sdk.chat.completions.list(model="scripted/scripted", order="desc"))) == 3
    one = sdk.chat.completions.retrieve(made[0].id)
    assert one.choices[0].message.content == "One"
    assert one.usage.total_tokens == made[0].usage.total_tokens
    assert one.usage.prompt_tokens_details.cached_tokens == 1
    changed = sdk.chat.completions.update(made[0].id, metadata={"n": "x"})
    assert changed.metadata == {"n": "x"}
    assert Message.objects.get(content="One").metadata == {"n": "x"}
    gone = sdk.chat.completions.delete(made[0].id)
    assert (gone.id, gone.deleted) == (made[0].id, True)
    with pytest.raises(openai.NotFoundError):
        sdk.chat.completions.retrieve(made[0].id)


@pytest.mark.django_db(transaction=True)
def test_the_messages_before_an_answer_are_listed(sdk, provider):
    parts = [{"type": "text", "text": "What?"}]
    answer = ask(sdk, says_hi(parts))
    # OpenAI's types have the role `assistant` alone here, other than its own documentation.
    with sdk.with_options() as lenient:
        lenient._strict_response_validation = False
        (message,) = lenient.chat.completions.messages.list(answer.id)
    assert (message.role, message.content) == ("user", "What?")
    assert [part.text for part in message.content_parts] == ["What?"]


def test_pages_follow_each_other_in_both_orders(api, alice):
    ids = answered(alice, "1", "2", "3") + answered(alice, "4", "5")
    for order, wanted in (("asc", ids), ("desc", ids[::-1])):
        seen, after = [], ""
        while True:
            page = api.get(f"{LIST}?limit=2&order={order}&after={after}").json()
            seen += [one["id"] for one in page["data"]]
            after = page["last_id"]
            if not page["has_more"]:
                break
        assert seen == wanted
    assert ids_of(api.get(LIST)) == ids
    assert api.get(f"{LIST}?after=chatcmpl-{'0' * 32}").status_code == 404


def test_the_messages_are_those_of_the_answers_path(api, alice):
    *_, last = answered(alice, "1", "2", "3")
    first = api.get(f"{LIST}/{last}/messages?limit=2").json()
    assert [one["content"] for one in first["data"]] == ["1?", "1"]
    assert first["has_more"]
    rest = api.get(f"{LIST}/{last}/messages?after={first['last_id']}").json()
    assert [one["content"] for one in rest["data"]] == ["2?", "2", "3?"]
    assert not rest["has_more"]


def test_what_is_no_answer_of_a_model_is_none(api, alice):
    chat = make_conversation(alice, messages=4)
    answered(alice, "running")
    Message.objects.filter(content="running").update(status="streaming")
    assert ids_of(api.get(LIST)) == []
    for message in chat.messages.all():
        assert api.get(f"{LIST}/chatcmpl-{message.id.hex}").status_code == 404
    assert api.get(f"{LIST}/nothing").status_code == 404


def test_an_answer_that_was_cut_off_says_so(api, alice):
    (stopped,) = answered(alice, "a", status="stopped", finish_reason="stopped")
    (failed,) = answered(alice, "a", status="failed", finish_reason="provider_broke_off")
    reasons = [
        api.get(f"{LIST}/{id_}").json()["choices"][0]["finish_reason"] for id_ in (stopped, failed)
    ]
    assert reasons == ["stop", "length"]


def test_others_answers_that_were_kept_are_choices(api, alice):
    other = {"index": 1, "delta": {"content": "Two"}, "finish_reason": "stop"}
    odd = [5, {"delta": 5}, {"index": 2, "delta": {"tool_calls": [7]}}]
    (id_,) = answered(alice, "One", extra={"other_choices": [other, *odd], "usage": 5})
    choices = api.get(f"{LIST}/{id_}").json()["choices"]
    assert [one["message"]["content"] for one in choices[:2]] == ["One", "Two"]


@pytest.fixture
def owned(db):
    """An answer of the user 3 of the application crm."""
    (id_,) = answered(find_or_create_user(3, namespace="crm"), "Secret")
    return id_


WHO = {
    "owner": (200, 200, 200),
    "stranger": (404, 404, 404),
    "crm": (200, 200, 200),
    "other": (404, 404, 404),
    "lister": (404, 404, 404),
    "reader": (200, 403, 403),
    "superuser": (200, 200, 200),
    "nobody": (401, 401, 401),
}


def client_of_kind(kind):
    if kind == "owner":
        return client_for(find_or_create_user(3, namespace="crm"))
    if kind in ("crm", "other"):
        return client_for(make_user(kind), trusted=True, namespace=kind)
    if kind == "lister":
        return client_for(make_user(kind, "view_conversation", is_staff=True))
    if kind == "reader":
        return client_for(make_staff(kind))
    if kind == "superuser":
        return client_for(make_user(kind, is_staff=True, is_superuser=True))
    return client_for(None if kind == "nobody" else make_user(kind))


@pytest.mark.parametrize("kind", WHO)
def test_who_may_read_change_and_delete_one(owned, kind):
    client, path = client_of_kind(kind), f"{LIST}/{owned}"
    read, change, delete = WHO[kind]
    assert client.get(path).status_code == read
    assert client.get(f"{path}/messages").status_code == read
    assert client.post(path, {"metadata": {"a": 1}}, format="json").status_code == change
    assert client.delete(path).status_code == delete
    leaves = kind in ("reader", "superuser")
    assert AccessRecord.objects.filter(action="read").count() == 2 * leaves


def test_a_trusted_client_names_whose_it_wants(owned, db):
    client = client_of_kind("crm")
    assert ids_of(client.get(LIST, headers={"X-User-Id": "3"})) == [owned]
    assert ids_of(client.get(LIST)) == []
    assert ids_of(client.get(LIST, headers={"X-User-Id": "4"})) == []
    assert client.get(f"{LIST}/{owned}", headers={"X-User-Id": "3"}).status_code == 200
    assert client.get(f"{LIST}/{owned}", headers={"X-User-Id": "4"}).status_code == 404
    # Others cannot.
    stranger = client_of_kind("stranger")
    assert ids_of(stranger.get(LIST, headers={"X-User-Id": "3"})) == []


def test_a_hold_keeps_it(api, alice):
    (id_,) = answered(alice, "Held")
    chat = Message.objects.get(role="assistant").conversation
    set_legal_hold(conversation_id=chat.pk, on_hold=True, access=replace(SCRIPT, reason="x"))
    assert api.delete(f"{LIST}/{id_}").status_code == 409
    assert api.post(f"{LIST}/{id_}", {"metadata": {}}, format="json").status_code == 409
    assert api.get(f"{LIST}/{id_}").status_code == 200


def test_its_statements_are_few(api, alice, statements):
    answered(alice, *map(str, range(30)))
    with statements() as few:
        api.get(f"{LIST}?limit=2")
    with statements() as many:
        api.get(f"{LIST}?limit=20")
    assert len(few) == len(many) == 2
