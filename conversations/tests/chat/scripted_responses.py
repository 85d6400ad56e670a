"""What a scripted provider that speaks OpenAI's Responses API can be told to do with one request.

`responds(said("Hel", "lo"))` streams the events of an answer with these items, or sends it whole,
as the request asks. Between items may stand numbers and events, as in `scripted_behaviours`.
"""

import asyncio
import itertools
import threading

from .scripted_behaviours import SECRET

_numbers = itertools.count(1)
USAGE = {
    "input_tokens": 11,
    "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 18,
}


class Said:
    """An item of the output: as it is at its end, as it begins, and the events between."""

    def __init__(self, item, opened, events):
        self.item, self.opened, self.events = item, opened, events


def said(*pieces, annotations=()):
    """A message of these pieces."""
    id_ = f"msg_upstream{next(_numbers)}"
    text = "".join(piece for piece in pieces if isinstance(piece, str))
    part = {"type": "output_text", "text": text, "annotations": list(annotations), "logprobs": []}
    item = {"id": id_, "type": "message", "role": "assistant", "status": "completed"}
    where = {"item_id": id_, "content_index": 0}
    opened = item | {"status": "in_progress", "content": []}
    added = where | {"type": "response.content_part.added", "part": part | {"text": ""}}
    delta = where | {"type": "response.output_text.delta", "logprobs": []}
    deltas = [delta | {"delta": p} if isinstance(p, str) else p for p in pieces]
    done = where | {"type": "response.output_text.done", "text": text, "logprobs": []}
    closed = where | {"type": "response.content_part.done", "part": part}
    return Said(item | {"content": [part]}, opened, [added, *deltas, done, closed])


def called(name, arguments, call_id="call_1", pieces=2):
    id_ = f"fc_upstream{next(_numbers)}"
    item = {"id": id_, "type": "function_call", "call_id": call_id, "name": name}
    opened = item | {"arguments": "", "status": "in_progress"}
    size = -(-len(arguments) // pieces)
    deltas = [
        {
            "type": "response.function_call_arguments.delta",
            "item_id": id_,
            "delta": arguments[start : start + size],
        }
        for start in range(0, len(arguments), size)
    ]
    done = {
        "type": "response.function_call_arguments.done",
        "item_id": id_,
        "arguments": arguments,
        "name": name,
    }
    return Said(item | {"arguments": arguments, "status": "completed"}, opened, [*deltas, done])


def thought(summary, encrypted=None):
    id_ = f"rs_upstream{next(_numbers)}"
    item = {"id": id_, "type": "reasoning", "summary": []}
    part = {"type": "summary_text", "text": summary}
    where = {"item_id": id_, "summary_index": 0}
    events = [
        where | {"type": "response.reasoning_summary_part.added", "part": part | {"text": ""}},
        where | {"type": "response.reasoning_summary_text.delta", "delta": summary},
        where | {"type": "response.reasoning_summary_text.done", "text": summary},
        where | {"type": "response.reasoning_summary_part.done", "part": part},
    ]
    kept = {"encrypted_content": encrypted} if encrypted else {}
    return Said(item | {"summary": [part]} | kept, item, events)


def searched(query):
    id_ = f"ws_upstream{next(_numbers)}"
    action = {"type": "search", "query": query, "queries": [query]}
    item = {"id": id_, "type": "web_search_call", "status": "in_progress", "action": action}
    kinds = ("in_progress", "searching", "completed")
    events = [{"type": f"response.web_search_call.{kind}", "item_id": id_} for kind in kinds]
    return Said(item | {"status": "completed"}, item, events)


def responds(*steps, status="completed", reason=None, error=None, whole=False):
    """An answer of these items. `whole`: a server that does not stream whatever it is asked."""

    async def behave(exchange):
        response = response_for(exchange.request.body)
        items = [step.item for step in steps if isinstance(step, Said)]
        details = {"reason": reason} if reason else None
        end = response | {"status": status, "output": items, "usage": USAGE, "error": error}
        end |= {"incomplete_details": details, "service_tier": "default"}
        if whole or not exchange.request.streams:
            return await exchange.send(200, end)
        await begin(exchange)
        numbers = itertools.count()
        await tell(exchange, numbers, {"type": "response.created", "response": response})
        await tell(exchange, numbers, {"type": "response.in_progress", "response": response})
        place = 0
        for step in steps:
            if isinstance(step, Said):
                await tell_item(exchange, numbers, step, place)
                place += 1
            else:
                await pause(step)
        await tell(exchange, numbers, {"type": f"response.{status}", "response": end})
        return await exchange.end_quietly()

    return behave


def breaks_off(*steps):
    """These items, then the end of the reply without the last event."""

    async def behave(exchange):
        response = response_for(exchange.request.body)
        await begin(exchange)
        numbers = itertools.count()
        await tell(exchange, numbers, {"type": "response.created", "response": response})
        for place, step in enumerate(steps):
            await tell_item(exchange, numbers, step, place)
        await exchange.end_quietly()

    return behave


def errs(*steps):
    """These items, then an error as an event of the stream."""

    async def behave(exchange):
        response = response_for(exchange.request.body)
        await begin(exchange)
        numbers = itertools.count()
        await tell(exchange, numbers, {"type": "response.created", "response": response})
        for place, step in enumerate(steps):
            await tell_item(exchange, numbers, step, place)
        error = {"type": "error", "code": "server_error", "message": SECRET, "param": None}
        await tell(exchange, numbers, error)
        await exchange.end_quietly()

    return behave


def response_for(body):
    return {
        "id": f"resp_upstream{next(_numbers)}",
        "object": "response",
        "created_at": 1,
        "status": "in_progress",
        "model": body["model"],
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": body.get("tools") or [],
        "error": None,
        "incomplete_details": None,
        "metadata": {},
    }


async def begin(exchange):
    exchange._head(200, {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"})


async def tell(exchange, numbers, event):
    event = event | {"sequence_number": next(numbers)}
    await exchange.event(event, name=event["type"])


async def tell_item(exchange, numbers, step, place):
    where = {"output_index": place}
    added = {"type": "response.output_item.added", "item": step.opened}
    await tell(exchange, numbers, where | added)
    for event in step.events:
        if isinstance(event, dict):
            await tell(exchange, numbers, where | event)
        else:
            await pause(event)
    await tell(exchange, numbers, where | {"type": "response.output_item.done", "item": step.item})


async def pause(step):
    if isinstance(step, threading.Event):
        while not step.is_set():
            await asyncio.sleep(0.005)
    else:
        await asyncio.sleep(step)
