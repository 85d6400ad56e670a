"""Plots as SVG, drawn by the server: where each bar and point stands."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 560, 170
LEFT, RIGHT, TOP, BOTTOM = 48, 6, 10, 24
_INNER_WIDTH = WIDTH - LEFT - RIGHT
_INNER_HEIGHT = HEIGHT - TOP - BOTTOM
_FLOOR = TOP + _INNER_HEIGHT
_MOST_LABELS = 7


@dataclass(frozen=True, slots=True)
class Column:
    """One place on the axis: what it is called, its values (None: not known), where it leads."""

    label: str
    values: tuple[float | None, ...]
    url: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A bar or point of one series, with the words that say what it stands for."""

    series: int
    x: float
    y: float
    width: float
    height: float
    said: str
    url: str


@dataclass(frozen=True, slots=True)
class Chart:
    """All that a template needs; `table` is the same in words."""

    title: str
    series: tuple[str, ...]
    text: Callable[[float], str]
    marks: list[Mark]
    lines: list[tuple[int, str]]
    ticks: list[tuple[float, str]]
    labels: list[tuple[float, str]]
    rows: Sequence[Column]
    total: str = ""

    @property
    def table(self) -> list[tuple[Column, list[str]]]:
        """Each column, and its values as they are written."""
        return [
            (row, ["\u2013" if value is None else self.text(value) for value in row.values])
            for row in self.rows
        ]

    @property
    def view_box(self) -> str:
        return f"0 0 {WIDTH} {HEIGHT}"

    @property
    def edges(self) -> tuple[int, int]:
        return LEFT, WIDTH - RIGHT


def count_text(value: float) -> str:
    return f"{value:,.0f}"


def count_tick(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """What to draw: `series` names the values of each column; `text` writes a value, and `tick`
    one beside the axis."""

    title: str
    columns: Sequence[Column]
    series: tuple[str, ...]
    text: Callable[[float], str] = count_text
    tick: Callable[[float], str] = count_tick
    total: str = ""


def bars(plot: Plot) -> Chart:
    """A bar for each value; those of one column stand side by side."""
    top = _top(plot.columns)
    marks = [mark for place in range(len(plot.columns)) for mark in _bars_of(plot, place, top)]
    return _chart(plot, top, marks, [])


def lines(plot: Plot) -> Chart:
    """A line for each series, with a point for each value; a value not known breaks the line."""
    top = _top(plot.columns)
    marks = [mark for place in range(len(plot.columns)) for mark in _points_of(plot, place, top)]
    drawn = [
        (number, run)
        for number in range(len(plot.series))
        for run in _runs_of(plot.columns, number, top)
    ]
    return _chart(plot, top, marks, drawn)


def _chart(plot: Plot, top: float, marks: list[Mark], drawn: list[tuple[int, str]]) -> Chart:
    return Chart(
        title=plot.title,
        series=plot.series,
        text=plot.text,
        marks=marks,
        lines=drawn,
        ticks=_ticks(plot, top),
        labels=_labels(plot.columns),
        rows=plot.columns,
        total=plot.total,
    )


def _bars_of(plot: Plot, place: int, top: float) -> list[Mark]:
    column, slot = plot.columns[place], _INNER_WIDTH / len(plot.columns)
    width = slot * 0.8 / len(plot.series)
    return [
        Mark(
            series=number,
            x=round(LEFT + slot * (place + 0.1) + width * number, 1),
            y=round(_y(value, top), 1),
            width=round(width, 1),
            height=round(_FLOOR - _y(value, top), 1),
            said=_said(plot, column, number, value),
            url=column.url,
        )
        for number, value in enumerate(column.values)
        if value
    ]


def _points_of(plot: Plot, place: int, top: float) -> list[Mark]:
    column = plot.columns[place]
    return [
        Mark(
            series=number,
            x=_x(place, plot.columns),
            y=round(_y(value, top), 1),
            width=0,
            height=0,
            said=_said(plot, column, number, value),
            url=column.url,
        )
        for number, value in enumerate(column.values)
        if value is not None
    ]


def _runs_of(columns: Sequence[Column], number: int, top: float) -> list[str]:
    runs: list[list[str]] = [[]]
    for place, column in enumerate(columns):
        value = column.values[number]
        if value is None:
            runs.append([])
        else:
            runs[-1].append(f"{_x(place, columns)},{_y(value, top):.1f}")
    return [" ".join(run) for run in runs if len(run) > 1]


def _said(plot: Plot, column: Column, number: int, value: float) -> str:
    return f"{column.label}: {plot.text(value)} {plot.series[number].lower()}"


def _x(place: int, columns: Sequence[Column]) -> float:
    return round(LEFT + _INNER_WIDTH * (place + 0.5) / len(columns), 1)


def _y(value: float, top: float) -> float:
    return _FLOOR - _INNER_HEIGHT * value / top


def _top(columns: Sequence[Column]) -> float:
    """The round number at or above the largest value."""
    largest = max((value or 0 for column in columns for value in column.values), default=0)
    if largest <= 4:
        return 4
    step = 10.0 ** math.floor(math.log10(largest))
    return next(step * factor for factor in (1, 2, 4, 6, 8, 10) if step * factor >= largest)


def _ticks(plot: Plot, top: float) -> list[tuple[float, str]]:
    return [(round(_y(top * part, top), 1), plot.tick(top * part)) for part in (0, 0.5, 1)]


def _labels(columns: Sequence[Column]) -> list[tuple[float, str]]:
    """Of many columns only some are labelled, so that the words do not touch."""
    every = max(1, math.ceil(len(columns) / _MOST_LABELS))
    return [
        (_x(place, columns), column.label[5:] if len(column.label) == 10 else column.label)
        for place, column in enumerate(columns)
        if place % every == 0
    ]
