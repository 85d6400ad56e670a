"""What staff get who export web pages: one page for one conversation, else a zip."""

import io
import json
import zipfile

import pytest

from conversations.services import SCRIPT, MessageDraft, append_drafts
from conversations.tests.admin.conftest import signed_in
from conversations.tests.factories import make_conversation, make_superuser

pytestmark = pytest.mark.django_db


@pytest.fixture
def export(db):
    browser = signed_in(make_superuser())

    def post(*chats, **values):
        ids = ",".join(str(chat.pk) for chat in chats)
        response = browser.post(f"/admin/conversations/conversation/export/?ids={ids}", values)
        return response["Content-Disposition"], b"".join(response.streaming_content)

    return post


def pages_in(content):
    return zipfile.ZipFile(io.BytesIO(content)).namelist()


def test_one_conversation_is_one_page(export, alice):
    name, page = export(make_conversation(alice, 2), format="html")
    assert name.endswith('.html"')
    assert page.startswith(b"<!doctype html>")
    assert page.endswith(b"</html>\n")


def test_one_conversation_is_one_vcon(export, alice):
    chat = make_conversation(alice, 2)
    name, content = export(chat, format="vcon", branches="active")
    assert name.endswith('.vcon"')
    assert json.loads(content)["uuid"] == str(chat.pk)


def test_several_are_a_zip_of_pages(export, alice):
    chats = [make_conversation(alice, 1) for _ in range(2)]
    name, content = export(*chats, format="html")
    assert name.endswith('.zip"')
    assert sorted(pages_in(content)) == sorted(f"{chat.pk}.html" for chat in chats)


def test_each_branch_of_one_is_a_page_in_a_zip(export, alice):
    chat = make_conversation(alice)
    for text in ("First", "Edited"):
        draft = MessageDraft(role="user", content=text)
        append_drafts(conversation_id=chat.pk, drafts=[draft], parents=["root"], access=SCRIPT)
    name, content = export(chat, format="html", branches="all")
    assert name.endswith('.zip"')
    assert len(pages_in(content)) == 2
