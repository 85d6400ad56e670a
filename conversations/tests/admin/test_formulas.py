"""Formulas in LaTeX within Markdown are shown as they were written."""

import re
import time

import pytest

from conversations.formats.markdown import as_html


@pytest.mark.parametrize(
    "formula",
    [
        r"$a_1 * b_1 * c$",
        r"\(a_{1} \\ b*c*d\)",
        r"$$x_1 * y * z$$",
        r"\[ a*b*c \]",
        r"$\$5_a$",
    ],
)
def test_a_formula_within_a_line_stays_as_written(formula):
    assert as_html(f"**so** {formula} holds") == (
        f'<p dir="auto"><strong>so</strong> <code>{formula}</code> holds</p>\n'
    )


@pytest.mark.parametrize(
    "formula",
    [
        "$$\na_1\n- b * c * d\n= e\n$$",
        "\\[\n\\begin{aligned}\n  a &= b \\\\\n  + c\n\\end{aligned}\n\\]",
        "$$a * b\n* c$$",
    ],
)
def test_a_formula_on_lines_of_its_own_stays_as_written(formula):
    shown = re.search(
        "<pre[^>]*><code>(.*)</code></pre>", as_html(f"**so**\n{formula}\n\nyes"), re.S
    )
    assert shown[1].replace("&amp;", "&").strip() == formula


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("$5 and *$6*", "$5 and <em>$6</em>"),
        ("$HOME and *x* $PATH", "$HOME and <em>x</em> $PATH"),
        ("1$ or *2* $ ", "1$ or <em>2</em> $"),
        ("`$x$` *y*", "<code>$x$</code> <em>y</em>"),
        (r"\(open *x*", "(open <em>x</em>"),
        ("$$ *x*", "$$ <em>x</em>"),
    ],
)
def test_other_dollars_and_brackets_are_no_formula(text, html):
    assert as_html(text) == f'<p dir="auto">{html}</p>\n'


def test_many_delimiters_are_read_in_time():
    for text in (r"\(" * 9_000, "$a" * 9_000, "$$ " * 6_000, "$" + "a" * 19_000, "\\[\n" * 6_000):
        started = time.thread_time()
        as_html(text)
        assert time.thread_time() - started < 5, text[:6]
