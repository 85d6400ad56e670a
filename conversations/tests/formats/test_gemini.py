import time
from datetime import UTC, datetime

import pytest

from conversations.formats import Chat
from conversations.formats.gemini import looks_like_gemini
from conversations.tests.formats.exports import read, read_sample, sample

SAMPLE = "MyActivity.gemini.json"


def entry(title="Prompted Hello", *html, **fields):
    known = {"header": "Gemini Apps", "title": title, "time": "2026-02-01T10:00:00Z"}
    return known | {"safeHtmlItem": [{"html": text} for text in html]} | fields


def only(value):
    (chat,) = read("gemini", [value])
    return chat


def test_prompts_of_a_page_are_one_conversation_the_oldest_first():
    thread = read_sample(SAMPLE)[-1]
    assert (thread.line, thread.file_id, thread.metadata) == (1, "t1", {"app_id": "t1"})
    said = [(each.role, each.content) for each in thread.messages]
    assert said == [
        ("user", "How long is a day?"),
        ("assistant", "* 16 hours in summer"),
        ("user", "And in winter?"),
        ("assistant", "In winter, **four** hours.\n\n```python\nhours = 4\n```"),
    ]
    assert thread.created_at == datetime(2026, 2, 2, 10, 0, tzinfo=UTC)
    assert thread.messages[3].created_at == datetime(2026, 2, 2, 10, 5, 0, 250_000, tzinfo=UTC)


def test_all_else_of_an_entry_is_kept():
    first = read_sample(SAMPLE)[-1].messages[0]
    assert first.parts[1] == {"type": "file", "file": {"name": "days.csv"}}
    entry_in_file = sample(SAMPLE)[2]
    kept = {name: entry_in_file[name] for name in ("header", "title", "details", "products")}
    assert first.extra == kept


def test_other_prompts_are_conversations_of_their_own():
    tower, alone, _ = read_sample(SAMPLE)
    assert [each.content for each in alone.messages] == ["Anyone there?"]
    assert [each.content for each in tower.messages] == [
        "Gefragt: Wie hoch ist der Turm?",
        "90 Meter.",
    ]


def test_the_id_of_a_prompt_does_not_depend_on_its_place():
    one, two = entry("Prompted 1"), entry("Prompted 2")
    before = {chat.file_id for chat in read("gemini", [one, two])}
    after = [chat.file_id for chat in read("gemini", [entry("Prompted 3"), one, two])]
    assert before == set(after[1:])
    assert len(set(after)) == 3


def test_what_is_no_prompt_is_left_out():
    assert read("gemini", [entry(f"{verb} it") for verb in ("Used", "Created", "Gave")]) == []


def test_text_in_an_answer_that_is_markdown_is_escaped():
    chat = only(entry("Prompted x", "<p>2 * 3 * 4, a_b</p>"))
    assert chat.messages[1].content == "2 \\* 3 \\* 4, a\\_b"


def test_scripts_are_not_text():
    chat = only(entry("Prompted x", "<p>Yes</p><script>alert(1)</script><style>p {}</style>"))
    assert chat.messages[1].content == "Yes"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, "Not an object."),
        (entry(None), "title: Missing."),
        (entry(time=None), "time: Missing."),
        (entry(time="yesterday"), "time: Not a date"),
        (entry("Gewählt"), "title: Neither known as a prompt nor with an answer."),
        (entry(safeHtmlItem=5), "safeHtmlItem: Not a list."),
        (entry(safeHtmlItem=[{"html": 5}]), "safeHtmlItem.0.html: Not a string."),
        (
            entry("Prompted x", "<b>" * 50_000),
            "safeHtmlItem.0.html: Nested too deeply.",
        ),
    ],
)
def test_an_entry_that_is_none_says_why_and_loses_no_other(value, expected):
    first, rejected, last = read("gemini", [entry("Prompted 1"), value, entry("Prompted 2")])
    assert isinstance(first, Chat)
    assert isinstance(last, Chat)
    assert (rejected.line, rejected.reason[: len(expected)]) == (2, expected)


def test_lists_tables_and_code_of_an_answer_are_markdown():
    html = (
        "<ol start='3'><li>x</li><li></li><li>a<p>b</p></li></ol>"
        "<table><thead><tr><th>k</th><th>v</th></tr></thead>"
        "<tbody><tr><td>1</td><td colspan='2'>2</td></tr></tbody></table>"
        "<table><tr><td>q</td></tr><tr><td>r</td></tr></table>"
        "<pre>\n\n <code class='language-py'>x = 1\n</code></pre>"
    )
    expected = (
        "3. x\n5. a\n\n   b\n\n| k | v |\n| --- | --- |\n| 1 | 2 | |\n\n"
        "|  |\n| --- |\n| q |\n| r |\n\n```py\n x = 1\n```"
    )
    assert only(entry("Prompted x", html)).messages[1].content == expected


# What the parser of HTML, or its conversion, would look at again and again.
HOSTILE = {
    "tags without an end": ("<a ", ""),
    "comments without an end": ("<!--", ">"),
    "items of a list": ("<ol>", "<li>x</li>"),
    "rows of a head": ("<table><thead>", "<tr><td>x</td></tr>"),
    "bodies of a table": ("<table>", "<tbody><tr><td>x</td></tr></tbody>"),
    "blanks": ("", "&#32;"),
    "blanks in code": ("<pre>", "<b> </b>"),
    "lines below an open list": ("<thead><ul>", "<br>\n"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_the_time_for_an_answer_grows_with_its_length(name):
    begin, again = HOSTILE[name]
    if not again or again == ">":
        begin, again = again, begin

    def seconds(chars):
        html = "<p>y</p>" + begin + again * (chars // len(again))
        started = time.process_time()
        read("gemini", [entry("Prompted x", html)])
        return time.process_time() - started

    seconds(1_000)
    assert seconds(160_000) < 12 * seconds(40_000) + 0.2


@pytest.mark.parametrize(
    ("html", "reason"),
    [
        ("x" * 1_000_001, "Longer than 1,000,000 characters."),
        ("<blockquote>" * 150 + "x\n" * 100_000, "Nested too deeply."),
        ("<td colspan=1000>" * 5_000, "Nested too deeply."),
        ("&#" + "1" * 5_000 + ";", "Not HTML that can be read."),
        ("<h" + "1" * 5_000 + ">x", "Not HTML that can be read."),
    ],
)
def test_an_answer_that_cannot_be_converted_is_refused(html, reason):
    (refused,) = read("gemini", [entry("Prompted x", html)])
    assert refused.reason == f"safeHtmlItem.0.html: {reason}"


@pytest.mark.parametrize("html", ["<![x[a]]>", "<td colspan='²'>x", "<ol start='½'><li>x", "<!x ["])
def test_an_answer_with_odd_marks_is_converted(html):
    assert only(entry("Prompted x", f"y{html}")).messages[1].content.startswith("y")


def test_the_columns_of_a_table_are_bounded():
    chat = only(entry("Prompted x", "<table><tr><td colspan='1000'>x</table>"))
    assert len(chat.messages[1].content) < 2_000


def test_the_format_is_recognised():
    assert all(map(looks_like_gemini, sample(SAMPLE)))
    assert not looks_like_gemini({"title": "x", "time": "y", "header": "YouTube"})


def test_half_a_character_in_an_answer_is_refused_with_its_place():
    (refused,) = read("gemini", [entry("Prompted Hello", "fine", "\ud800")])
    assert refused.reason.startswith("safeHtmlItem.1.html: A lone surrogate")
