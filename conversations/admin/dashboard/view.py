"""The dashboard: figures and charts of the last days, each a link to the list behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from conversations.admin.conversation.listed import any_conversation
from conversations.admin.dashboard.charts import Chart, Column
from conversations.admin.filters import start_of
from conversations.admin.formatting import amount, seconds
from conversations.admin.navigation import may_see_any_list
from conversations.admin.username_urls import owner_url
from conversations.db.bulk_rows import Row
from conversations.models import VIEW_CONVERSATION, Status
from conversations.models.rights import VIEW_CONTENT
from conversations.selectors.statistics import Statistics, statistics_since

WINDOWS = (7, 14, 30)
DEFAULT_WINDOW = 14
KEPT_SECONDS = 60
LISTED_MODELS = 8
TITLE = "Dashboard"

Values = Callable[[Row], tuple[float | None, ...]]
_NOTHING: Row = {"messages": 0, "users": 0, "latency": None, "first_token": None}
ADD_TOKEN = "conversations.add_apitoken"


@dataclass(frozen=True, slots=True)
class Figure:
    """A headline number, its change, and the URL of the list behind it, or ""."""

    label: str
    value: str
    change: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class Share:
    """One line of a breakdown: its amount, and its share in percent as the width of a bar."""

    label: str
    amount: str
    width: int
    url: str


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """The context of the index page (the theme's DASHBOARD_CALLBACK); no figures for those who may
    not see conversations."""
    if not request.user.has_perm(VIEW_CONVERSATION):
        return context | {"title": TITLE, "may_see_any_list": may_see_any_list(request)}
    window = _window(request)
    today = timezone.localdate()
    first = today - timedelta(days=window - 1)
    found = _statistics(first, window)
    days = [first + timedelta(days=number) for number in range(window)]
    return context | {
        "title": TITLE,
        "window": window,
        "windows": WINDOWS,
        "is_empty": not found.total["messages"] and not any_conversation(),
        "token_url": _token_url(request),
        "docs_url": reverse("docs"),
        "figures": _figures(found, first),
        "charts": _charts(found, days),
        "statuses": _statuses(found, first),
        "models": _models(found, first),
        "costs": _costs(found, first),
        "currency": settings.CHAT_COST_CURRENCY,
        "ratings": _ratings(found, first),
        "slowest": [_answer(row) for row in found.slowest],
        "failed": [_answer(row) for row in found.failed],
        "failed_url": _list_url(status=Status.FAILED, said_from=first),
        "may_open": request.user.has_perm(VIEW_CONTENT),
        "kept_seconds": KEPT_SECONDS,
    }


def _window(request: HttpRequest) -> int:
    wanted = request.GET.get("days", "")
    return next((days for days in WINDOWS if str(days) == wanted), DEFAULT_WINDOW)


def _statistics(first: date, window: int) -> Statistics:
    """Computed once a minute for all viewers in one time zone."""
    zone = timezone.get_current_timezone_name()
    start, before = start_of(first), start_of(first - timedelta(days=window))
    key = f"conversations.dashboard.3.{first}.{window}.{zone.replace(' ', '')}"
    found: Statistics | None = cache.get(key)
    if found is None:
        found = statistics_since(start, zone, before=before)
        cache.set(key, found, KEPT_SECONDS)
    return found


def _token_url(request: HttpRequest) -> str | None:
    may = request.user.has_perm(ADD_TOKEN)
    return reverse("admin:conversations_apitoken_add") if may else None


def _figures(found: Statistics, first: date) -> list[Figure]:
    now, before = found.total, found.before
    counts = [
        ("Messages", "messages", _list_url(said_from=first)),
        ("Active users", "users", ""),
        ("Answers", "answers", ""),
        ("Failed answers", "failed", _list_url(status=Status.FAILED, said_from=first)),
    ]
    median, median_before = _pair(now["latency"])[0], _pair(before["latency"])[0]
    return [
        *(
            Figure(label, f"{now[name]:,}", _change(now[name], before[name]), url)
            for label, name, url in counts
        ),
        Figure(
            "Median time to answer",
            "No data" if median is None else seconds(median),
            _change(median, median_before),
        ),
    ]


def _change(now: float | None, before: float | None) -> str:
    """The change from the period before in percent, where that was not zero."""
    if now is None or not before:
        return "No earlier data"
    percent = round(100 * (now - before) / before)
    return "No change" if percent == 0 else f"{percent:+,d}%"


def _charts(found: Statistics, days: Sequence[date]) -> list[Chart]:
    rows = {row["day"]: row for row in found.days}
    total = found.total

    def columns(values: Values) -> list[Column]:
        return [
            Column(str(day), values(rows.get(day, _NOTHING)), _list_url(said_from=day, said_to=day))
            for day in days
        ]

    return [
        Chart(
            title="Messages per day",
            rows=columns(lambda row: (row["messages"],)),
            series=("Messages",),
            total=f"Total: {total['messages']:,}",
        ),
        Chart(
            title="Active users per day",
            rows=columns(lambda row: (row["users"],)),
            series=("Users",),
            total=f"Unique: {total['users']:,}",
        ),
        _times("Time to answer", "latency", columns, total),
        _times("Time to first token", "first_token", columns, total),
    ]


def _times(title: str, name: str, columns: Callable[[Values], list[Column]], total: Row) -> Chart:
    return Chart(
        title=title,
        rows=columns(lambda row: _pair(row[name])),
        series=("Median", "p95"),
        text=seconds,
        tick=_seconds_tick,
        total=_percentiles(total[name]),
        is_line=True,
    )


def _pair(percentiles: list[float | None] | None) -> tuple[float | None, ...]:
    return tuple(percentiles or (None, None))


def _percentiles(percentiles: list[float | None] | None) -> str:
    median, p95 = _pair(percentiles)
    if median is None or p95 is None:
        return "No data"
    return f"Median {seconds(median)}, p95 {seconds(p95)}"


def _seconds_tick(milliseconds: float) -> str:
    return f"{milliseconds / 1_000:g} s"


def _statuses(found: Statistics, first: date) -> list[Share]:
    totals = dict.fromkeys(Status.values, 0)
    for row in found.answers:
        totals[row["status"]] += row["messages"]
    return _shares(
        (Status(status).label, total, _list_url(status=status, said_from=first))
        for status, total in totals.items()
        if total
    )


def _models(found: Statistics, first: date) -> list[Share]:
    """Prompt and completion tokens by model, of the LISTED_MODELS with most."""
    return _by_model(found, first, lambda row: row["prompt_tokens"] + row["completion_tokens"])


def _costs(found: Statistics, first: date) -> list[Share]:
    """What the models cost whose provider or prices say so, of the LISTED_MODELS with most."""
    return _by_model(found, first, lambda row: row["cost"] or 0, text=amount)


def _by_model(
    found: Statistics,
    first: date,
    value: Callable[[Row], Any],
    text: Callable[[Any], str] = "{:,}".format,
) -> list[Share]:
    totals: dict[tuple[str, str], Any] = {}
    for row in [*found.answers, *found.unstored]:
        key = (row["provider"], row["model"])
        totals[key] = totals.get(key, 0) + value(row)
    largest = sorted(totals.items(), key=lambda item: -item[1])[:LISTED_MODELS]
    return _shares(
        (
            (
                f"{provider} {model}".strip() if model else "No data",
                total,
                _list_url(provider=provider, answer_model=model, said_from=first),
            )
            for (provider, model), total in largest
            if total
        ),
        text,
    )


def _ratings(found: Statistics, first: date) -> list[Share]:
    return _shares(
        (label, found.total[name], _list_url(rating=rating, said_from=first))
        for label, name, rating in [("Good", "good", 1), ("Bad", "bad", -1)]
    )


def _shares(rows: Any, text: Callable[[Any], str] = "{:,}".format) -> list[Share]:
    found = list(rows)
    whole = sum(total for _, total, _ in found) or 1
    return [
        Share(label, text(total), round(100 * total / whole), url) for label, total, url in found
    ]


def _answer(row: Row) -> Row:
    page = reverse("admin:conversations_conversation_change", args=[row["conversation_id"]])
    shown = {"url": f"{page}?at={row['sequence']}", "owner_url": owner_url(row["owner"])}
    return row | shown | {"duration": seconds(row.get("latency_ms") or 0)}


def _list_url(**filters: Any) -> str:
    chosen = {name: value for name, value in filters.items() if value not in ("", None)}
    return f"{reverse('admin:conversations_conversation_changelist')}?{urlencode(chosen)}"
