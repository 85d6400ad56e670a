"""Files, folders, streams and archives as what is in them, with bounds and reasons."""

import gzip
import io
import json
import os
import struct
import subprocess
import sys
import zipfile

import pytest

from conversations.formats import Chat, Files, Limits, Rejected, read_files, reading, unpacking


def line(text="Hi", **fields):
    return json.dumps({"messages": [{"role": "user", "content": text}]} | fields).encode() + b"\n"


def chatgpt(id_):
    message = {"author": {"role": "user"}, "content": {"content_type": "text", "parts": ["x"]}}
    node = {"id": "a", "parent": None, "children": [], "message": message}
    return {"id": id_, "mapping": {"a": node}}


def zipped(files, compression=zipfile.ZIP_DEFLATED):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", compression) as archive:
        for name, content in files.items():
            text = content if isinstance(content, bytes) else json.dumps(content).encode()
            archive.writestr(name, text)
    return data.getvalue()


def read(data, name="auto", **limits):
    source = io.BytesIO(data) if isinstance(data, bytes) else data
    return list(read_files(Files(source, limits=Limits(**limits)), name))


def said(found):
    """Where each conversation is from and what it says, or why it is none."""
    return [
        (each.file, each.line, each.messages[0].content if isinstance(each, Chat) else each.reason)
        for each in found
    ]


def piped(data):
    reading, writing = os.pipe()
    os.write(writing, data)
    os.close(writing)
    return os.fdopen(reading, "rb")


@pytest.fixture
def folder(tmp_path):
    def write(**files):
        for name, data in files.items():
            path = tmp_path / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return tmp_path

    return write


def test_a_file_is_read_by_its_path(tmp_path):
    path = tmp_path / "chats"
    path.write_bytes(line("one") + line("two"))
    for each in (path, str(path)):
        files = Files(each)
        assert said(read_files(files, "openai")) == [("", 1, "one"), ("", 2, "two")]
        assert files.position == files.size == path.stat().st_size


def test_a_path_that_is_none_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        Files(tmp_path / "none")


def test_a_chat_says_its_format_and_both_names_of_ours_are_one():
    (chat,) = read(line())
    assert chat.format == "openai"
    (chat,) = read(line(), "jsonl")
    assert chat.format == "json"


def test_gzip_is_known_by_its_beginning(tmp_path):
    assert said(read(gzip.compress(line("one")) + gzip.compress(line("two")))) == [
        ("", 1, "one"),
        ("", 2, "two"),
    ]


def test_a_pipe_is_read_too():
    for data in (line("x"), gzip.compress(line("x")), zipped({"a.jsonl": line("x")})):
        with piped(data) as pipe:
            files = Files(pipe)
            ((_, at, text),) = said(read_files(files, "auto"))
            assert (at, text, files.size) == (1, "x", None)
            assert files.position == len(data)


def test_a_folder_is_read_in_the_order_of_names(folder):
    path = folder(
        **{
            "b.jsonl": line("b"),
            "a__z.jsonl.gz": gzip.compress(line("az")),
            "a__b__c.json": b"[" + line("abc") + b"]",
            "c.zip": zipped({"z.jsonl": line("cz"), "x/y.jsonl": line("cxy")}),
            "notes.txt": b"text",
        }
    )
    files = Files(path)
    assert said(read_files(files, "auto")) == [
        ("a/b/c.json", 1, "abc"),
        ("a/z.jsonl.gz", 1, "az"),
        ("b.jsonl", 1, "b"),
        ("c.zip/x/y.jsonl", 1, "cxy"),
        ("c.zip/z.jsonl", 1, "cz"),
    ]
    assert files.position == files.size


def test_symbolic_links_in_a_folder_are_not_followed(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "secret.jsonl").write_bytes(line("secret"))
    path = folder(**{"a.jsonl": line("a")})
    (path / "b.jsonl").symlink_to(elsewhere / "secret.jsonl")
    (path / "c").symlink_to(elsewhere)
    (path / "d").symlink_to(path)
    assert said(read(path)) == [("a.jsonl", 1, "a")]


