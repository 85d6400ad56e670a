"""An export of one database, restored into an empty one by processes: the same bytes."""

import gzip
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from urllib.parse import quote, urlencode

import pytest
from django.conf import settings
from django.db import connection

from conversations.management.database_copies import scratch_database
from conversations.services import SCRIPT, MessageDraft, append_drafts, delete_message
from conversations.tests.factories import make_conversation, make_user
from conversations.tests.services.test_lossless import everything

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.one_node("the empty database is not distributed"),
]

COUNT = 300
EXPORT = ("export_conversations", "--format", "jsonl", "-o")


def manage(database, *arguments, **options):
    return subprocess.Popen(
        [sys.executable, settings.BASE_DIR / "manage.py", *map(str, arguments)],
        env=os.environ | {"DATABASE_URL": url_of(database)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


def ended(process, status=0):
    out, err = process.communicate(timeout=120)
    assert process.returncode == status, err.decode()
    return out


def url_of(database):
    server = connection.settings_dict
    user = ":".join(quote(part) for part in (server["USER"], server["PASSWORD"]) if part)
    where = urlencode({"host": server["HOST"], "port": server["PORT"]})
    return f"postgres://{user}@/{database}?{where}"


@pytest.fixture
def empty_database():
    with scratch_database("restored") as name:
        ended(manage(name, "migrate", "--verbosity", "0"))
        yield name


def test_an_export_restored_by_two_processes_at_once_is_the_same(tmp_path, empty_database):
    everything()
    owners = [make_user(f"owner{number}") for number in range(3)]
    for number in range(COUNT):
        chat = make_conversation(owners[number % 3], 3)
        middle = chat.messages.in_order()[1]
        if number % 2:
            delete_message(conversation_id=chat.pk, message_id=middle.id, access=SCRIPT)
        else:
            draft = MessageDraft(role="user", content="x", created_at=datetime.now(UTC))
            parents = [middle.id]
            append_drafts(conversation_id=chat.pk, drafts=[draft], parents=parents, access=SCRIPT)
    first, second = tmp_path / "first.jsonl.gz", tmp_path / "second.jsonl.gz"
    ended(manage(connection.settings_dict["NAME"], *EXPORT, first))

    command = ("import_conversations", first, "--as-exported", "--json")
    with gzip.open(first) as plain, (tmp_path / "plain").open("wb") as copy:
        copy.write(plain.read())
    with (tmp_path / "plain").open("rb") as plain:
        at_once = [
            manage(empty_database, command[0], "-", *command[2:], stdin=plain),
            manage(empty_database, *command),
        ]
        both = [json.loads(ended(each)) for each in at_once]
    for each in both:
        assert each["created"] + each["already_stored"] == each["read"] == COUNT + 6
    ended(manage(empty_database, *EXPORT, second))
    assert gzip.decompress(second.read_bytes()) == gzip.decompress(first.read_bytes())
