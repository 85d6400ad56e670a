"""The formats for other programs and for people: CSV, ShareGPT, web pages, vCon."""

import csv
import io
import json
import re
import uuid
from decimal import Decimal
from html.parser import HTMLParser

import pytest
from jsonschema import Draft7Validator, FormatChecker  # type: ignore[import-untyped]

from conversations.formats import WRITERS, RecordedBranch
from conversations.formats.spreadsheet import safe_cell
from conversations.tests.formats.test_writers import AT, REVIEW, chat, message, written

CALL = {"id": "c", "type": "function", "function": {"name": "find", "arguments": '{"q": "x"}'}}
PNG = "data:image/png;base64,iVBORw0KGgo="


def rows(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))


def file_of(name, *chats):
    writer = WRITERS[name]
    return writer.begin + writer.between.join(written(name, one) for one in chats) + writer.end


def test_csv_has_a_row_for_each_message():
    said = message(1, "user", 'Say "hi",\nplease', metadata={"a": 1})
    answer = message(2, "assistant", "Hi", rating=-1, cost=Decimal("0.50"), reviews=(REVIEW,))
    first, second = rows(file_of("csv", chat(said, answer, tags=["x"])))
    assert (first["conversation_id"], first["owner"], first["title"]) == ("c-1", "alice", "Trains")
    assert (first["sequence"], first["content"]) == ("1", 'Say "hi",\nplease')
    assert (first["rating"], first["cost"], first["reviews"]) == ("", "", "")
    assert json.loads(first["metadata"]) == {"a": 1}
    assert (second["rating"], second["cost"], second["tags"]) == ("-1", "0.5", '["x"]')
    assert json.loads(second["reviews"])[0]["score"] == -1


def test_csv_is_as_rfc_4180_has_it():
    text = file_of("csv", chat(message(1, "user", "a"), message(2, "user", 'b"\nc')))
    lines = text.split("\r\n")
    assert len(lines) == 4
    assert lines[-1] == ""
    assert '"b""\nc"' in lines[2]


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1", " =1", "\n=1", "＝1", "＠x"]
)
def test_no_cell_is_a_formula(text):
    (row,) = rows(file_of("csv", chat(message(1, "user", text, name=text), title=text)))
    for name in ("content", "name", "title"):
        assert row[name] == f"'{text}"
    assert safe_cell(f"a{text}") == f"a{text}"


def test_sharegpt_is_one_array_of_turns():
    talk = chat(
        message(1, "system", "Be kind"),
        message(2, "user", "Hi"),
        message(3, "assistant", "", tool_calls=[CALL]),
        message(4, "tool", "42"),
        message(5, "assistant", "42"),
    )
    first, second = json.loads(file_of("sharegpt", talk, chat(id="d")))
    assert first["id"] == "c-1"
    assert [turn["from"] for turn in first["conversations"]] == (
        ["system", "human", "function_call", "observation", "gpt"]
    )
    assert json.loads(first["conversations"][2]["value"]) == {
        "name": "find",
        "arguments": {"q": "x"},
    }
    assert second == {"id": "d", "conversations": []}


def test_a_branch_has_an_id_of_its_own():
    branch = RecordedBranch(2, position=2, count=2)
    (found,) = json.loads(file_of("sharegpt", chat(branch=branch)))
    assert found["id"] == "c-1?branch=2"


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.headings = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))


EVIL = "<script>alert(1)</script>"
EVERYWHERE = {
    "name": EVIL,
    "model": EVIL,
    "provider": EVIL,
    "error": EVIL,
    "status": "failed",
    "finish_reason": EVIL,
    "detected_mode": EVIL,
    "rating": 1,
    "rating_comment": EVIL,
    "tool_calls": [EVIL, {"function": {"name": EVIL, "arguments": EVIL}}],
    "sources": [{"title": EVIL}],
    "parts": [{"type": "reasoning", "text": EVIL}, {"type": "input_image", "image_url": EVIL}],
}


def test_a_web_page_has_nothing_that_runs_or_loads():
    texts = [EVIL, f"**x** {EVIL}", "[x](javascript:alert(1))", '![i](https://e.example/a.png "t")']
    messages = [message(n, "assistant", text, **EVERYWHERE) for n, text in enumerate(texts, 1)]
    whole = chat(*messages, title=EVIL, owner=EVIL, model_used=EVIL, tags=[EVIL])
    text = written("html", whole)
    page = Page(text)
    assert "script" not in page.tags
    assert not any(name.startswith("on") for name, _ in page.attributes)
    for name, value in page.attributes:
        assert name != "src"
        assert name != "href" or value.startswith("https://e.example/")
    assert text.count("<script>") == 0
    assert "default-src 'none'; img-src data:; style-src 'sha256-" in text


