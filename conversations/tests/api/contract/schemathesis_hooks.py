"""What Schemathesis cannot know: which rows exist, and which rules JSON Schema cannot say.

It runs in a process of its own, without Django; CONTRACT_DATA names a JSON file with
`conversations` (the message ids of each), `pages` (for each list, a request for a later page),
`me` (the caller's name), `tokens` (the ids of those in use) and `own_fields` (of a message).
"""

import json
import os
import zlib
from pathlib import Path

import schemathesis
from schemathesis.openapi.checks import RejectedPositiveData, UseAfterFree

GIVEN = json.loads(Path(os.environ["CONTRACT_DATA"]).read_text())
CHATS = list(GIVEN["conversations"].items())
# Fields of bodies that name a message of the conversation.
MESSAGES_NAMED = frozenset({"parent_id", "message_id", "active_message_id"})
SAID_IN_QUERY = ("role", "content", "tool_calls")

# What a PATCH may say with the status that ends an answer, and not with a rating or metadata.
ENDS_AN_ANSWER = (
    *("status", "finish_reason", "error", "provider", "model", "sources", "detected_mode", "extra"),
    *("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens", "cost"),
    *("latency_ms", "first_token_ms", "content"),
)

# (field, error) of refusals that are right although the request fits the schema.
BEYOND_THE_SCHEMA = {
    # PostgreSQL cannot hold NUL; saying so for each text would bury what the schema tells people.
    ("*", "null_characters_not_allowed"),
    # A ticket is for an answer or a purpose; one of the two is said.
    ("purpose", "required"),
    # Inside metadata and lists of anything; no client could read such an integer exactly.
    ("*", "too_big"),
    # Python takes more characters for white space than ECMA 262 does, and which text may be empty
    # depends on role, status, tool_calls and parts.
    ("*", "blank"),
    ("*", "string_too_short"),
    # Only an answer can be open, and one of a conversation.
    ("status", "not_an_answer"),
    ("messages", "two_answers"),
    # A piece says where it belongs, an end why it failed; what is known at the end comes with it.
    ("offset", "required"),
    ("offset", "missing"),
    ("parts_offset", "required"),
    ("parts_offset", "missing"),
    ("tool_calls_offset", "required"),
    ("tool_calls_offset", "missing"),
    ("error", "required"),
    ("error", "missing"),
    ("*", "without_status"),
    # A rating and what ends an answer do not go together.
    *((name, "read_only") for name in ENDS_AN_ANSWER),
    # At that offset it would be longer than a request may be.
    ("content", "max_length"),
    ("content", "string_too_long"),
    # Of a conversation with several branches.
    ("branches", "one_a_file"),
    # The value of a key, without the key.
    ("metadata_value", "invalid"),
    ("metadata_value", "value_error"),
    # Without a body the query string has to say who speaks; with one it has nothing to say.
    ("role", "required"),
    ("role", "missing"),
    # The text of a JSON list.
    ("tool_calls", "invalid"),
    ("tool_calls", "value_error"),
    ("tool_calls", "not_a_list"),
    # Which characters a name may hold is told by NFKC and by Unicode's categories.
    ("*", "invalid_name"),
    # The same schema is that of trusted clients, and of what they may say.
    ("created_at", "read_only"),
    ("created_at", "in_the_future"),
    # One lifetime too many.
    ("days", "ambiguous"),
    # A token for another user says for how long it is.
    ("expires_in", "required"),
    # Which cursors there are changes behind.
    ("after", "unknown_cursor"),
    ("after", "changes_removed"),
    # From when to when.
    ("created_after", "empty_range"),
    ("created_after", "long_range"),
    # A ticket says for what it is, and of one kind also for which answer.
    ("purpose", "required"),
    ("message_id", "not_of_one_answer"),
    # The same thing said twice: in body and query string, or by id and key.
    ("user_id", "ambiguous"),
    ("role", "ambiguous"),
    ("content", "ambiguous"),
    ("tool_calls", "ambiguous"),
    ("id", "ambiguous"),
    # Of several messages it is said once, beside them.
    ("activate", "unknown_field"),
    ("activate", "extra_forbidden"),
    # Which messages and branches a conversation has.
    ("parent_id", "not_found"),
    ("message_id", "not_found"),
    ("active_branch", "not_found"),
    ("active_message_id", "not_found"),
}


