import os

import pytest
from django.contrib.staticfiles.storage import staticfiles_storage

from chatproject import static_files


@pytest.fixture
def collected(settings, tmp_path, monkeypatch):
    """What collectstatic was called for, into a folder that is empty at first."""
    settings.STATIC_ROOT = str(tmp_path / "static")
    calls = []
    monkeypatch.setattr(static_files, "call_command", lambda *args, **_: calls.append(args))
    return calls


def test_names_are_plain_until_files_are_collected():
    assert staticfiles_storage.url("conversations/list.css") == "/static/conversations/list.css"


def test_a_collected_file_has_its_hash_in_its_name(settings, tmp_path):
    settings.STATIC_ROOT = str(tmp_path)
    storage = static_files.StaticFiles()
    storage.hashed_files = {"conversations/list.css": "conversations/list.0123456789ab.css"}
    assert storage.url("conversations/list.css").endswith("/list.0123456789ab.css")
    assert storage.url("conversations/zone.js") == "/static/conversations/zone.js"


def test_files_are_collected_again_only_once_one_has_changed(collected, monkeypatch):
    assert static_files.collect_static_files()
    assert not static_files.collect_static_files()
    path = static_files.Path(static_files.__file__).parent.parent
    sheet = path / "conversations" / "static" / "conversations" / "list.css"
    before = sheet.stat()
    try:
        os.utime(sheet, ns=(before.st_atime_ns, before.st_mtime_ns + 1_000_000_000))
        assert static_files.collect_static_files()
    finally:
        os.utime(sheet, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert len(collected) == 2