def test_what_is_no_regular_file_is_not_opened(folder):
    path = folder(**{"a.jsonl": line("a")})
    os.mkfifo(path / "b.jsonl")
    assert said(read(path)) == [("a.jsonl", 1, "a")]


def test_a_folder_without_files_of_the_format_says_so(folder):
    ((_, _, reason),) = said(read(folder(**{"notes.txt": b"x"}), "openai"))
    assert reason == (
        "No file here has a name that this format is read from: "
        "*.json, *.jsonl, *.ndjson, *.parquet."
    )


def test_a_zip_of_an_export_is_read_with_all_its_parts():
    files = {
        "conversations-001.json": [chatgpt("two")],
        "conversations-000.json": [chatgpt("one"), chatgpt("also")],
        "user.json": {"id": "u"},
        "__MACOSX/._conversations.json": b"\0\5\x16\7",
    }
    for name in ("chatgpt", "auto"):
        found = [(each.file, each.line, each.file_id) for each in read(zipped(files), name)]
        assert found == [
            ("conversations-000.json", 1, "one"),
            ("conversations-000.json", 2, "also"),
            ("conversations-001.json", 1, "two"),
        ]


def test_names_in_a_zip_are_only_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["../../up.jsonl", "/root.jsonl", "C:\\drive.jsonl"]
    found = read(zipped({name: line(name) for name in names}))
    assert [chat.messages[0].content for chat in found] == names
    assert list(tmp_path.iterdir()) == []


def test_a_zip_in_a_zip_is_refused_and_costs_no_other():
    inner = zipped({"a.jsonl": line("inner")})
    assert said(read(zipped({"b.jsonl": line("b"), "x/i.zip": inner}))) == [
        ("x/i.zip", 1, "A zip in a zip is not opened: unpack it first."),
        ("b.jsonl", 1, "b"),
    ]


def test_what_a_zip_beside_the_conversations_has_in_other_folders_is_read():
    files = {"a/conversations.json": [chatgpt("a")], "a/user.json": {}, "b/c.jsonl": line("c")}
    assert said(read(zipped(files))) == [("a/conversations.json", 1, "x"), ("b/c.jsonl", 1, "c")]


def test_a_name_that_is_no_text_is_shown_escaped(tmp_path):
    (tmp_path / os.fsdecode(b"\xff\n.jsonl")).write_bytes(line("a"))
    assert said(read(tmp_path)) == [("\\udcff\\n.jsonl", 1, "a")]


def test_a_file_that_is_gone_or_closed_to_us_costs_no_other(folder):
    path = folder(**{"a.jsonl": line("a"), "b.jsonl": line("b")})
    files = Files(path)
    (path / "a.jsonl").unlink()
    assert said(read_files(files, "auto")) == [
        ("a.jsonl", 1, "Cannot be opened: No such file or directory."),
        ("b.jsonl", 1, "b"),
    ]


def test_one_name_twice_in_a_zip_is_two_files():
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("a.jsonl", line("one"))
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.jsonl", line("two"))
    assert said(read(data.getvalue())) == [("a.jsonl", 1, "one"), ("a.jsonl", 1, "two")]


def test_the_position_in_a_zip_goes_up_to_its_size(tmp_path):
    path = tmp_path / "e.zip"
    names = [f"{number}.jsonl" for number in range(2)]
    texts = {name: b"".join(line(os.urandom(2000).hex()) for _ in range(300)) for name in names}
    path.write_bytes(zipped({**texts, "video.mp4": os.urandom(500_000)}))
    files = Files(path)
    places = [files.position for _ in read_files(files, "openai")]
    assert places == sorted(places)
    assert len(set(places)) > 4
    assert files.size * 0.9 < files.position <= files.size


# Damage


def test_a_gzip_that_is_cut_gives_what_is_before_the_cut():
    lines = b"".join(line(os.urandom(50).hex()) for _ in range(100))
    *whole, rejected = read(gzip.compress(lines)[:-3000], "openai")
    assert 10 < len(whole) < 100
    assert rejected == Rejected(
        len(whole) + 1,
        "Cannot be unpacked: compressed file ended before the end-of-stream marker was reached. "
        "The rest of the file is not read.",
    )


