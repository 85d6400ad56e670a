"""Numbers with thousands separators."""

from __future__ import annotations

from django import template

register = template.Library()


@register.filter
def grouped(number: int | float) -> str:
    """`1,234,567`."""
    return f"{number:,}"