def test_the_styles_of_a_page_are_those_that_its_policy_allows():
    import base64
    import hashlib

    text = written("html", chat())
    styles = re.search("<style>(.*?)</style>", text, re.S)[1]
    digest = base64.b64encode(hashlib.sha256(styles.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in text


def test_a_page_shows_a_message_as_the_transcript_does():
    parts = [{"type": "image_url", "image_url": {"url": PNG}}]
    said = message(1, "user", "**Look**\n\n# Big", parts=parts, created_at=AT)
    answer = message(
        2, "assistant", "plain", tool_calls=[CALL], model="m", prompt_tokens=1200, reviews=(REVIEW,)
    )
    text = written("html", chat(said, answer))
    page = Page(text)
    assert page.headings == [1, 2, 3, 4, 3]
    for shown in (
        "<strong>Look</strong>",
        f'<img src="{PNG}" alt="Image 1">',
        "<summary>Tool call find</summary>",
        "1,200 tokens in",
        "Review by support",
        '<time datetime="2026-01-02T03:04:00+00:00">2026-01-02 03:04:00 UTC</time>',
    ):
        assert shown in text
    assert ("lang", "en") in page.attributes


@pytest.mark.parametrize(
    "url",
    ["data:image/svg+xml;base64,AAAA", 'data:image/png;base64,"onerror=x', "javascript:x", "/x"],
)
def test_what_is_no_raster_image_is_not_shown(url):
    part = {"type": "image_url", "image_url": {"url": url}}
    text = written("html", chat(message(1, "user", "x", parts=[part])))
    assert "img" not in Page(text).tags
    assert "Image 1 cannot be shown" in text


KEY = str(uuid.uuid4())


def vcon(*messages, **fields):
    return json.loads(written("vcon", chat(*messages, **{"id": KEY} | fields)))


# What the text of the draft requires of the objects that are written here.
INDEX = {"type": "integer", "minimum": 0}
TIME = {"type": "string", "format": "date-time"}
CONTENT = {
    "mediatype": {"type": "string", "pattern": "^[a-z]+/[a-z+]+$"},
    "encoding": {"enum": ["none", "json", "base64url"]},
}


def objects(required, **properties):
    shape = {"type": "object", "required": required, "properties": properties}
    return {"type": "array", "items": shape | {"additionalProperties": False}}


SCHEMA = {
    "type": "object",
    "required": ["vcon", "uuid", "created_at", "parties", "dialog"],
    "additionalProperties": False,
    "properties": {
        "vcon": {"const": "0.4.0"},
        "uuid": {"type": "string", "format": "uuid"},
        "created_at": TIME,
        "updated_at": TIME,
        "subject": {"type": "string"},
        "parties": objects(
            ["name"],
            name={"type": "string"},
            validation={"type": "string"},
            org={"type": "string"},
            type={"enum": ["person", "bot", "organization"]},
        ),
        "dialog": objects(
            ["type", "start", "parties", "mediatype", "body", "encoding"],
            type={"const": "text"},
            start=TIME,
            parties=INDEX,
            body={"type": "string"},
            message_id={"type": "string"},
            **CONTENT,
        ),
        "attachments": objects(
            ["start", "party", "dialog", "mediatype", "body", "encoding"],
            purpose={"type": "string"},
            start=TIME,
            party=INDEX,
            dialog=INDEX,
            body={},
            **CONTENT,
        ),
        "analysis": objects(
            ["type", "dialog", "vendor", "mediatype", "body", "encoding"],
            type={"enum": ["report", "sentiment", "summary", "transcript", "translation", "tts"]},
            dialog=INDEX,
            vendor={"type": "string"},
            schema={"type": "string"},
            body={},
            **CONTENT,
        ),
    },
}


def test_a_vcon_is_as_the_draft_has_it():
    found = vcon(
        message(1, "system", "Be kind"),
        message(2, "user", "Hi"),
        message(3, "assistant", "", tool_calls=[CALL], model="m", provider="ollama"),
        message(4, "tool", "42", name="find"),
        message(5, "assistant", "42", model="m", provider="ollama", rating=1, reviews=(REVIEW,)),
    )
    checker = Draft7Validator(SCHEMA, format_checker=FormatChecker())
    assert not list(checker.iter_errors(found))
    assert [party["name"] for party in found["parties"]] == ["alice", "system", "m", "find"]
    assert found["parties"][2]["org"] == "ollama"
    assert [one["parties"] for one in found["dialog"]] == [1, 0, 2, 3, 2]
    assert [one["body"] for one in found["dialog"]] == ["Be kind", "Hi", "", "42", "42"]
    (attached,) = found["attachments"]
    assert (attached["dialog"], attached["party"], attached["body"]) == (2, 2, [CALL])
    assert [(one["dialog"], one["schema"]) for one in found["analysis"]] == (
        [(4, "rating"), (4, "review")]
    )


def test_each_branch_is_a_vcon_of_its_own():
    keys = {
        vcon(branch=RecordedBranch(number, position=number + 1, count=3))["uuid"]
        for number in range(3)
    }
    assert KEY in keys
    assert len(keys) == 3
