"""Open WebUI from its package, in an environment of its own, as a process that asks `/v1`."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from conversations.tests.processes import free_port

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGE = "open-webui==0.12.4"
VENV = ROOT / ".venv" / "open-webui"
# It imports them only for local embeddings, speech and text recognition, which are not used here.
# They are gigabytes.
UNUSED = {
    "accelerate",
    "einops",
    "faster-whisper",
    "opencv-python-headless",
    "pyarrow",
    "rapidocr",
    "sentence-transformers",
    "sentencepiece",
    "soundfile",
    "transformers",
}
STARTS_WITHIN = 180  # seconds, on a busy machine; the first start makes its database
JWT_SECRET = "a secret that Open WebUI and this server share"
TEMPLATES = {
    "X-User-Id": "{{USER_ID}}",
    "X-Conversation-Id": "{{CHAT_ID}}",
    "X-Task": "{{TASK}}",
}


def install(venv: Path = VENV) -> Path:
    """The Python of an environment with Open WebUI, which is made if it is not there."""
    python = venv / "bin" / "python"
    stamp = venv / ".installed"
    if stamp.exists() and stamp.read_text() == PACKAGE:
        return python
    print(f"Installing {PACKAGE} into {venv}: some minutes, about 2 GB", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
    pip(python, "--no-deps", PACKAGE)
    pip(python, *requirements(python))
    stamp.write_text(PACKAGE)
    return python


def pip(python: Path, *arguments: str) -> None:
    quiet = ("--quiet", "--disable-pip-version-check", "--no-input")
    subprocess.run([python, "-m", "pip", "install", *quiet, *arguments], check=True)


def requirements(python: Path) -> list[str]:
    """What the installed package says that it needs, without `UNUSED` and extras."""
    code = "import importlib.metadata as m; print('\\n'.join(m.requires('open-webui')))"
    done = subprocess.run([python, "-c", code], check=True, stdout=subprocess.PIPE, text=True)
    needed = [line for line in done.stdout.splitlines() if "extra ==" not in line]
    return [line for line in needed if re.split(r"[\[=<>~! ;]", line)[0] not in UNUSED]


@contextlib.contextmanager
def running(python: Path, base_url: str, token: str, identity: str) -> Iterator[str]:
    """The URL of an Open WebUI with an empty database whose models are those of `base_url`.

    `identity` is how it says who asks and in which chat: `headers`, `jwt` or `templates`.
    """
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="open-webui-") as folder:
        environment = os.environ | environment_of(Path(folder), base_url, token, identity)
        command = [
            str(python.parent / "open-webui"),
            "serve",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
        ]
        with (Path(folder) / "log").open("w+") as log:
            process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
            try:
                yield wait_until_it_answers(process, f"http://127.0.0.1:{port}", log)
            finally:
                process.terminate()
                process.wait()


def environment_of(folder: Path, base_url: str, token: str, identity: str) -> dict[str, str]:
    """One connection, to `base_url`; nothing is loaded from a hub of models."""
    connection: dict[str, Any] = {"headers": TEMPLATES} if identity == "templates" else {}
    return {
        "DATA_DIR": str(folder),
        "WEBUI_SECRET_KEY": "of a folder that is removed",
        "OPENAI_API_BASE_URL": base_url,
        "OPENAI_API_KEY": token,
        "OPENAI_API_CONFIGS": json.dumps({"0": connection}),
        "ENABLE_OLLAMA_API": "false",
        "ENABLE_FORWARD_USER_INFO_HEADERS": str(identity != "templates").lower(),
        "FORWARD_USER_INFO_HEADER_JWT_SECRET": JWT_SECRET if identity == "jwt" else "",
        "RAG_EMBEDDING_ENGINE": "openai",
        "AUDIO_STT_ENGINE": "openai",
        "OFFLINE_MODE": "true",
        "ENABLE_VERSION_UPDATE_CHECK": "false",
        "ANONYMIZED_TELEMETRY": "false",
        "DATABASE_URL": f"sqlite:///{folder}/webui.db",
    }


def wait_until_it_answers(process: subprocess.Popen[bytes], url: str, log: Any) -> str:
    deadline = time.monotonic() + STARTS_WITHIN
    while True:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=5):
            return url
        if process.poll() is not None or time.monotonic() > deadline:
            log.seek(0)
            raise SystemExit(f"Open WebUI does not answer at {url}:\n{log.read()[-4000:]}")
        time.sleep(0.5)
