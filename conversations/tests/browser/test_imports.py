"""An import in a real browser: its form, the pieces of its file, its progress and its report."""

import json

import pytest

from conversations.models import Conversation, ImportRun
from conversations.services.import_runs import run_waiting_imports
from conversations.tests.browser.test_staff import look
from conversations.tests.factories import make_user

ADD = "/admin/conversations/importrun/add/"


@pytest.fixture
def file(tmp_path, settings):
    settings.CHAT_IMPORTS_DIR = tmp_path / "imports"
    settings.CHAT_MAX_BODY_BYTES = settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 8_192
    lines = [
        {"id": str(at), "messages": [{"role": "user", "content": f"Hello {at} " + "x" * 200}]}
        for at in range(300)
    ]
    lines[7]["messages"][0]["role"] = "nobody"
    path = tmp_path / "chats.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_a_file_is_sent_in_pieces_and_followed_to_its_end(page, file):
    make_user("alice")
    page.goto(ADD)
    look(page, "import-form")
    page.get_by_label("File", exact=True).set_input_files(file)
    page.get_by_label("Owner", exact=True).fill("nobody")
    page.keyboard.press("Enter")
    page.get_by_text("No such user").wait_for()
    page.get_by_label("Owner", exact=True).fill("alice")
    page.keyboard.press("Enter")
    page.get_by_text("Waiting").wait_for()
    run = ImportRun.objects.get()
    assert (run.status, run.file_format, run.size) == ("waiting", "auto", file.stat().st_size)
    look(page, "import-waiting")
    assert run_waiting_imports() == 1
    # The page learns it by itself.
    page.get_by_text("Done").wait_for()
    assert page.get_by_role("button", name="Stop").count() == 0
    page.get_by_text("line 8: messages.0.role").wait_for()
    look(page, "import-done")
    assert Conversation.objects.count() == 299
    with page.expect_download() as download:
        page.get_by_text("Download all 1 as JSON Lines").click()
    with open(download.value.path()) as rejections:
        assert json.loads(rejections.read())["line"] == 8
    page.goto("/admin/conversations/importrun/")
    look(page, "import-list")
