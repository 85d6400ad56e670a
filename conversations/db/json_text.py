"""SQL for rows as JSON text, put together by `||` of few pieces.

`row_to_json` looks up the type of every column of every row, and escapes its name. Here both are
done once, when the statement is made from the models, and the many columns that are null in most
rows are one piece of text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from types import MappingProxyType
from typing import Any, NamedTuple

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import CharField, DateTimeField, DecimalField, TextField, UUIDField

# Checked to be names, in which nothing is escaped.
_NAMES = frozenset({"role", "status"})


class Style(NamedTuple):
    """How JSON is spelled: what stands between two members and after a name, and how a time in UTC
    ends."""

    comma: str
    colon: str
    utc: str


# As orjson writes it in responses, and as `json.dumps` does in exports.
COMPACT = Style(",", ":", "Z")
SPACED = Style(", ", ": ", "+00:00")


class Member(NamedTuple):
    """A member of an object: its name and SQL for its value as JSON. `nullable` is a column that is
    null where the value is JSON's null, which the SQL need not write; None if there is no such."""

    name: str
    value: str
    nullable: str | None = None


def members_of(
    model: type[models.Model],
    names: Iterable[str],
    table: str,
    style: Style,
    computed: Mapping[str, str] = MappingProxyType({}),
) -> list[Member]:
    """Members for columns of a table, or for SQL where `computed` has that for a name."""
    return [
        Member(name, computed[name])
        if name in computed
        else _column(model._meta.get_field(name), f"{table}.{name}", style)
        for name in names
    ]


def _column(field: Any, column: str, style: Style) -> Member:
    return Member(field.name, _value(field, column, style), column if field.null else None)


def object_of(members: Iterable[Member], style: Style) -> str:
    """SQL for the text of an object."""
    comma, colon, _ = style
    pieces: list[str] = []
    for is_null, run in groupby(members, lambda member: member.nullable is not None):
        if is_null:
            pieces.append(_nullable(list(run), style))
        else:
            for member in run:
                pieces += [f"""'{comma}"{member.name}"{colon}'""", member.value]
    pieces[0] = pieces[0].replace(f"'{comma}", "'{", 1)
    return _joined([*pieces, "'}'"])


def _nullable(members: Sequence[Member], style: Style) -> str:
    """Of these most are null in most rows: one comparison and one piece of text for all of them."""
    comma, colon, _ = style
    nulls = " AND ".join(f"{member.nullable} IS NULL" for member in members)
    text = "".join(f'{comma}"{member.name}"{colon}null' for member in members)
    if len(members) == 1:
        some = f"""'{comma}"{members[0].name}"{colon}' || {members[0].value}"""
    else:
        half = len(members) // 2
        some = f"{_nullable(members[:half], style)} || {_nullable(members[half:], style)}"
    return f"CASE WHEN {nulls} THEN '{text}' ELSE {some} END"


def _joined(pieces: Sequence[str]) -> str:
    """Their concatenation, in halves: one after the other copies the first ones most often."""
    if len(pieces) == 1:
        return f"({pieces[0]})"
    half = len(pieces) // 2
    return f"({_joined(pieces[:half])} || {_joined(pieces[half:])})"


def _value(field: Any, column: str, style: Style) -> str:
    """SQL for the value of a column as JSON; null where it is null."""
    if field.name in _NAMES or isinstance(field, UUIDField):
        return f"""('"' || {column} || '"')"""
    if isinstance(field, DateTimeField):
        return _time(column, style)
    if isinstance(field, DecimalField):
        return f"""('"' || trim_scale({column}) || '"')"""
    if isinstance(field, ArrayField):
        items = (
            f"SELECT string_agg(to_json(item)::text, '{style.comma}') FROM unnest({column}) AS item"  # noqa: S608
        )
        return f"""CASE {column} WHEN '{{}}' THEN '[]' ELSE '[' || ({items}) || ']' END"""
    is_text = isinstance(field, CharField | TextField)
    return f"to_json({column})::text" if is_text else f"{column}::text"


def _time(column: str, style: Style) -> str:
    """As Python has it: six digits after the second, or none. The zone of a session is UTC.

    `to_json` drops zeros at the end, and `to_char` takes five times as long.
    """
    time = f"to_json({column})::text"
    if style.utc != "+00:00":
        time = f"""left({time}, -7) || '{style.utc}"'"""
    digits = f"""to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US')"""
    return f"""CASE WHEN {column}::timestamptz(5) <> {column} OR {column}::timestamptz(0) = {column}
        THEN {time} ELSE '"' || {digits} || '{style.utc}"' END"""
