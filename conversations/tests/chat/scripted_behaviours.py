"""What a scripted provider can be told to do with one request.

A behaviour is an async function of an `Exchange`. The functions here make them: `says("a", "b")`,
`calls(Call("add_task", {"title": "milk"}))`, `unauthorized()`. `says` and `calls` answer streamed
or whole, as the request asks. Between the pieces of an answer may stand numbers, which are
seconds to wait, and `threading.Event`s, which hold the answer until the test sets them. A piece
is a text, or a `Chunk` with anything else that a model streams: `thinks("a", "b")` are two.
What breaks in mid-answer is for requests that stream.
"""

import asyncio
import itertools
import json
import threading
import time
from dataclasses import dataclass, field

# Every failure carries this in its text: it must never reach a client, a row or a log.
SECRET = "sk-scripted-secret-0123456789"
MODEL = "scripted"

_numbers = itertools.count(1)


@dataclass
class Request:
    """One request that came in, and how it ended: "answered", "left" (by the client) or "cut"."""

    method: str
    path: str
    headers: dict  # names in lower case
    body: dict
    at: float = field(default_factory=time.monotonic)
    outcome: str = ""

    @property
    def messages(self):
        """(role, content) of the history that was sent."""
        return [(one["role"], one.get("content")) for one in self.body.get("messages", [])]

    @property
    def tools(self):
        return [tool["function"]["name"] for tool in self.body.get("tools", [])]

    @property
    def schema(self):
        """The name of the JSON schema that a structured answer is asked in, or None."""
        return (self.body.get("response_format") or {}).get("json_schema", {}).get("name")

    @property
    def streams(self):
        return bool(self.body.get("stream"))


