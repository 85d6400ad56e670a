"""docs/chat.md and docs/settings.md say what the code does."""

import os
import re
import subprocess

from django.conf import settings

from conversations.chat.errors import FAILURES
from conversations.models import Conversation
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


def test_the_curl_commands_ask_on_new_branches(chat, scripted):
    first = chat.ask("How is the weather in Rome?").body
    chat.ask("And in Milan?", conversation_id=first["conversation_id"])
    environment = os.environ | {
        "API": f"{chat.url}/api",
        "TOKEN": chat.headers["Authorization"].removeprefix("Bearer "),
        "CONVERSATION": first["conversation_id"],
        "ANSWER": first["message_id"],
    }
    (block,) = re.findall(r"```sh\n(curl .*?)```", CHAT, re.S)
    script = block.replace("curl -s", "curl -s -f -o /dev/null")
    subprocess.run(["bash", "-e", "-c", script], env=environment, timeout=120, check=True)
    edited, again = scripted.chats[2:]
    assert edited.messages[1:] == [*scripted.chats[1].messages[1:-1], ("user", "And in Turin?")]
    assert again.messages == scripted.chats[0].messages
    assert again.body["model"] == "llama3.2"
    assert Conversation.objects.get().branch_count == 3
