"""How pieces join what is stored: new, repeated, late, overlapping, different, beyond."""

import pytest

from conversations.services.answer_pieces import joined_list, rest_of_text

STORED = "Hé 😀 you"  # 8 characters, 11 UTF-16 units or bytes more


@pytest.mark.parametrize(
    ("offset", "text", "rest"),
    [
        (8, "!", "!"),  # new
        (8, "", ""),
        (5, "you", ""),  # repeated
        (0, "Hé", ""),  # late
        (3, "😀 you two", " two"),  # overlapping
        (0, STORED + "!", "!"),  # whole
        (5, "me", None),  # different
        (5, "yes you", None),
        (9, "x", None),  # beyond
    ],
)
def test_text(offset, text, rest):
    overlap = STORED[offset : offset + len(text)]
    assert rest_of_text(len(STORED), overlap, offset, text) == rest


A, B, C = {"a": 1}, {"b": [1, 2]}, {"c": None}


@pytest.mark.parametrize(
    ("offset", "items", "joined"),
    [
        (2, [C], [A, B, C]),  # new
        (2, [], [A, B]),
        (1, [B], [A, B]),  # repeated
        (0, [A], [A, B]),  # late
        (1, [B, C], [A, B, C]),  # overlapping
        (1, [{"b": [1.0, 2]}], [A, B]),  # the same in JSON
        (1, [C], None),  # different
        (0, [B, B], None),
        (3, [C], None),  # beyond
    ],
)
def test_lists(offset, items, joined):
    assert joined_list([A, B], offset, items, last_may_grow=False) == joined


def thought(text, **more):
    return {"type": "reasoning", "text": text} | more


@pytest.mark.parametrize(
    ("items", "joined"),
    [
        ([thought("I see.")], [A, thought("I see.")]),  # longer
        ([thought("I see."), B], [A, thought("I see."), B]),
        ([thought("I")], [A, thought("I s")]),  # late: the longer one stays
        ([thought("I s")], [A, thought("I s")]),
        ([thought("You")], None),
        ([thought("I see.", more=1)], None),
        (["I s"], None),
    ],
)
def test_the_last_part_may_grow(items, joined):
    stored = [A, thought("I s")]
    assert joined_list(stored, 1, items, last_may_grow=True) == joined
    assert joined_list([*stored, B], 1, [thought("I see.")], last_may_grow=True) is None
    assert joined_list(stored, 1, [thought("I see.")], last_may_grow=False) is None
