"""An application that streams an answer by PATCH, as a process of its own, and those who watch it.

    python -m conversations.tests.chat.streaming_writer TOKEN MESSAGE PIECES SECONDS URL...

It asks where its answer stands and goes on from there, so that it can be killed and started again.
A piece whose request failed is sent again, to the next server. For each piece that was stored it
prints the characters that were stored and the time at which the piece was sent. Imports no Django:
it starts within a moment.
"""

import http.client
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from itertools import accumulate, cycle
from pathlib import Path

from conversations.tests.chat.clients import Answer, ChatClient, text_of

ROOT = Path(__file__).resolve().parents[3]
PAUSE = 0.05  # after a request that failed


def pieces_of(count):
    """What the answer is made of: pieces of different lengths, not all in the BMP."""
    return [f"word{i} " + "é😀"[i % 2] * (i % 4) for i in range(count)]


def text_written(count):
    return "".join(pieces_of(count))


class Writer:
    """Of one answer; the servers are tried in turn."""

    def __init__(self, token, message, urls):
        self._message = message
        self._clients = cycle([ChatClient(url, token) for url in urls])
        self._client = next(self._clients)

    def patch(self, body):
        """The state of the answer, once a server has answered."""
        while True:
            try:
                with self._client.call("PATCH", self._message, body) as reply:
                    answer = Answer(reply)
            except (OSError, http.client.HTTPException):
                self._client = next(self._clients)
                time.sleep(PAUSE)
                continue
            if answer.status == 200:
                return answer.body
            if answer.status != 503:
                raise SystemExit(f"{answer.status} {answer.body}")
            time.sleep(PAUSE)

    def write(self, count, seconds):
        """All pieces that are not stored yet, one every so many seconds, and the end."""
        pieces = pieces_of(count)
        ends = list(accumulate(map(len, pieces)))
        offset = self.patch({"append": {}})["offset"]
        for piece, end in zip(pieces, ends, strict=True):
            if end <= offset:
                continue
            sent = time.monotonic()
            body = {"append": {"content": piece}, "offset": end - len(piece)}
            offset = self.patch(body)["offset"]
            sys.stdout.write(f"{offset} {sent}\n")
            sys.stdout.flush()
            time.sleep(max(0, sent + seconds - time.monotonic()))
        self.patch({"status": "complete", "offset": ends[-1], "finish_reason": "stop"})


@contextmanager
def writing(token, message, urls, *, count, seconds):
    """The writer as a process, whose output can be read; killed afterwards."""
    command = [sys.executable, "-m", __spec__.name, token, message, str(count), str(seconds)]
    with subprocess.Popen([*command, *urls], cwd=ROOT, stdout=subprocess.PIPE, text=True) as writer:
        try:
            yield writer
        finally:
            writer.kill()


class Reader(threading.Thread):
    """Watches an answer to its end. A stream that breaks off, or that it leaves by itself after
    `leaves_after` events, is joined again at the next server, after the last event."""

    def __init__(self, token, message_id, urls, *, leaves_after=None):
        super().__init__(daemon=True)
        self._message_id, self._leaves_after = message_id, leaves_after
        self._clients = cycle([ChatClient(url, token) for url in urls])
        self.events, self.times, self.joined = [], [], 0
        self.start()

    def run(self):
        while not (self.events and self.events[-1].name in ("done", "error")):
            try:
                self._watch(next(self._clients))
            except (OSError, http.client.HTTPException):
                time.sleep(PAUSE)

    def _watch(self, client):
        last = self.events[-1].id if self.events else None
        stream = client.join(self._message_id, last=last)
        if isinstance(stream, Answer):  # of a server that is being stopped
            time.sleep(PAUSE)
            return
        self.joined += 1
        for event in stream:
            self.events.append(event)
            self.times.append((len(self.text), time.monotonic()))
            if self._leaves_after and self.joined == 1 and len(self.events) == self._leaves_after:
                stream.close()
                return

    @property
    def text(self):
        return text_of(self.events)


if __name__ == "__main__":
    token, message, count, seconds, *urls = sys.argv[1:]
    Writer(token, message, urls).write(int(count), float(seconds))
