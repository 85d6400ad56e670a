"""A real HTTP server on loopback that speaks OpenAI's protocol and does what a script says.

    provider.script(says("Hel", "lo"), rate_limited(), calls(Call("add_task", {"title": "milk"})))

Each chat completion takes the next behaviour; when none is left, `otherwise`. `when()` answers
some requests out of turn, such as those for a structured answer. What came in is in `requests`.
It also has `/v1/models` and `/v1/embeddings`, whose vectors are near where texts share words.
"""

import asyncio
import base64
import hashlib
import json
import math
import re
import socket
import struct
import threading
import time
from collections import deque
from contextlib import closing, contextmanager, suppress

from .scripted_behaviours import MODEL, Exchange, Request, says, unauthorized

MODEL_PATHS = ("/v1/chat/completions", "/v1/responses")
DIMENSIONS = 64
TEXT = "Hello from the scripted provider."


class ScriptedProvider:
    """`with ScriptedProvider() as provider:` serves at `provider.url`, which ends in /v1.

    With a `key`, requests without it get 401.
    """

    def __init__(self, *, key=None):
        self.key = key
        self.requests = []
        self.otherwise = says(TEXT)
        self._script = deque()
        self._rules = []
        self._open = set()
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"
        self._thread = threading.Thread(target=self._run, name="scripted-provider", daemon=True)

    def script(self, *behaviours):
        """Add behaviours for the chat completions to come, one each."""
        self._script.extend(behaviours)
        return self

    def always(self, behaviour):
        """What every chat completion gets once the script is used up."""
        self.otherwise = behaviour
        return self

    def when(self, condition, behaviour):
        """Answer each chat completion whose request fulfils `condition` so, beside the script."""
        self._rules.append((condition, behaviour))
        return self

    def reset(self):
        """Forget what was scripted and what came in, for the next test on the same provider."""
        self.requests, self.otherwise = [], says(TEXT)
        self._script.clear()
        self._rules.clear()

    @property
    def chats(self):
        """The requests for chat completions, in order."""
        return [one for one in self.requests if one.path == "/v1/chat/completions"]

    @property
    def responses(self):
        """The requests for Responses, in order."""
        return [one for one in self.requests if one.path == "/v1/responses"]

    @property
    def running(self):
        """How many requests are being answered now."""
        return len(self._open)

    def wait_for(self, condition, seconds=60):
        """Wait until `condition()` holds, such as `lambda: provider.chats`."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"not within {seconds} s: {self.requests[-5:]}"
            time.sleep(0.005)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    def _run(self):
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self):
        server = await asyncio.start_server(self._connected, sock=self._listener)
        await self._stopping.wait()
        server.close()
        tasks = list(self._open)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # the transports close in the next round

    async def _connected(self, reader, writer):
        task = asyncio.current_task()
        self._open.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                request = await read_request(reader)
                self.requests.append(request)
                await self._answer(Exchange(request, writer), reader)
        finally:
            self._open.discard(task)
            writer.close()
            with suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _answer(self, exchange, reader):
        """Run the behaviour until it is through or the client has left."""
        answering = asyncio.ensure_future(self._behaviour(exchange.request)(exchange))
        leaving = asyncio.ensure_future(reader.read())
        try:
            await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
            exchange.request.outcome = exchange.request.outcome or outcome_of(answering)
        finally:
            for task in (answering, leaving):
                task.cancel()
            await asyncio.gather(answering, leaving, return_exceptions=True)

    def _behaviour(self, request):
        if self.key and request.headers.get("authorization") != f"Bearer {self.key}":
            return unauthorized()
        if request.path not in MODEL_PATHS:
            return OTHER_PATHS.get(request.path, not_found)
        for condition, behaviour in self._rules:
            if condition(request):
                return behaviour
        return self._script.popleft() if self._script else self.otherwise


def outcome_of(answering):
    if not answering.done():
        return "left"
    if isinstance(error := answering.exception(), Exception):
        if isinstance(error, ConnectionError):
            return "left"
        raise error
    return "answered"


def structured(request):
    """For `when`: whether the request asks for an answer in a JSON schema."""
    return request.schema is not None


async def read_request(reader):
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.strip().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method, path.partition("?")[0], headers, json.loads(body or "{}"))


async def not_found(exchange):
    error = {"message": f"No such route: {exchange.request.path}", "type": "not_found"}
    await exchange.send(404, {"error": error})


async def models(exchange):
    model = {"id": MODEL, "object": "model", "created": 1, "owned_by": "tests"}
    await exchange.send(200, {"object": "list", "data": [model]})


async def embeddings(exchange):
    body = exchange.request.body
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    encode = as_base64 if body.get("encoding_format") == "base64" else list
    size = body.get("dimensions", DIMENSIONS)
    data = [
        {"object": "embedding", "index": index, "embedding": encode(vector_of(text, size))}
        for index, text in enumerate(texts)
    ]
    usage = dict.fromkeys(["prompt_tokens", "total_tokens"], sum(len(t.split()) for t in texts))
    reply = {"object": "list", "model": body["model"], "data": data, "usage": usage}
    await exchange.send(200, reply)


OTHER_PATHS = {"/v1/models": models, "/v1/embeddings": embeddings}


def vector_of(text, size=DIMENSIONS):
    """A unit vector with one hashed place for each word: the same for the same text, always."""
    vector = [0.0] * size
    for word in re.findall(r"\w+", text.lower()) or [text]:
        vector[int.from_bytes(hashlib.sha256(word.encode()).digest()[:4]) % size] += 1.0
    length = math.sqrt(sum(value * value for value in vector))
    return [value / length for value in vector]


def as_base64(vector):
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


@contextmanager
def refusing_url():
    """A URL whose port refuses connections: taken, so that nobody else gets it, but not served."""
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
