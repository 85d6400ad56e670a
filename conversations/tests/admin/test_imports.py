"""Staff import a file: its form, its pieces, its progress and its report."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection

from conversations.db.one_at_a_time import unless_elsewhere
from conversations.models import AccessRecord, Conversation, ImportRun, Message
from conversations.models.installation import _secret
from conversations.services import SCRIPT, erase_user, import_files, import_runs, imports
from conversations.services.import_runs import _LOCK, imports_wait_here, run_waiting_imports
from conversations.services.import_uploads import path_of, remove_abandoned_uploads
from conversations.tests.admin.conftest import signed_in, text_of
from conversations.tests.factories import make_user

pytestmark = pytest.mark.django_db

LIST = "/admin/conversations/importrun/"
ADD = f"{LIST}add/"
GOOD = {"id": "a", "messages": [{"role": "user", "content": "Hello"}]}
BAD = {"id": "b", "messages": [{"role": "nobody", "content": "Hello"}]}


@pytest.fixture(autouse=True)
def _own_folder(settings, tmp_path):
    settings.CHAT_IMPORTS_DIR = tmp_path / "imports"


@pytest.fixture
def importer(db):
    return make_user("importer", "import_conversation", is_staff=True)


@pytest.fixture
def browser(importer):
    return signed_in(importer)


def content(*lines):
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def form(*lines, **values):
    file = SimpleUploadedFile("chats.jsonl", content(*lines))
    return {"file": file, "format": "openai", "owner": "alice", **values}


def page_of(browser):
    return text_of(browser.get(f"{LIST}{ImportRun.objects.get().pk}/change/"))


def numbers(page):
    """The figures of the page, by their names."""
    found = re.findall(r"<dt>([^<]+)</dt><dd>([\d,]+)</dd>", page)
    return {name: int(number.replace(",", "")) for name, number in found}


def test_a_file_is_imported_and_its_report_shown(browser, alice):
    response = browser.post(ADD, form(GOOD, BAD, GOOD), follow=True)
    assert "Waiting" in text_of(response)
    assert imports_wait_here()
    assert run_waiting_imports() == 1
    page = page_of(browser)
    assert "Done" in page
    assert numbers(page) == {
        "Conversations read": 3,
        "Created": 1,
        "Extended, which had grown in the file": 0,
        "Messages created": 1,
        "Already stored": 1,
        "Rejected": 1,
    }
    assert "line 2: messages.0.role: Unknown role." in page
    assert Conversation.objects.get().user == alice
    assert not path_of(ImportRun.objects.get()).exists()
    assert run_waiting_imports() == 0


def test_the_formats_that_were_recognised_are_shown(browser, alice):
    share = {"id": "s", "conversations": [{"from": "human", "value": "Hello"}]}
    browser.post(ADD, form(share, {**share, "id": "t"}, format="auto"))
    assert "<dt>Recognised as</dt><dd>–</dd>" in page_of(browser)
    run_waiting_imports()
    assert "<dt>Recognised as</dt><dd>sharegpt (2)</dd>" in page_of(browser)
    assert "sharegpt" in text_of(browser.get(LIST))
    assert ImportRun.objects.get().formats == {"sharegpt": 2}


def test_an_export_without_conversations_is_imported(browser, alice):
    file = SimpleUploadedFile("conversations.json", b" [ ]\n")
    browser.post(ADD, form(format="auto") | {"file": file})
    run_waiting_imports()
    run = ImportRun.objects.get()
    assert (run.status, run.read, run.rejections) == ("done", 0, 0)


def test_rejections_are_downloaded_as_json_lines(browser, alice):
    browser.post(ADD, form(GOOD, BAD))
    run_waiting_imports()
    response = browser.get(f"{LIST}{ImportRun.objects.get().pk}/rejections/")
    assert "attachment" in response["Content-Disposition"]
    [line] = b"".join(response.streaming_content).splitlines()
    assert json.loads(line)["line"] == 2
    assert json.loads(line)["reason"].startswith("messages.0.role: ")


def test_many_rejections_are_kept_in_part(browser, alice, monkeypatch):
    monkeypatch.setattr(import_runs, "REFUSED_KEPT", 5)
    browser.post(ADD, form(*[BAD] * 8))
    run_waiting_imports()
    assert "Download the first 5" in page_of(browser)
    assert ImportRun.objects.get().rejections == 8


def test_a_dry_run_stores_nothing(browser, alice):
    browser.post(ADD, form(GOOD, dry_run="on"))
    run_waiting_imports()
    page = page_of(browser)
    assert "Dry run" in page
    assert numbers(page)["Created"] == 1
    assert not Conversation.objects.exists()


def test_the_file_names_the_owners(browser, db):
    lines = [{**GOOD, "id": name, "metadata": {"user": name}} for name in ("ann", "importer")]
    browser.post(ADD, form(*lines, owner="", owner_field="user", namespace=""))
    run_waiting_imports()
    assert Conversation.objects.get().user == User.objects.get(username="ann")
    assert "metadata.user: An account of staff gets no conversations from others." in page_of(
        browser
    )


@pytest.mark.parametrize(
    ("values", "field", "text"),
    [
        ({"owner": "nobody"}, "owner", "No such user"),
        ({"owner": ""}, "owner", "Name one owner"),
        ({"owner_field": "owner"}, "owner", "Name one owner"),
        ({"owner": "chief"}, "owner", "An account of staff"),
        ({"namespace": "A B"}, "namespace", "A namespace has"),
        ({"format": "word"}, "format", "Select a valid choice"),
        ({"file": SimpleUploadedFile("a", b"")}, "file", "The file is empty."),
        ({"file": ""}, "file", "Choose a file."),
    ],
)
def test_a_wrong_value_is_named_and_nothing_is_noted(browser, alice, values, field, text):
    make_user("chief", is_staff=True)
    response = browser.post(ADD, form(GOOD) | values)
    assert text in " ".join(response.context["form"].errors[field])
    assert not ImportRun.objects.exists()
    assert not AccessRecord.objects.exists()
    # To the script of the page.
    refused = browser.post(ADD, form(GOOD) | values, headers={"Accept": "application/json"})
    assert list(refused.json()["errors"]) == [field]


def test_a_file_that_is_too_large_is_refused_before_it_is_sent(browser, alice, settings):
    settings.CHAT_MAX_IMPORT_BYTES = 1_000
    values = {"file_name": "a", "size": 1_001, "format": "openai", "owner": "alice"}
    response = browser.post(ADD, values, headers={"Accept": "application/json"})
    assert response.json()["errors"] == {"file": ["The file is larger than 1,000 bytes."]}


def begin(browser, data, **values):
    values = {"file_name": "a.jsonl", "size": len(data), "format": "openai", "owner": "alice"}
    return browser.post(ADD, values, headers={"Accept": "application/json"}).json()


def send(browser, begun, at, data):
    return browser.post(f"{begun['piece']}?at={at}", data, content_type="application/octet-stream")


def test_a_file_comes_in_pieces(browser, alice):
    data = content(GOOD, BAD)
    begun = begin(browser, data)
    assert ImportRun.objects.get().status == "uploading"
    for at in range(0, len(data), 10):
        for _ in range(2):  # again, as after an answer that got lost
            assert send(browser, begun, at, data[at : at + 10]).status_code == 200
        assert not run_waiting_imports() or at + 10 >= len(data)
    run_waiting_imports()
    assert send(browser, begun, 0, data[:10]).status_code == 200
    assert (Conversation.objects.count(), ImportRun.objects.get().rejections) == (1, 1)


def test_a_piece_that_does_not_fit_is_refused(browser, alice, db):
    data = content(GOOD)
    begun = begin(browser, data)
    assert send(browser, begun, 5, data[5:]).json()["errors"]["file"][0].startswith("0 bytes of")
    assert send(browser, begun, 0, data + b"x").status_code == 409
    assert send(browser, begun, "x", data).status_code == 400
    other = signed_in(make_user("other", "import_conversation", is_staff=True))
    assert send(other, begun, 0, data).status_code == 409
    assert browser.get(begun["piece"]).status_code == 405
    assert not path_of(ImportRun.objects.get()).exists()


def test_an_import_is_stopped_between_two_batches(browser, alice, monkeypatch):
    monkeypatch.setattr(imports, "BATCH_CONVERSATIONS", 1)
    browser.post(ADD, form(*[{**GOOD, "id": str(at)} for at in range(5)]))
    run = ImportRun.objects.get()
    add = imports.Importer.add

    def stop_at_the_third(self, *args, **options):
        if self.report.read == 2:
            browser.post(f"{LIST}{run.pk}/stop/")
        add(self, *args, **options)

    monkeypatch.setattr(imports.Importer, "add", stop_at_the_third)
    run_waiting_imports()
    run.refresh_from_db()
    assert (run.status, run.created, Conversation.objects.count()) == ("stopped", 2, 3)
    assert not path_of(run).exists()
    assert "data-stop" not in page_of(browser)


def test_a_defect_ends_an_import_and_the_next_one_runs(browser, alice, monkeypatch):
    read = import_files.read_files

    def broken(files, file_format):
        if file_format == "chatgpt":
            raise RuntimeError
        return read(files, file_format)

    browser.post(ADD, form(GOOD, format="chatgpt"))
    browser.post(ADD, form(GOOD))
    monkeypatch.setattr(import_files, "read_files", broken)
    assert run_waiting_imports() == 2
    failed, done = ImportRun.objects.order_by("created_at")
    assert (failed.status, done.status) == ("failed", "done")
    assert "RuntimeError" in failed.error


def test_an_upload_that_stands_still_is_given_up(browser, alice):
    data = content(GOOD)
    begun = begin(browser, data)
    send(browser, begun, 0, data[:10])
    run = ImportRun.objects.get()
    remove_abandoned_uploads()
    assert path_of(run).exists()
    ImportRun.objects.update(updated_at="2020-01-01T00:00:00Z")
    remove_abandoned_uploads()
    assert not path_of(run).exists()
    assert send(browser, begun, 10, data[10:]).status_code == 409


def test_a_file_on_another_machine_is_left_to_it(browser, alice, settings, tmp_path):
    browser.post(ADD, form(GOOD))
    settings.CHAT_IMPORTS_DIR = tmp_path / "another machine"
    assert not imports_wait_here()
    assert run_waiting_imports() == 0


def test_one_process_imports_at_a_time(browser, alice):
    browser.post(ADD, form(GOOD))
    with unless_elsewhere(_LOCK) as free:
        assert free
        assert not imports_wait_here()
        assert run_waiting_imports() == 0
    assert run_waiting_imports() == 1


def test_it_takes_a_right_of_its_own(staff, alice):
    browser = signed_in(staff)
    assert "Imports" not in text_of(browser.get("/admin/"))
    run = ImportRun.objects.create(staff_id=staff.pk, file_name="a", file_format="json", size=1)
    for page in ("", "add/", f"{run.pk}/change/", f"{run.pk}/rejections/"):
        assert browser.get(f"{LIST}{page}").status_code == 403
    for page in ("add/", f"{run.pk}/piece/?at=0", f"{run.pk}/stop/"):
        assert browser.post(f"{LIST}{page}", form(GOOD)).status_code == 403
    assert not run_waiting_imports()


def test_whoever_may_import_reads_nothing_by_that(browser, alice):
    assert browser.get("/admin/conversations/conversation/").status_code == 403
    assert "Imports" in text_of(browser.get("/admin/"))


def test_the_record_says_what_was_imported(browser, alice):
    browser.post(ADD, form(GOOD, reason="Ticket 7"))
    record = AccessRecord.objects.get()
    assert (record.action, record.owner_name, record.reason) == ("change", "alice", "Ticket 7")
    assert record.detail == {
        "import": str(ImportRun.objects.get().pk), "file": "chats.jsonl", "format": "openai",
    }  # fmt: skip


def test_the_list_takes_the_same_statements_for_many(browser, importer, django_assert_num_queries):
    for number in range(3):
        ImportRun.objects.create(
            staff_id=importer.pk, file_name=f"<b>{number}", file_format="json", size=1
        )
    browser.get(LIST)
    with django_assert_num_queries(7):
        page = text_of(browser.get(LIST))
    assert "&lt;b&gt;1" in page
    assert "importer" in page


def test_an_erased_owner_leaves_no_import(browser, alice):
    browser.post(ADD, form(GOOD))
    path = path_of(ImportRun.objects.get())
    assert path.exists()
    erase_user(user_id=alice.pk, access=SCRIPT)
    run = ImportRun.objects.get()
    assert (run.status, run.owner_id, run.file_name) == ("stopped", None, "")
    remove_abandoned_uploads()
    assert not path.exists()
    assert run_waiting_imports() == 0


def test_the_files_of_another_database_stay_for_a_day(browser, settings):
    folder = Path(settings.CHAT_IMPORTS_DIR)
    folder.mkdir(parents=True, exist_ok=True)
    other = folder / "01a21a05-e49d-7738-b7ee-f42643226900"
    other.write_bytes(b"[]")
    remove_abandoned_uploads()
    assert other.exists()
    os.utime(other, (0, 0))
    remove_abandoned_uploads()
    assert not other.exists()


@pytest.mark.django_db(transaction=True)
def test_an_import_is_resumed_when_its_process_is_killed(importer, alice, settings):
    _secret.cache_clear()
    lines = [{**GOOD, "id": str(at)} for at in range(400)]
    lines.insert(1, BAD)
    signed_in(importer).post(ADD, form(*lines))
    code = (
        "import sys, django; django.setup(); from django.conf import settings;"
        "from django.db import connection;"
        f"connection.settings_dict['NAME'] = {connection.settings_dict['NAME']!r};"
        f"settings.CHAT_IMPORTS_DIR = {str(settings.CHAT_IMPORTS_DIR)!r};"
        "from conversations.services import imports; imports.BATCH_CONVERSATIONS = 10;"
        "from django.core.management import execute_from_command_line as run; run(sys.argv)"
    )
    with subprocess.Popen([sys.executable, "-c", code, "run_imports"]) as process:
        while Message.objects.count() < 20:
            assert process.poll() is None
            time.sleep(0.005)
        assert not imports_wait_here(), "it runs"
        process.send_signal(signal.SIGKILL)
    run = ImportRun.objects.get()
    assert (run.status, Message.objects.count() < 400) == ("running", True)
    before = run.read
    assert run_waiting_imports() == 1
    run.refresh_from_db()
    assert (run.status, run.read, run.rejections) == ("done", 401, 1)
    # What it had stored after its row was written last counts as already stored: a batch at most.
    assert run.created + run.already_there == 400 == Message.objects.count()
    assert run.already_there <= 10
    assert before > 0 or run.already_there
