"""Charts as SVG, drawn by the server.

Not the theme's chart components (Chart.js): on their canvas no bar or point is a link to the list
behind it, and neither keyboard nor screen reader reaches one; they load 200 KB of script.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

WIDTH, HEIGHT = 560, 170
LEFT, RIGHT, TOP, BOTTOM = 48, 6, 10, 24
_INNER_WIDTH = WIDTH - LEFT - RIGHT
_INNER_HEIGHT = HEIGHT - TOP - BOTTOM
_FLOOR = TOP + _INNER_HEIGHT
_MOST_LABELS = 7


@dataclass(frozen=True, slots=True)
class Column:
    """One place on the x axis: its label, a value for each series (None: no data), its link."""

    label: str
    values: tuple[float | None, ...]
    url: str


def count_text(value: float) -> str:
    return f"{value:,.0f}"


def count_tick(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A bar for each value or, with `is_line`, a line for each series with a point for each value.

    `series` names the values of each column; `text` formats a value, `tick` one beside the y axis.
    """

    title: str
    rows: Sequence[Column]
    series: tuple[str, ...]
    text: Callable[[float], str] = count_text
    tick: Callable[[float], str] = count_tick
    total: str = ""
    is_line: bool = False

    view_box: ClassVar[str] = f"0 0 {WIDTH} {HEIGHT}"
    edges: ClassVar[tuple[int, int]] = (LEFT, WIDTH - RIGHT)

    @property
    def table(self) -> list[tuple[Column, list[str]]]:
        """Each column, and its values as text."""
        return [
            (row, ["\u2013" if value is None else self.text(value) for value in row.values])
            for row in self.rows
        ]

    @property
    def marks(self) -> Iterator[dict[str, object]]:
        """The bars or points: `series` (its number), `x`, `y`, `width`, `height`, the accessible
        name `said`, and `url`."""
        slot = _INNER_WIDTH / len(self.rows)
        width = 0 if self.is_line else slot * 0.8 / len(self.series)
        for place, row in enumerate(self.rows):
            for number, value in enumerate(row.values):
                if value is None or not (value or self.is_line):
                    continue
                y = self._y(value)
                left = LEFT + slot * (place + 0.1) + width * number
                yield {
                    "series": number,
                    "x": self._x(place) if self.is_line else round(left, 1),
                    "y": round(y, 1),
                    "width": round(width, 1),
                    "height": round(_FLOOR - y, 1),
                    "said": f"{row.label}: {self.text(value)} {self.series[number].lower()}",
                    "url": row.url,
                }

    @property
    def lines(self) -> list[tuple[int, str]]:
        """The points of each line, by the number of its series; a missing value breaks a line."""
        if not self.is_line:
            return []
        return [
            (number, points)
            for number in range(len(self.series))
            for points in self._unbroken_lines(number)
        ]

    @property
    def ticks(self) -> list[tuple[float, str]]:
        return [
            (round(self._y(self._top * part), 1), self.tick(self._top * part))
            for part in (0, 0.5, 1)
        ]

    @property
    def labels(self) -> list[tuple[float, str]]:
        """Of many columns only some are labelled, so that labels do not overlap."""
        every = max(1, math.ceil(len(self.rows) / _MOST_LABELS))
        return [
            (self._x(place), row.label[5:] if len(row.label) == 10 else row.label)
            for place, row in enumerate(self.rows)
            if place % every == 0
        ]

    def _unbroken_lines(self, number: int) -> list[str]:
        lines: list[list[str]] = [[]]
        for place, row in enumerate(self.rows):
            value = row.values[number]
            if value is None:
                lines.append([])
            else:
                lines[-1].append(f"{self._x(place)},{self._y(value):.1f}")
        return [" ".join(points) for points in lines if len(points) > 1]

    def _x(self, place: int) -> float:
        return round(LEFT + _INNER_WIDTH * (place + 0.5) / len(self.rows), 1)

    def _y(self, value: float) -> float:
        return _FLOOR - _INNER_HEIGHT * value / self._top

    @cached_property
    def _top(self) -> float:
        """The round number at or above the largest value."""
        largest = max((value or 0 for row in self.rows for value in row.values), default=0)
        if largest <= 4:
            return 4
        step = 10.0 ** math.floor(math.log10(largest))
        return next(step * factor for factor in (1, 2, 4, 6, 8, 10) if step * factor >= largest)
