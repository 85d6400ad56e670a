"""The Python of docs/v1.md on clients: its very lines, in a process of their own."""

import re
import subprocess
import sys

import pytest
from django.conf import settings

from conversations.models import Conversation, Message
from conversations.tests.factories import make_token, make_trusted

from .forwarding import *  # noqa: F403

RUN = """
import ast, asyncio, inspect, sys
code = compile(sys.stdin.read(), "docs/v1.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
done = eval(code)
if inspect.iscoroutine(done):
    asyncio.run(done)
"""


def lines_of(heading, **values):
    page = (settings.BASE_DIR / "docs" / "v1.md").read_text()
    section = page.split(f"\n### {heading}\n")[1].split("\n### ")[0]
    given = "".join(f"{name} = {value!r}\n" for name, value in values.items())
    return given + "".join(re.findall(r"```python\n(.*?)```", section, re.S))


@pytest.mark.parametrize(
    ("heading", "owner", "stored"),
    [
        ("OpenAI SDKs", "ann", ["user", "assistant"]),
        ("Agents SDK", "backend", ["user", "assistant"] * 2),
    ],
)
def test_the_lines_of_a_client_are_recorded(server, transactional_db, heading, owner, stored):
    backend = make_trusted("backend")
    code = lines_of(heading, TOKEN=make_token(backend), MODEL="scripted/scripted")
    code = code.replace("http://127.0.0.1:8000", server.url)
    code = code.replace("client.models.list().data[0].id", "'scripted/scripted'")
    subprocess.run([sys.executable, "-c", RUN], input=code, text=True, check=True)
    chat = Conversation.objects.get()
    assert chat.user.username == owner
    roles = Message.objects.filter(conversation=chat).order_by("sequence")
    assert list(roles.values_list("role", flat=True)) == stored
