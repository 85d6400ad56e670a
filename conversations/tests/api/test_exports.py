"""Exports over HTTP: what is sent, how, and what is refused."""

import io
import json
import random
import string
import zipfile

import pytest

from conversations.formats import WRITERS
from conversations.models import AccessRecord, Conversation
from conversations.services import SCRIPT, export_conversations, review_message
from conversations.tests.factories import (
    access_of,
    client_for,
    make_conversation,
    make_staff,
    make_user,
)

pytestmark = pytest.mark.django_db

LETTERS = string.ascii_letters + string.digits


def make_exporter():
    rights = ("view_conversation", "view_message", "export_conversation")
    return make_user("boss", *rights, is_staff=True)


def body_of(response):
    assert response.status_code == 200, response.getvalue()
    return b"".join(response.streaming_content)


def export_of(chat, file_format, access=SCRIPT):
    rows = Conversation.objects.filter(pk=chat.pk)
    given = {"conversations": rows, "file_format": file_format, "access": access}
    return "".join(export_conversations(**given)).encode()


@pytest.mark.parametrize("file_format", WRITERS)
def test_a_conversation_is_downloaded_in_every_format(file_format, alice):
    chat = make_conversation(alice, 3)
    make_conversation(alice, 1)
    response = client_for(alice).get(f"/api/conversations/{chat.pk}/export?format={file_format}")
    assert body_of(response) == export_of(chat, file_format)
    writer = WRITERS[file_format]
    assert response["Content-Type"] == f"{writer.content_type}; charset=utf-8"
    name = f'attachment; filename="{chat.pk}.{writer.extension}"'
    assert response["Content-Disposition"] == name
    assert response["X-Content-Type-Options"] == "nosniff"


def test_without_a_format_it_is_everything(alice):
    chat = make_conversation(alice, 2)
    for path in ("conversations", "chat-history/sessions"):
        response = client_for(alice).get(f"/api/{path}/{chat.pk}/export/")
        assert json.loads(body_of(response))["id"] == str(chat.pk)


@pytest.mark.parametrize(
    ("query", "field"), [("format=docx", "format"), ("branches=2", "branches"), ("page=2", "page")]
)
def test_what_is_not_known_is_refused_by_name(query, field, alice):
    chat = make_conversation(alice, 1)
    response = client_for(alice).get(f"/api/conversations/{chat.pk}/export?{query}")
    assert response.status_code == 400
    assert response.json()["errors"][0]["attr"] == field
    session = client_for(alice).get(f"/api/chat-history/sessions/{chat.pk}/export?{query}")
    assert session.status_code == 422


def test_the_file_has_the_name_that_the_caller_has_for_the_owner(alice):
    app = client_for(make_user("app"), trusted=True, namespace="crm")
    chat = app.post("/api/conversations", {"user_id": 7}).json()
    line = json.loads(body_of(app.get(f"/api/conversations/{chat['id']}/export")))
    assert line["owner"] == "7"


def test_reviews_are_for_staff_alone(alice):
    chat, boss = make_conversation(alice, 1), make_staff("boss")
    review_message(
        conversation_id=chat.pk,
        message_id=chat.messages.get().id,
        score=1,
        labels=["kind"],
        access=access_of(boss, reader=True, writer=True),
    )
    path = f"/api/conversations/{chat.pk}/export"
    assert b"kind" not in body_of(client_for(alice).get(path))


def test_staff_with_the_right_get_reviews_and_leave_one_record(alice):
    chat, boss = make_conversation(alice, 2), make_exporter()
    review_message(
        conversation_id=chat.pk,
        message_id=chat.messages.in_order()[0].id,
        score=1,
        labels=["kind"],
        access=access_of(boss, reader=True, writer=True),
    )
    client = client_for(boss)
    path = f"/api/conversations/{chat.pk}/export?format=csv"
    assert b"kind" in body_of(client.get(path, headers={"Access-Reason": "T 1"}))
    record = AccessRecord.objects.get(action="export")
    assert (record.owner_name, record.reason) == ("alice", "T 1")
    assert record.detail == {"format": "csv", "messages": 2}


def test_staff_without_the_right_are_refused_and_leave_no_record(alice):
    chat, boss = make_conversation(alice, 2), make_staff("boss")
    response = client_for(boss).get(f"/api/conversations/{chat.pk}/export")
    assert response.status_code == 403
    assert not AccessRecord.objects.exists()


