"""Reading the samples of exports, with no code of this project but the readers."""

import io
import json

from conversations.formats import READERS
from conversations.tests.factories import DATA

# By format: the samples in tests/data.
SAMPLES = {
    "claude": ["conversations.claude.json"],
    "openwebui": ["chats.openwebui.json"],
    "librechat": ["tree.librechat.json", "flat.librechat.json"],
    "claude_code": ["session.claude_code.jsonl"],
    "codex": ["rollout.codex.jsonl", "oldest.codex.jsonl"],
    "copilot": ["session.copilot.json", "session.copilot.jsonl"],
    "gemini": ["MyActivity.gemini.json"],
}


def read(file_format, data):
    """`data` is bytes, a value, or a tuple of the values of lines."""
    if isinstance(data, tuple):
        data = b"\n".join(json.dumps(value).encode() for value in data)
    data = data if isinstance(data, bytes) else json.dumps(data).encode()
    return list(READERS[file_format](io.BytesIO(data)))


def read_sample(name):
    file_format = next(each for each, names in SAMPLES.items() if name in names)
    return read(file_format, (DATA / name).read_bytes())


def sample(name):
    """The values of a sample: those of its array, its object alone, or those of its lines."""
    text = (DATA / name).read_text()
    if name.endswith(".jsonl"):
        return [json.loads(line) for line in text.splitlines()]
    value = json.loads(text)
    return value if isinstance(value, list) else [value]
