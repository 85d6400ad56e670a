"""Lines, an array, or objects over several lines: one reader for all."""

import io
import json

import pytest

from conversations.formats import Rejected
from conversations.formats.values import read_objects

OBJECTS = [{"a": 1}, {"b": ["x", {"c": "é"}]}, {}]


def read(text):
    return list(read_objects(io.BytesIO(text.encode() if isinstance(text, str) else text)))


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize(
    "text",
    [
        "\n".join(json.dumps(each) for each in OBJECTS),
        json.dumps(OBJECTS),
        json.dumps(OBJECTS, indent=2),
        " \n" + json.dumps(OBJECTS, indent=0),
        "\r\n".join(json.dumps(each) for each in OBJECTS),
    ],
)
def test_objects_are_read_in_any_form(text, mark):
    found = read(mark + text)
    assert [value for _, value in found] == OBJECTS
    assert [place for place, _ in found] == [1, 2, 3]


def test_objects_over_several_lines_follow_each_other():
    text = "\n".join(json.dumps(each, indent=2) for each in OBJECTS)
    assert read(text) == [(1, OBJECTS[0]), (2, OBJECTS[1]), (3, {})]


def test_a_line_that_is_cut_costs_no_other():
    for broken in ('{"a": 1, "b', '{"a": 1,', "{"):
        rejected, good = read(broken + '\n{"c": 1}\n')
        assert (rejected.line, good) == (1, (2, {"c": 1}))


def test_an_array_that_is_cut_gives_what_is_before_the_cut():
    *whole, rejected = read(json.dumps(OBJECTS)[:-15])
    assert whole == [(1, {"a": 1})]
    assert (rejected.line, rejected.reason[-34:]) == (
        2,
        "The rest of the file is not read.".rjust(34),
    )


def test_what_is_no_object_is_refused_and_costs_no_other():
    assert read('[1, {"a": 1}, null]') == [
        Rejected(1, "Not an object."),
        (2, {"a": 1}),
        Rejected(3, "Not an object."),
    ]


def test_the_file_stays_open():
    file = io.BytesIO(b"{}")
    assert list(read_objects(file)) == [(1, {})]
    assert not file.closed