def test_a_required_reason_is_required(alice, settings):
    settings.CHAT_REQUIRE_READ_REASON = True
    chat, boss = make_conversation(alice, 2), make_exporter()
    own = make_conversation(boss, 1)
    client = client_for(boss)
    assert client.get(f"/api/conversations/{chat.pk}/export").status_code == 403
    assert body_of(client.get(f"/api/conversations/{own.pk}/export"))
    assert body_of(client.get("/api/me/export"))


def test_each_branch_is_written_where_all_are_asked_for(alice):
    chat = make_conversation(alice, 2)
    client = client_for(alice)
    said = {"role": "user", "content": "other", "parent_id": "root"}
    assert client.post(f"/api/conversations/{chat.pk}/messages", said).status_code == 201
    path = f"/api/conversations/{chat.pk}/export"
    assert len(body_of(client.get(f"{path}?format=openai")).splitlines()) == 1
    assert len(body_of(client.get(f"{path}?format=openai&branches=all")).splitlines()) == 2
    refused = client.get(f"{path}?format=html&branches=all")
    assert refused.status_code == 400
    assert refused.json()["errors"][0]["attr"] == "branches"


def test_all_of_ones_own_is_a_zip(alice, bob):
    chats = [make_conversation(alice, count) for count in (2, 0)]
    theirs = make_conversation(bob, 1)
    response = client_for(alice).get("/api/me/export")
    archive = zipfile.ZipFile(io.BytesIO(body_of(response)))
    assert response["Content-Type"] == "application/zip"
    assert archive.testzip() is None
    pages = [f"html/{chat.pk}.html" for chat in chats]
    assert sorted(archive.namelist()) == ["conversations.jsonl", *sorted(pages)]
    lines = archive.read("conversations.jsonl").splitlines()
    assert [json.loads(line)["id"] for line in lines] == sorted(str(chat.pk) for chat in chats)
    assert archive.read(pages[0]) == export_of(chats[0], "html")
    assert str(theirs.pk) not in " ".join(archive.namelist())


def test_the_filters_of_the_list_choose_what_is_in_the_zip(alice):
    make_conversation(alice, 1, title="Trains")
    chat = make_conversation(alice, 1, title="Planes")
    Conversation.objects.filter(pk=chat.pk).update(pinned=True)
    response = client_for(alice).get("/api/me/export?format=markdown&pinned=true")
    archive = zipfile.ZipFile(io.BytesIO(body_of(response)))
    assert archive.namelist() == ["conversations.jsonl", f"markdown/{chat.pk}.md"]
    refused = client_for(alice).get("/api/me/export?pinned=maybe")
    assert refused.status_code == 400


def test_a_zip_of_much_text_comes_in_pieces(alice):
    chat = make_conversation(alice, 6)
    for message in chat.messages.all():
        message.content = "".join(random.Random(message.sequence).choices(LETTERS, k=100_000))
        message.save(update_fields=["content"])
    response = client_for(alice).get("/api/me/export")
    sizes = [len(piece) for piece in response.streaming_content]
    assert len(sizes) > 6
    assert max(sizes) < sum(sizes) / 2


def test_exports_have_a_rate_of_their_own(alice, settings):
    settings.THROTTLE_RATES = {"export": "1/min"}
    chat = make_conversation(alice, 1)
    client = client_for(alice)
    statuses = [client.get(f"/api/conversations/{chat.pk}/export").status_code for _ in range(2)]
    assert statuses == [200, 429]
    assert client.get("/api/me/export").status_code == 429
    assert client.get(f"/api/conversations/{chat.pk}").status_code == 200


def test_the_list_takes_the_filters_of_an_export(alice):
    good, bad, unrated = (make_conversation(alice, 2) for _ in range(3))
    for chat, rating in ((good, 1), (bad, -1)):
        chat.messages.filter(sequence=2).update(rating=rating, detected_mode=f"m{rating}")
    bad.messages.filter(sequence=1).update(rating=1)

    def listed(query):
        answer = client_for(alice).get(f"/api/conversations?{query}").json()
        return {chat["id"] for chat in answer["conversations"]}

    assert listed("min_rating=1") == {str(good.pk)}
    assert listed("min_rating=-1") == {str(good.pk), str(bad.pk)}
    assert listed("mode=m-1") == {str(bad.pk)}
    assert str(unrated.pk) not in listed("min_rating=-1")
