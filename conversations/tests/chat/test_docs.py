"""docs/chat.md and docs/settings.md say what the code does."""

import re

from django.conf import settings

from conversations.chat.errors import FAILURES
from conversations.tests.chat.clients import names_of
from conversations.tests.chat.scripted_behaviours import says

CHAT = (settings.BASE_DIR / "docs" / "chat.md").read_text()
SETTINGS = (settings.BASE_DIR / "docs" / "settings.md").read_text()


def test_every_failure_is_documented_with_its_status():
    for failure in FAILURES.values():
        assert f"| `{failure.code}` | {failure.status}" in CHAT


def test_every_setting_is_documented():
    source = (settings.BASE_DIR / "chatproject" / "settings.py").read_text()
    source += (settings.BASE_DIR / "chatproject" / "chat_settings.py").read_text()
    names = set(re.findall(r'"((?:CHAT|OLLAMA|OPENAI)_[A-Z_]+)"', source))
    assert names
    for name in names:
        assert f"`{name}`" in SETTINGS, name


def test_the_python_example_works(chat, scripted, capsys):
    scripted.script(says("Hel", "lo"))
    example = next(
        block for block in re.findall(r"```python\n(.*?)```", CHAT, re.S) if "urlopen" in block
    )
    names = {}
    exec(example, names)
    token = chat.headers["Authorization"].removeprefix("Bearer ")
    answer = names["ask"](f"{chat.url}/api", token, "Hi")
    assert (answer["response"], capsys.readouterr().out) == ("Hello", "Hello")
    again = names["ask"](f"{chat.url}/api", token, "Hi", answer["conversation_id"])
    assert again["conversation_id"] == answer["conversation_id"]
    assert names_of(chat.join(again["message_id"])) == ["start", "delta", "done"]
