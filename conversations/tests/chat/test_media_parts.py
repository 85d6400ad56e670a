"""Images and files of stored messages, on their way to the model."""

import pytest

from conversations.chat.llm import context_window
from conversations.chat.llm.context_window import history_before
from conversations.chat.llm.media_parts import content_of
from conversations.services import SCRIPT, MessageDraft, append_drafts
from conversations.tests.factories import make_conversation

PNG = "data:image/png;base64,iVBORw0KGgo="
PDF = "data:application/pdf;base64,JVBERg=="
HTTPS = "https://images.example/a.png"
SENT = {"type": "input_image", "image_url": PNG}


def text(content):
    return {"type": "text", "text": content}


def said(content):
    return {"type": "input_text", "text": content}


def chat_image(url=PNG, **more):
    return {"type": "image_url", "image_url": {"url": url} | more}


def source(kind, **fields):
    return {"type": kind, "source": fields}


@pytest.mark.parametrize(
    ("part", "sent"),
    [
        (chat_image(), SENT),
        (chat_image(detail="low"), SENT | {"detail": "low"}),
        ({"type": "image_url", "image_url": PNG}, SENT),
        ({"type": "input_image", "image_url": PNG, "detail": "high"}, SENT | {"detail": "high"}),
        (chat_image(HTTPS), {"type": "input_image", "image_url": HTTPS}),
        (source("image", type="base64", media_type="image/png", data="iVBORw0KGgo="), SENT),
        (
            source("image", type="url", url=HTTPS),
            {"type": "input_image", "image_url": HTTPS},
        ),
        (
            source("document", type="base64", media_type="application/pdf", data="JVBERg=="),
            {"type": "input_file", "file_data": PDF},
        ),
        (
            {"type": "input_file", "file_data": PDF, "filename": "a.pdf"},
            {"type": "input_file", "file_data": PDF, "filename": "a.pdf"},
        ),
        (
            {"type": "file", "file": {"file_data": PDF, "filename": "a.pdf"}},
            {"type": "input_file", "file_data": PDF, "filename": "a.pdf"},
        ),
        (source("document", type="text", data="Notes"), said("Notes")),
    ],
)
def test_each_known_form_reaches_a_model_that_sees(part, sent):
    assert content_of("Look", [part, chat_image(HTTPS)], sees=True)[:2] == [said("Look"), sent]


@pytest.mark.parametrize(
    ("part", "line"),
    [
        (chat_image("http://10.0.0.1/a.png"), "1 image"),
        (chat_image("file:///etc/passwd"), "1 image"),
        ({"type": "image_url"}, "1 image"),
        ({"type": "input_image", "file_id": "file-1"}, "1 image"),
        ({"type": "input_file", "file_url": "https://a.example/a.pdf"}, "1 file"),
        (source("document", type="url", url="https://a.example/a.pdf"), "1 file"),
        ({"type": "input_audio", "input_audio": {"data": "QQ==", "format": "wav"}}, "1 recording"),
    ],
)
def test_what_cannot_be_sent_is_named_in_its_place(part, line):
    line = f"[Not shown to you: {line}]"
    assert content_of("Look", [part], sees=True) == f"Look\n{line}"
    assert content_of("Look", [part, chat_image()], sees=True) == [said("Look"), said(line), SENT]


def test_a_model_that_does_not_see_is_told_so_in_a_line():
    parts = [text("Look"), chat_image(), chat_image(HTTPS), source("document", type="url")]
    assert content_of("Look", parts, sees=False) == "Look\n[Not shown to you: 2 images, 1 file]"
    assert content_of("", [chat_image()], sees=False) == "[Not shown to you: 1 image]"
    notes = source("document", type="text", data="Notes")
    assert content_of("Look", [notes], sees=False) == "Look\nNotes"


def test_the_order_of_the_parts_is_kept_where_the_text_is_theirs():
    parts = [text("This:"), chat_image(), "and that:", chat_image(HTTPS)]
    other = {"type": "input_image", "image_url": HTTPS}
    in_order = [said("This:"), SENT, said("and that:"), other]
    assert content_of("This:\nand that:", parts, sees=True) == in_order
    assert content_of("", parts, sees=True) == in_order
    assert content_of("Else", parts, sees=True) == [said("Else"), SENT, other]


def test_reasoning_and_odd_parts_are_not_shown():
    parts = [
        {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "Hm"}]},
        {"type": "thinking", "thinking": "Hm"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": ["image"]},
        {"type": "unknown", "text": 5},
        7,
        None,
    ]
    assert content_of("Look", parts, sees=True) == content_of("Look", parts, sees=False) == "Look"
    assert content_of("", parts, sees=True) == ""


@pytest.fixture
def conversation(alice):
    conversation = make_conversation(alice)
    for draft in (
        MessageDraft(role="user", content="One", parts=[chat_image()]),
        MessageDraft(role="assistant", content="Here", parts=[chat_image()]),
        MessageDraft(role="user", content="Two", parts=[chat_image(), chat_image()]),
    ):
        append_drafts(
            conversation_id=conversation.pk, drafts=[draft], from_client=False, access=SCRIPT
        )
    return conversation


def history(conversation, **options):
    place = conversation.user_id, conversation.pk
    return history_before(*place, last_sequence=2**31 - 1, **options)


def test_only_a_users_images_can_be_sent(conversation, statements):
    with statements() as seen:
        items = history(conversation, vision=True)
    assert [item["content"] for item in items] == [
        [said("One"), SENT],
        "Here\n[Not shown to you: 1 image]",
        [said("Two"), SENT, SENT],
    ]
    assert len(seen) == 2


def test_images_count_against_the_budget(conversation):
    assert len(history(conversation, vision=True, tokens=3_100)) == 3
    assert len(history(conversation, vision=True, tokens=2_900)) == 1
    assert len(history(conversation, tokens=100)) == 3


def test_so_many_bytes_are_read_for_a_turn_the_newest_first(conversation, monkeypatch):
    monkeypatch.setattr(context_window, "BYTES_OF_PARTS", 300)
    contents = [item["content"] for item in history(conversation, vision=True)]
    assert contents[-1] == [said("Two"), SENT, SENT]
    assert contents[0] == "One\n[Not shown to you: 1 attachment]"
    monkeypatch.setattr(context_window, "BYTES_OF_PARTS", 1)
    assert history(conversation, vision=True)[-1]["content"] == [said("Two"), SENT, SENT]