def test_an_array_in_a_gzip_that_is_cut_gives_what_is_before_the_cut():
    chats = [chatgpt(os.urandom(50).hex()) for _ in range(100)]
    found = read(gzip.compress(json.dumps(chats).encode())[:-3000], "chatgpt")
    *whole, rejected = found
    assert 10 < len(whole) < 100
    assert (rejected.line, rejected.reason[:19]) == (len(whole) + 1, "Cannot be unpacked:")


def test_a_gzip_that_is_changed_is_refused_from_there():
    data = bytearray(gzip.compress(line("one") * 10))
    data[-6] ^= 1  # of its checksum
    *whole, rejected = read(bytes(data), "openai")
    assert len(whole) == 10
    assert rejected.reason.startswith("Cannot be unpacked: CRC check failed".replace("CRC", "cRC"))


def test_a_zip_that_is_cut_is_refused():
    data = zipped({"a.jsonl": line(os.urandom(500).hex())})
    (rejected,) = read(data[:400])
    assert rejected == Rejected(1, "Cannot be unpacked: file is not a zip file.")


def test_a_damaged_file_in_a_zip_costs_no_other():
    data = bytearray(zipped({"a.jsonl": line("a" * 99), "b.jsonl": line("b")}, zipfile.ZIP_STORED))
    data[data.index(b"a" * 99) + 5] = ord("z")
    (_, first, damaged), *others = said(read(bytes(data)))
    assert (first, damaged) == (1, "Cannot be unpacked: bad CRC-32 for file 'a.jsonl'.")
    assert others == [("b.jsonl", 1, "b")]


def test_an_encrypted_file_in_a_zip_is_refused_and_costs_no_other():
    data = bytearray(zipped({"a.jsonl": line("a"), "b.jsonl": line("b")}))
    data[data.index(b"PK\x01\x02") + 8] |= 1
    assert said(read(bytes(data))) == [
        ("a.jsonl", 1, "Encrypted: unpack it first."),
        ("b.jsonl", 1, "b"),
    ]


def test_a_compression_that_is_unknown_is_refused():
    data = bytearray(zipped({"a.jsonl": line("a")}))
    data[data.index(b"PK\x01\x02") + 10] = 99
    (rejected,) = read(bytes(data))
    assert rejected.reason == "Cannot be unpacked: that compression method is not supported."


def test_an_empty_zip_has_no_files():
    (rejected,) = read(zipped({}), "chatgpt")
    assert rejected.reason.startswith("No file here has a name")


# Bounds


def test_a_gzip_bomb_is_refused(monkeypatch):
    monkeypatch.setattr(unpacking, "_ANY_RATIO_BYTES", 1_000_000)
    data = gzip.compress(line("x") + b"\n" * 20_000_000)
    first, rejected = read(data, "openai")
    assert isinstance(first, Chat)
    assert rejected.reason == (
        "Unpacked, the file is more than 250 times as large. The rest of the file is not read."
    )


def test_a_zip_bomb_is_refused(monkeypatch):
    monkeypatch.setattr(unpacking, "_ANY_RATIO_BYTES", 1_000_000)
    data = zipped({f"{number}.jsonl": b" " * 2_000_000 for number in range(3)})
    assert {each.reason for each in read(data, "openai")} == {
        "Unpacked, the file is more than 250 times as large."
    }


def test_what_is_unpacked_is_limited_over_all_files():
    data = zipped({f"{number}.jsonl": line("x" * 900) for number in range(4)})
    found = said(read(data, "openai", unpacked_bytes=2000))
    assert [text[:2] for _, _, text in found] == ["xx", "xx", "Un", "Un"]
    assert found[2][2] == "Unpacked, the files are larger than 2,000 bytes."


def test_the_number_of_files_in_a_zip_is_limited():
    data = zipped({f"{number}.txt": b"" for number in range(11)})
    (rejected,) = read(data, members=10)
    assert rejected.reason == "The zip has more than 10 files."