@schemathesis.hook
def map_case(context, case):
    """Make of most valid requests what the server can do something with."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return case
    use_real_ids(case)
    use_real_page(case)
    choose_one_way(case)
    name_the_caller(case)
    wait_no_longer(case)
    return case


def use_real_ids(case):
    """Three of four times the ids of rows that exist; the request decides which ones.

    Few ids are generated, so the body counts too, and conversations that are deleted are not those
    that other requests name.
    """
    path = case.path_parameters
    name = next((name for name in ("conversation_id", "session_id") if name in path), None)
    if name is None:
        return
    number = zlib.crc32(f"{case.method} {case.path} {path} {case.body}".encode())
    if number % 4 == 1:
        return
    half = len(CHATS) // 2
    deletes = case.method == "DELETE" and "message_id" not in path
    path[name], messages = CHATS[number % half + (half if deletes else 0)]
    if "message_id" in path:
        path["message_id"] = messages[number % len(messages)]
    if "branch" in path:
        path["branch"] = 1
    for body in bodies_of(case):
        for field in MESSAGES_NAMED.intersection(body):
            body[field] = messages[number % len(messages)]
        if isinstance(body.get("active_branch"), int):
            body["active_branch"] %= 2


def use_real_page(case):
    """A cursor is signed: only a real one can be right, and only where it came from."""
    if "cursor" in case.query:
        page = GIVEN["pages"][case.path]
        case.path_parameters.update(page["path"])
        case.query = dict(page["query"])


def choose_one_way(case):
    """Say each thing once: in the body or in the query string, by id or by key, which branch by
    its number or by a message."""
    if not isinstance(case.body, dict):
        return
    if "active_branch" in case.body:
        case.body.pop("active_message_id", None)
    if case.method == "POST":
        for name in SAID_IN_QUERY:
            case.query.pop(name, None)
        if any("id" in body for body in bodies_of(case)):
            case.headers.pop("Idempotency-Key", None)


def bodies_of(case):
    """The body, and the messages in it."""
    if not isinstance(case.body, dict):
        return []
    messages = case.body.get("messages")
    inner = messages if isinstance(messages, list) else []
    return [case.body, *(message for message in inner if isinstance(message, dict))]


def name_the_caller(case):
    """An ordinary user may name nobody else: every other number becomes their own."""
    if case.method != "POST" or not isinstance(case.body, dict):
        return
    number = case.body.get("user_id")
    if isinstance(number, int) and number % 2:
        case.body["user_id"] = GIVEN["me"]
        case.query.pop("user_id", None)


def wait_no_longer(case):
    """Of requests that may wait for half a minute there are many."""
    if case.query and "wait" in case.query:
        case.query["wait"] = 0


@schemathesis.hook
def before_call(context, case, kwargs):
    """Keep the tokens that the run itself needs."""
    if case.path_parameters and case.path_parameters.get("token_id") in GIVEN["tokens"]:
        case.path_parameters["token_id"] = "another"


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Judge a refusal of a valid request unless all of its reasons are beyond the schema."""
    if isinstance(failure, UseAfterFree):
        # The messages of a conversation were deleted, which is still there and has none.
        return not failure.free.endswith("/messages")
    if not isinstance(failure, RejectedPositiveData):
        return True
    if any(map(is_of_an_sdk, messages_of(case.body))) or has_items(case):
        return False
    found = refusals(response.json())
    return not found or not all(map(is_beyond_the_schema, found))


def messages_of(body):
    body = body if isinstance(body, dict) else {}
    messages = body.get("messages")
    return messages if isinstance(messages, list) else [body]


def has_items(case):
    """The schema says little of an item: OpenAI's own says what each type holds."""
    is_object = isinstance(case.body, dict)
    return case.path.startswith("/v1/") and is_object and bool(case.body.get("items"))


def is_of_an_sdk(message):
    """Whether the schema says little of the message: which of an SDK's keys go together, and with
    which of ours, is not said in it."""
    if not isinstance(message, dict):
        return False
    texts, lists = ("role", "content", "id", "status"), ("parts", "tool_calls", "sources")
    sure = [(name, str) for name in texts] + [(name, list) for name in lists]
    sure += [(name, dict) for name in ("metadata", "extra")] + [("activate", bool)]
    unsure = any(name in message and not isinstance(message[name], kind) for name, kind in sure)
    return unsure or not message.keys() <= set(GIVEN["own_fields"])


def refusals(body):
    """(field, error) of each error in any form of error bodies."""
    if "error" in body:
        error = body["error"]
        return [((error["param"] or "").split(".")[-1], error["code"])]
    if "detail" in body:
        return [(str(problem["loc"][-1]), problem["type"]) for problem in body["detail"]]
    return [((error["attr"] or "").split(".")[-1], error["code"]) for error in body["errors"]]


def is_beyond_the_schema(refusal):
    _, error = refusal
    return refusal in BEYOND_THE_SCHEMA or ("*", error) in BEYOND_THE_SCHEMA
