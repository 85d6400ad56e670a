"""Samples with one value after the other replaced, or cut off: a reader never fails, it refuses."""

import copy
import importlib
import json

import pytest

from conversations.formats import Chat, Rejected
from conversations.formats.content_parts import check_parts
from conversations.tests.factories import DATA
from conversations.tests.formats.exports import SAMPLES, read, sample

FILES = [(each, name) for each, names in SAMPLES.items() for name in names]
ODD: tuple = (None, True, -5, 10**400, 1e308, "", "\x00\ud800", [], [None, 5, {}], {}, {"type": 5})


@pytest.fixture(params=FILES, ids=lambda param: param[1])
def file(request):
    return request.param


def places(value, path=()):
    """The path of each value within a value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    for key, each in list(inside):
        yield (*path, key)
        if isinstance(each, dict | list):
            yield from places(each, (*path, key))


def replaced(value, path, other):
    changed = copy.deepcopy(value)
    inside = changed
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = other
    return changed


def check(found):
    """What a reader may yield: with texts, parts and calls as the services expect them."""
    for each in found:
        assert isinstance(each, Chat | Rejected)
        if isinstance(each, Rejected):
            assert each.reason
            continue
        assert len(each.parents) in (0, len(each.messages))
        for message in each.messages:
            assert isinstance(message.content, str)
            assert isinstance(message.role, str)
            check_parts("parts", message.parts or [])
            assert all(call["id"] for call in message.tool_calls or ())


def test_any_value_may_be_any_other(file):
    file_format, name = file
    values = sample(name)
    shape = tuple if name.endswith(".jsonl") else list
    module = importlib.import_module(f"conversations.formats.{file_format}")
    looks_like = getattr(module, f"looks_like_{file_format}")
    for number, path in enumerate(places(values)):
        for odd in (ODD[number % len(ODD)], ODD[(number * 7 + 3) % len(ODD)]):
            changed = replaced(values, path, odd)
            check(read(file_format, shape(changed)))
            assert looks_like(changed[0]) in (True, False) if isinstance(changed[0], dict) else True


def test_any_value_may_be_missing(file):
    file_format, name = file
    values = sample(name)
    shape = tuple if name.endswith(".jsonl") else list
    for path in places(values):
        changed = copy.deepcopy(values)
        inside = changed
        for key in path[:-1]:
            inside = inside[key]
        del inside[path[-1]]
        check(read(file_format, shape(changed)))


def test_a_file_may_be_cut_anywhere(file):
    file_format, name = file
    data = (DATA / name).read_bytes()
    for end in range(0, len(data), 37):
        found = read(file_format, data[:end])
        check(found)
        json.dumps([each.reason for each in found if isinstance(each, Rejected)])


def test_bytes_of_another_encoding_are_refused(file):
    file_format, name = file
    text = (DATA / name).read_text()
    for found in (
        read(file_format, text.encode("utf-16")),
        read(file_format, text.replace("a", "\xe9").encode("latin-1")),
    ):
        check(found)
        assert any(isinstance(each, Rejected) for each in found)
