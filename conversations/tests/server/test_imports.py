"""The web server imports what was sent to it, in a process of its own."""

import json

import pytest

from conversations.models import ImportRun, Message
from conversations.models.installation import _secret
from conversations.services.import_uploads import add_piece, begin_upload, path_of
from conversations.tests.chat.fixtures import wait_until
from conversations.tests.chat.servers import serving
from conversations.tests.factories import access_of, make_staff, make_user

pytestmark = pytest.mark.django_db(transaction=True)

WITHIN = 60  # seconds


def test_a_file_that_waits_is_imported_by_the_server(provider):
    _secret.cache_clear()
    make_user("alice")
    staff = make_staff()
    data = json.dumps({"messages": [{"role": "user", "content": "Hello"}]}).encode()
    run = begin_upload(
        access=access_of(staff, reader=True, writer=True),
        file_name="chats.jsonl",
        size=len(data),
        file_format="auto",
        owner="alice",
    )
    add_piece(run_id=run.pk, staff_id=staff.pk, at=0, data=data)
    with serving(provider, threads=2):
        wait_until(lambda: ImportRun.objects.get().status == "done", WITHIN)
    assert Message.objects.get().content == "Hello"
    assert not path_of(run).exists()