def test_the_directory_of_a_zip_is_not_read_into_memory_before_its_size_is_known(monkeypatch):
    opened = []
    monkeypatch.setattr(zipfile, "ZipFile", opened.append)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, 4_000_000_000, 0, 0)
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, 10**12, 0)
    place = struct.pack("<4sLQL", b"PK\6\7", 0, 4, 1)
    small = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, 50, 0, 0)
    for data in (b"PK\3\4" + end, b"PK\3\4" + end64 + place + small):
        (rejected,) = read(data)
        assert rejected.reason == "The zip has more than 50,000 files."
    assert opened == []


def test_a_file_of_which_nothing_can_be_read_is_given_up(monkeypatch):
    monkeypatch.setattr(reading, "MAX_REFUSED", 3)
    bad = b'{"a": 1}\n'
    *_, last = read(line() + bad * 2 + line() + bad * 9 + line(), "openai")
    assert last == Rejected(8, "None of the last 3 can be read. The rest of the file is not read.")


# Encodings


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-8-sig"])
def test_a_text_with_a_byte_order_mark_is_read(encoding):
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    text = json.dumps({"messages": [{"role": "user", "content": "é😀"}]}, ensure_ascii=False)
    for each in (text, json.dumps([json.loads(text)], indent=1, ensure_ascii=False)):
        ((_, _, content),) = said(read(f"{mark}{each}".encode(encoding)))
        assert content == "é😀"


def test_utf_16_that_is_cut_is_refused():
    data = (line("one") + line("two")).decode().encode("utf-16")
    one, rejected = read(data[:-1], "openai")
    assert (one.line, rejected.line) == (1, 2)
    assert rejected.reason.startswith("Not UTF-16, as its first bytes say.")


def test_latin_1_is_refused_line_by_line():
    text = line("a") + '{"messages": [{"role": "user", "content": "é"}]}\n'.encode("latin-1")
    assert [text for _, _, text in said(read(text + line("b")))] == [
        "a",
        "Not UTF-8 at byte 44.",
        "b",
    ]


# Empty files


def test_an_empty_file_has_no_format():
    (rejected,) = read(b" \n")
    assert rejected.reason == "The file is empty: its format cannot be recognised."
    assert read(b"", "openai") == []
    assert read(gzip.compress(b""), "json") == []


# Large messages


@pytest.mark.parametrize("is_array", [False, True])
def test_a_message_that_is_too_long_is_refused_and_costs_no_other(is_array, monkeypatch):
    monkeypatch.setattr(reading, "MAX_MESSAGE_CHARS", 1000)
    lines = [line("a"), line("b" * 1001), line("c" * 1000)]
    found = said(read(b"[" + b",".join(lines) + b"]" if is_array else b"".join(lines)))
    assert [text[:1] for _, _, text in found] == ["a", "m", "c"]
    assert found[1][1:] == (2, "messages.0.content: Longer than 1,000 characters.")


LARGE = r"""
import re, sys
from conversations.formats import Files, read_files
found = [
    (each.line, getattr(each, "reason", None)) for each in read_files(Files(sys.argv[1]), "openai")
]
print(found, re.search(r"VmHWM:\s+(\d+) kB", open("/proc/self/status").read())[1])
"""


LONG_LINE = "The line is longer than 20,971,520 bytes."
LONG_VALUE = "Longer than 20,971,520 bytes. The rest of the file is not read."


@pytest.mark.parametrize("is_array", [False, True])
def test_large_messages_are_read_or_refused_in_bounded_memory(tmp_path, is_array):
    """A character beyond U+FFFF makes all of a text in memory four times as long."""
    wide = "😀".encode()
    lines = [
        *(line("a"), line("b" * 18_000_000), line("?" + "c" * 16_000_000).replace(b"?", wide)),
        *(line("d" * 50_000_000), line("e" * 80_000_000), line("f")),
    ]
    path = tmp_path / "large.jsonl"
    path.write_bytes(b"[" + b",".join(lines) + b"]" if is_array else b"".join(lines))
    command = [sys.executable, "-c", LARGE, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    found, _, kilobytes = done.stdout.rpartition(" ")
    assert found == str(
        [
            (1, None),
            (2, "messages.0.content: Longer than 16,777,216 characters."),
            (3, None),
            *([(4, LONG_VALUE)] if is_array else [(4, LONG_LINE), (5, LONG_LINE), (6, None)]),
        ]
    )
    assert int(kilobytes) < 300_000
