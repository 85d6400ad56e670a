"""The Python of docs/v1.md on conversations and items: its very lines, with OpenAI's SDK."""

import re

from django.conf import settings

from conversations.models import Conversation
from conversations.tests.factories import make_token, make_trusted

SECTIONS = ("# `/v1`", "Whose conversations", "Conversations and items")


def python_of(page):
    sections = page.split("\n## ")
    shown = [section for section in sections if section.startswith(SECTIONS)]
    assert len(shown) == len(SECTIONS)
    return "".join(re.findall(r"```python\n(.*?)```", "".join(shown), re.S))


def test_the_lines_do_what_they_say(server, capsys):
    token = make_token(make_trusted())
    code = python_of((settings.BASE_DIR / "docs" / "v1.md").read_text())
    code = code.replace("http://127.0.0.1:8000", server.url).replace("TOKEN", token)
    exec(compile(code, "docs/v1.md", "exec"), {})
    *items, title = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in items] == [
        "message", "function_call", "function_call_output"
    ]  # fmt: skip
    assert f"# {title}" in code
    chat = Conversation.objects.get()
    assert (chat.user.username, chat.metadata, chat.message_count) == (
        "ann", {"topic": "travel"}, 6
    )  # fmt: skip
