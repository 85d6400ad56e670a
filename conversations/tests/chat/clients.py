"""A client of the chat API over real HTTP, and what it reads of an event stream."""

import json
import urllib.error
from dataclasses import dataclass
from urllib.parse import urlencode
from urllib.request import Request, urlopen

SECONDS = 300  # of silence: the machine may be busy


@dataclass
class Event:
    name: str
    id: str
    data: dict


class Answer:
    """A JSON answer: status, headers, body."""

    def __init__(self, reply):
        self.status = reply.status
        self.headers = reply.headers
        self.body = json.loads(reply.read() or b"null")


class Stream:
    """An open event stream: iterate its events, close it when you have seen enough."""

    def __init__(self, reply):
        self.status, self.headers, self._reply = reply.status, reply.headers, reply
        self.comments = 0

    def __iter__(self):
        fields = {}
        for raw in self._reply:
            line = raw.decode().rstrip("\n")
            if line.startswith(":"):
                self.comments += 1
            elif line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif "event" in fields:
                yield Event(fields["event"], fields["id"], json.loads(fields["data"]))
                fields = {}

    def close(self):
        self._reply.close()


class ChatClient:
    def __init__(self, url, token=None, **headers):
        self.url = url
        self.headers = headers | ({"Authorization": f"Bearer {token}"} if token else {})

    def call(self, method, path, body=None, **headers):
        request = Request(
            self.url + path,
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers=self.headers | {"Content-Type": "application/json"} | headers,
        )
        try:
            return urlopen(request, timeout=SECONDS)
        except urllib.error.HTTPError as error:
            return error

    def ask(self, message="Hi", key=None, **body):
        """POST /api/chat for JSON."""
        headers = {"Idempotency-Key": key} if key else {}
        with self.call("POST", "/api/chat", {"message": message} | body, **headers) as reply:
            return Answer(reply)

    def stream(self, message="Hi", key=None, **body):
        """POST /api/chat for events."""
        headers = {"Accept": "text/event-stream"} | ({"Idempotency-Key": key} if key else {})
        return self._stream("POST", "/api/chat", {"message": message} | body, **headers)

    def regenerate(self, message_id, key=None, **body):
        """POST /api/chat for another answer, as JSON."""
        headers = {"Idempotency-Key": key} if key else {}
        body = {"regenerate": str(message_id)} | body
        with self.call("POST", "/api/chat", body, **headers) as reply:
            return Answer(reply)

    def stream_again(self, message_id, **body):
        """The same for events."""
        body = {"regenerate": str(message_id)} | body
        return self._stream("POST", "/api/chat", body, Accept="text/event-stream")

    def ask_stream(self, question="Hi", last=None, **query):
        asked = {} if question is None else {"question": question}
        path = "/api/chat/ask-stream?" + urlencode(asked | query)
        return self._stream("GET", path, **last_seen(last))

    def join(self, message_id, last=None):
        return self._stream("GET", f"/api/chat/streams/{message_id}", **last_seen(last))

    def stop(self, message_id):
        with self.call("POST", f"/api/chat/streams/{message_id}/stop") as reply:
            return Answer(reply)

    def get(self, path):
        with self.call("GET", path) as reply:
            return Answer(reply)

    def messages(self, conversation_id):
        return self.get(f"/api/conversations/{conversation_id}/messages").body["messages"]

    def _stream(self, *request, **headers):
        reply = self.call(*request, **headers)
        if reply.status != 200:
            with reply:
                return Answer(reply)
        return Stream(reply)


def last_seen(last):
    return {"Last-Event-ID": last} if last else {}


def text_of(events, name="delta"):
    return "".join(event.data["text"] for event in events if event.name == name)


def names_of(events):
    """The names in order, pieces of one text that follow each other as one."""
    names = []
    for event in events:
        if not (event.name in ("delta", "reasoning") and names[-1:] == [event.name]):
            names.append(event.name)
    return names