class Exchange:
    """The answering side of one request."""

    def __init__(self, request, writer):
        self.request = request
        self.writer = writer
        self.id = f"chatcmpl-{next(_numbers)}"

    async def send(self, status, body, headers=None):
        """A whole reply; `body` is an object for JSON, or text as it is."""
        text = body if isinstance(body, str) else json.dumps(body)
        kind = "text/html" if isinstance(body, str) else "application/json"
        self._head(status, {"Content-Type": kind, "Content-Length": len(text.encode())}, headers)
        await self._write(text.encode())

    def head(self):
        """Of a stream."""
        self._head(200, {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"})

    async def begin(self):
        self.head()
        await self.chunk({"role": "assistant", "content": ""})

    async def chunk(self, delta, finish=None, choice=None, **extra):
        choice = {"index": 0, "delta": delta, "finish_reason": finish} | (choice or {})
        await self.event(self.frame("chat.completion.chunk", [choice], **extra))

    async def piece(self, piece):
        """A text or a Chunk."""
        chunk = Chunk({"content": piece}) if isinstance(piece, str) else piece
        await self.chunk(chunk.delta, choice=chunk.choice, **chunk.beside)

    async def event(self, data, name=None):
        """One server-sent event; `data` is an object, or text as it is."""
        data = data if isinstance(data, str) else json.dumps(data)
        head = f"event: {name}\n" if name else ""
        await self.raw(f"{head}data: {data}\n\n".encode())

    async def raw(self, payload):
        """Bytes of a stream, as they are."""
        await self._write(b"%x\r\n%s\r\n" % (len(payload), payload))

    async def end(self):
        await self.event("[DONE]")
        await self.end_quietly()

    async def end_quietly(self):
        """A proper end of the HTTP reply, without the one of the protocol in it."""
        await self._write(b"0\r\n\r\n")

    def cut(self):
        """Reset the connection."""
        self.request.outcome = "cut"
        self.writer.transport.abort()

    def frame(self, kind, choices, **extra):
        model = self.request.body.get("model") or MODEL
        made = {"id": self.id, "object": kind, "created": 1, "model": model, "choices": choices}
        return made | extra

    def usage(self, completion):
        prompt = sum(len(str(content or "").split()) for _, content in self.request.messages)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        }

    def _head(self, status, *headers):
        lines = [f"HTTP/1.1 {status} Scripted", "Connection: close"]
        lines += [f"{name}: {value}" for some in headers for name, value in (some or {}).items()]
        self.writer.write("\r\n".join([*lines, "", ""]).encode())

    async def _write(self, payload):
        self.writer.write(payload)
        await self.writer.drain()


@dataclass
class Call:
    """A tool call; `arguments` as text goes out as it is, broken JSON too."""

    name: str
    arguments: dict | str = field(default_factory=dict)
    id: str | None = None

    def as_delta(self, index):
        function = {"name": self.name, "arguments": ""}
        key = self.id or f"call_{next(_numbers)}"
        return {"index": index, "id": key, "type": "function", "function": function}

    @property
    def text(self):
        return self.arguments if isinstance(self.arguments, str) else json.dumps(self.arguments)


@dataclass
class Chunk:
    """A delta as it is, with what else its choice has, and what stands beside its choices."""

    delta: dict = field(default_factory=dict)
    choice: dict = field(default_factory=dict)
    beside: dict = field(default_factory=dict)


def thinks(*texts, name="reasoning_content"):
    """Pieces of reasoning, under the name that a server has for them."""
    return [Chunk({name: text}) for text in texts]


async def texts_of(steps, pause=0.0):
    """The texts and chunks among `steps`, each when its time has come."""
    for step in steps:
        if isinstance(step, threading.Event):
            while not step.is_set():
                await asyncio.sleep(0.005)
        elif isinstance(step, str | Chunk):
            yield step
            await asyncio.sleep(pause)
        else:
            await asyncio.sleep(step)


def says(*steps, pause=0.0, finish="stop", usage=True):
    """An answer of these deltas, `pause` seconds apart. `usage=False`: a server that counts none;
    a dict is what it says of usage beside the counts.

    `says()` is an empty answer.
    """

    async def behave(exchange):
        if not exchange.request.streams:
            texts = [text async for text in texts_of(steps, pause) if isinstance(text, str)]
            return await whole(exchange, {"content": "".join(texts)}, finish, len(texts), usage)
        await exchange.begin()
        count = 0
        async for piece in texts_of(steps, pause):
            await exchange.piece(piece)
            count += 1
        return await finished(exchange, finish, count, usage)

    return behave


def streams(*events, ends=True):
    """These server-sent events as they are, objects or text, and `[DONE]`."""

    async def behave(exchange):
        exchange.head()
        for event in events:
            if isinstance(event, bytes):
                await exchange.raw(event)
            else:
                await exchange.event(event)
        await (exchange.end() if ends else exchange.end_quietly())

    return behave


def says_json(value, **options):
    """A structured answer, in three pieces."""
    return says(*pieces_of(json.dumps(value), 3), **options)


def calls(*tools, text="", before=(), pieces=3, pause=0.0, usage=True):
    """Tool calls, streamed with the arguments of each cut into `pieces`, after the chunks `before`
    and some `text`."""

    async def behave(exchange):
        deltas = [tool.as_delta(index) for index, tool in enumerate(tools)]
        if not exchange.request.streams:
            for delta, tool in zip(deltas, tools, strict=True):
                delta["function"]["arguments"] = tool.text
                del delta["index"]
            message = {"content": text or None, "tool_calls": deltas}
            return await whole(exchange, message, "tool_calls", len(tools), usage)
        await exchange.begin()
        for piece in [*before, *([text] if text else [])]:
            await exchange.piece(piece)
        for index, tool in enumerate(tools):
            await exchange.chunk({"tool_calls": [deltas[index]]})
            for piece in pieces_of(tool.text, pieces):
                part = {"index": index, "function": {"arguments": piece}}
                await exchange.chunk({"tool_calls": [part]})
                await asyncio.sleep(pause)
        return await finished(exchange, "tool_calls", len(tools), usage)

    return behave


def replies(status, body, headers=None):
    """Any reply. Text is sent as HTML, as a proxy would."""

    async def behave(exchange):
        await exchange.send(status, body, headers)

    return behave


def refuses(status, message, code, headers=None):
    error = {"message": f"{message} ({SECRET})", "type": code, "param": None, "code": code}
    return replies(status, {"error": error}, headers)


def unauthorized():
    return refuses(401, "Incorrect API key provided", "invalid_api_key")


def rate_limited(retry_after=7):
    headers = {"Retry-After": retry_after}
    return refuses(429, "Rate limit reached", "rate_limit_exceeded", headers)


def breaks(status=500):
    return refuses(status, "Traceback (most recent call last): ...", "server_error")


def hangs(*steps):
    """These deltas, then silence until the client leaves. `hangs()` sends not even a status."""
    return _stream_then(steps, lambda exchange: asyncio.sleep(3600), begin=bool(steps))


def drops(*steps):
    """These deltas, then a reset connection."""
    return _stream_then(steps, _cut)


def ends_early(*steps):
    """These deltas, then the end of the reply without a finish reason or `[DONE]`."""
    return _stream_then(steps, lambda exchange: exchange.end_quietly())


def garbles(*steps):
    """These deltas, then a chunk that is not JSON, and a proper end."""

    async def then(exchange):
        await exchange.event('{"id": "chatcmpl-1", "choices": [{"delta": {"content": "' + SECRET)
        await finished(exchange, "stop", len(steps), True)

    return _stream_then(steps, then)


def fails_midway(*steps):
    """These deltas, then an error as an event of the stream, as llama.cpp and OpenAI send it."""

    async def then(exchange):
        error = {"message": f"out of memory ({SECRET})", "type": "server_error", "code": 500}
        await exchange.event({"error": error})
        await exchange.end()

    return _stream_then(steps, then)


async def finished(exchange, finish, count, usage):
    await exchange.chunk({}, finish)
    wanted = (exchange.request.body.get("stream_options") or {}).get("include_usage")
    if usage and wanted:
        counts = exchange.usage(count) | said_of(usage)
        await exchange.event(exchange.frame("chat.completion.chunk", [], usage=counts))
    await exchange.end()


def said_of(usage):
    return usage if isinstance(usage, dict) else {}


async def whole(exchange, message, finish, count, usage):
    choice = {"index": 0, "message": {"role": "assistant"} | message, "finish_reason": finish}
    extra = {"usage": exchange.usage(count) | said_of(usage)} if usage else {}
    await exchange.send(200, exchange.frame("chat.completion", [choice], **extra))


def pieces_of(text, count):
    size = -(-len(text) // count) or 1
    return [text[start : start + size] for start in range(0, len(text), size)]


async def _cut(exchange):
    exchange.cut()


def _stream_then(steps, then, *, begin=True):
    async def behave(exchange):
        if begin:
            await exchange.begin()
        async for piece in texts_of(steps):
            await exchange.piece(piece)
        await then(exchange)

    return behave
