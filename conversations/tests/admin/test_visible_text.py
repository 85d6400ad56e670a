"""Characters that do not show, or that change how others show, are shown wherever staff read."""

import time
from urllib.parse import quote

import pytest

from conversations.admin.formatting import visible, visible_html, visible_text
from conversations.formats.markdown import as_html
from conversations.models import AccessRecord, Conversation, ConversationNote
from conversations.services import SCRIPT, MessageDraft, append_drafts, create_token
from conversations.tests.admin.conftest import LIST, text_of, transcript_url
from conversations.tests.factories import make_conversation, make_user

RLO = "\u202e"


def chips(html):
    return html.count('class="hidden-character"')


@pytest.mark.parametrize(
    "char",
    "\u202e\u2066\u200b\u200d\ufeff\u00ad\0\x1b\r\x85\u2028\u3164\u180e\ufe0f\ue000\u0378"
    "\U000e0041\U000e0101",
)
def test_a_hidden_character_is_a_chip_with_its_number(char):
    html = visible(f"a{char}b")
    assert chips(html) == 1
    assert f">U+{ord(char):04X}</code>" in html
    assert char not in html
    assert visible_text(f"a{char}b") == f"a[U+{ord(char):04X}]b"


@pytest.mark.parametrize(
    "text",
    [
        "plain text, 1 < 2",
        "two\nlines\tand a tab",
        "a\r\nb",
        "Zo\u00eb \u00a0 \u2014 \u4f60\u597d \u0645\u0631\u062d\u0628\u0627",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467",
        "\U0001f3f3\ufe0f\u200d\U0001f308",
        "\U0001f9d1\U0001f3fd\u200d\U0001f680",
        "\u2764\ufe0f 1\ufe0f\u20e3 \u2600\ufe0e",
        "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "\u0915\u094d\u200d\u0937",
        "\u845b\U000e0100",
    ],
)
def test_what_is_seen_stays_as_it_is(text):
    assert chips(visible(text)) == 0
    assert visible_text(text) == text.replace("\r\n", "\n")


@pytest.mark.parametrize(
    "text",
    [
        "\U0001f600" + "\ufe0f\ufe01",  # a message hidden in the variants of an emoji
        "\U0001f600" + "\U000e0101\U000e0102",
        "\U0001f3f4\U000e0068\U000e0069\U000e007f",  # a flag of nowhere: hidden letters
        "a\u200db",
        "\u0645\u200c",
        "x\u20e3\ufe0f",
    ],
)
def test_what_hides_behind_an_emoji_is_shown(text):
    assert chips(visible(text)) >= 1


def test_html_is_escaped_around_the_chips():
    assert visible(f"<b>{RLO}</b>&\"'").startswith("&lt;b&gt;<code ")
    assert visible(f"<b>{RLO}</b>&\"'").endswith("</code>&lt;/b&gt;&amp;&quot;&#x27;")
    assert visible(None) == ""


def test_chips_stand_between_tags_and_never_inside_of_them():
    html = visible_html(f'<a href="/x" title="a>{RLO}b">{RLO}</a>')
    assert html.startswith('<a href="/x" title="a>[U+202E]b"><code class="hidden-character"')
    assert chips(html) == 1
    laid_out = visible_html(as_html(f"**a{RLO}b** &#x202E; `{RLO}` [x](https://e.org '{RLO}')"))
    assert chips(laid_out) == 3
    assert RLO not in laid_out
    assert "[U+202E]" in laid_out


def test_a_long_text_is_looked_through_quickly():
    text = ("\u4f60\u597d, world! " * 100_000)[:1_000_000] + RLO
    started = time.thread_time()
    assert chips(visible(text)) == 1
    assert time.thread_time() - started < 2


def test_every_page_of_the_admin_shows_them(root, superuser):
    owner = make_user("x")
    type(owner).objects.filter(pk=owner.pk).update(username=f"ali{RLO}ce", email=f"a{RLO}@b.c")
    owner.refresh_from_db()
    chat = make_conversation(owner, title=f"Tra{RLO}ins", metadata={f"k{RLO}": "v"})
    call = {"id": f"c{RLO}", "function": {"name": f"f{RLO}", "arguments": f'"{RLO}"'}}
    append_drafts(
        conversation_id=chat.pk,
        access=SCRIPT,
        drafts=[
            MessageDraft(role="user", content=f"zeppelin {RLO} plain", name=f"n{RLO}"),
            MessageDraft(
                role="assistant",
                content=f"**zeppelin** {RLO} laid out",
                tool_calls=[call],
                sources=[{"title": f"t{RLO}", "text": f"s{RLO}"}],
                model=f"m{RLO}",
                error=f"e{RLO}",
                status="failed",
                rating=1,
                rating_comment=f"r{RLO}",
            ),
            MessageDraft(role="tool", tool_call_id=f"c{RLO}", content=f"result {RLO}"),
        ],
        from_client=False,
    )
    Conversation.objects.update(model_used=f"m{RLO}", source=f"s{RLO}")
    ConversationNote.objects.create(
        user=chat.user, conversation=chat, author_name=f"n{RLO}", text=f"note {RLO}"
    )
    create_token(user=owner, access=SCRIPT, name="laptop")
    create_token(user=superuser, access=SCRIPT, name=f"n{RLO}")
    make_conversation(owner, title=f"Next{RLO}")
    pages = [
        LIST,
        f"{LIST}?q=zeppelin",
        transcript_url(chat),
        f"{transcript_url(chat)}?raw=1",
        f"{transcript_url(chat)}?find=zeppelin",
        f"{LIST}owner/{quote(f'ali_{ord(RLO):x}_ce')}/",
        f"{LIST}{chat.pk}/hold/",
        f"{LIST}{chat.pk}/delete/",
        "/admin/conversations/accessrecord/",
        "/admin/conversations/apitoken/",
        "/admin/auth/user/",
        "/admin/",
    ]
    for page in pages:
        html = text_of(root.get(page))
        # A link to the owner's list, and a form that is sent on, carry the text itself.
        assert RLO not in html.replace('value="', ""), page
        assert page == "/admin/" or chips(html), page
    record = AccessRecord.objects.filter(owner_name=owner.username).first()
    html = text_of(root.get(f"/admin/conversations/accessrecord/{record.pk}/change/"))
    assert chips(html)
    assert RLO not in html
    title = text_of(root.get(transcript_url(chat)))
    assert "<title>Tra[U+202E]ins" in title.replace("\n", "").replace("> ", ">")
