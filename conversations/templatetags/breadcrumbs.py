"""Breadcrumbs of a page of the admin: its list, then the page itself."""

from __future__ import annotations

from typing import Any

from django import template
from django.urls import reverse

register = template.Library()


@register.simple_tag(takes_context=True)
def breadcrumbs(context: template.Context) -> list[dict[str, Any]]:
    """`{"title", "url"}` each; `url` is None for the page itself.

    Instead of the theme's own tag, which begins with the name of the app, here the same as that
    of the list, and leaves out pages that an app adds.
    """
    opts = context.get("opts")
    title = context.get("title") or ""
    if not opts:
        return [{"title": title, "url": None}]
    plural = opts.verbose_name_plural
    of_list = {
        "title": plural[:1].upper() + plural[1:],
        "url": _list_url(opts, context.get("filters")),
    }
    if context.get("cl"):
        return [of_list | {"url": None}]
    shown = context.get("original") or context.get("object")
    if shown is None or isinstance(shown, str):
        return [of_list, {"title": title, "url": None}]
    return [of_list, {"title": str(shown), "url": None}]


def _list_url(opts: Any, filters: str | None) -> str:
    """The list with the filters that it had when this page was opened from it."""
    url = reverse(f"admin:{opts.app_label}_{opts.model_name}_changelist")
    return f"{url}?{filters}" if filters else url
