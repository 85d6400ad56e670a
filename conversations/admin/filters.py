"""Filters of a list, declared as form fields with the condition that their values mean.

Not those of unfold.contrib.filters: they are one subclass a filter too; their drop-downs collect
the values of a column by reading the whole table and take no other; the one that searches needs
the right to view users and puts their keys into the address; a date range leaves out its last day
and ignores what is not a date; and all of them would need lookups on columns to be allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from dataclasses import field as with_default
from datetime import date, datetime, time, timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone

_EARLIEST, _LATEST = date(1900, 1, 1), date(2999, 12, 31)

# Values that a text field offers, given how they begin. Others may be typed.
KnownValues = Callable[[str], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Filter:
    """Form fields by the parameter of the address that each reads, the condition on a row that
    their cleaned values mean together, and the known values of its text fields."""

    fields: Mapping[str, forms.Field]
    condition: Callable[[dict[str, Any]], Q]
    known: Mapping[str, KnownValues] = with_default(default_factory=dict)


def choice_filter(
    parameter: str,
    label: str,
    choices: Mapping[str, str],
    condition: Callable[[str], Q] | None = None,
) -> Filter:
    """Rows that meet the condition of the chosen value; by default, whose column has it."""

    def of(values: dict[str, Any]) -> Q:
        chosen = values[parameter]
        if not chosen:
            return Q()
        return condition(chosen) if condition else Q(**{parameter: chosen})

    return Filter({parameter: choice_field(label, choices)}, of)


def yes_no_filter(parameter: str, label: str, holds: Q) -> Filter:
    """Rows of which `holds` is true, or is not."""
    choices = {"yes": "Yes", "no": "No"}
    return choice_filter(
        parameter, label, choices, lambda chosen: holds if chosen == "yes" else ~holds
    )


def text_filter(
    parameter: str,
    label: str,
    condition: str | Callable[[str], Q],
    known: KnownValues | None = None,
) -> Filter:
    """Rows that meet the condition of the text, or whose column of that name equals it."""

    def of(values: dict[str, Any]) -> Q:
        text = values[parameter]
        if not text:
            return Q()
        return Q(**{condition: text}) if isinstance(condition, str) else condition(text)

    return Filter({parameter: text_field(label)}, of, {parameter: known} if known else {})


def date_filter(parameter: str, label: str, column: str) -> Filter:
    """Rows whose column falls on these days, both included, in the current time zone."""
    first, last = f"{parameter}_from", f"{parameter}_to"
    return Filter(
        {first: day_field(f"{label} from"), last: day_field(f"{label} to")},
        lambda values: Q(**days_between(column, values[first], values[last])),
    )


class FilterForm(admin.ListFilter):
    """All filters of a list as one form. With a value that is not valid the list is empty, and
    its field says why."""

    title = "filters"
    template = "admin/conversations/filter.html"

    def __init__(
        self,
        filters: Sequence[Filter],
        request: HttpRequest,
        params: dict[str, Any],
        model: type[Model],
        model_admin: admin.ModelAdmin,
    ) -> None:
        super().__init__(request, params, model, model_admin)
        self.filters = filters
        fields = {name: field for one in filters for name, field in one.fields.items()}
        for name in fields:
            if name in params:
                self.used_parameters[name] = params.pop(name)[-1]
        self.form = forms.Form(self.used_parameters)
        self.form.fields = deepcopy(fields)
        for name in [name for one in filters for name in one.known]:
            attributes = {"list": f"known-{name}", "data-known": name, "autocomplete": "off"}
            self.form.fields[name].widget.attrs |= attributes

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if not self.form.is_valid():
            return queryset.none()
        for one in self.filters:
            queryset = queryset.filter(one.condition(self.form.cleaned_data))
        return queryset

    def has_output(self) -> bool:
        return True

    def expected_parameters(self) -> list[str | None]:
        return list(self.form.fields)

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        yield {"form": self.form}

    def chosen(self) -> Iterator[tuple[str, str, str]]:
        """Parameter, label and value of each field that is filled in, as people read them."""
        for name, field in self.form.fields.items():
            if text := str(self.used_parameters.get(name, "")).strip():
                offered = getattr(field.widget, "choices", ())
                yield name, str(field.label), dict(offered).get(text, text)


def choice_field(label: str, choices: Mapping[str, str]) -> forms.ChoiceField:
    return forms.ChoiceField(label=label, choices=[("", "All"), *choices.items()], required=False)


def text_field(label: str) -> forms.CharField:
    return forms.CharField(label=label, required=False)


def day_field(label: str) -> forms.DateField:
    # The browser's own date picker: it needs no script and works with the keyboard.
    widget = forms.DateInput({"type": "date"}, format="%Y-%m-%d")
    bounds = [MinValueValidator(_EARLIEST), MaxValueValidator(_LATEST)]
    return forms.DateField(label=label, required=False, widget=widget, validators=bounds)


def days_between(column: str, first: date | None, last: date | None) -> dict[str, datetime]:
    """The lookups for a column that falls on these days, both included; None is no bound."""
    lookups = {}
    if first:
        lookups[f"{column}__gte"] = start_of(first)
    if last:
        lookups[f"{column}__lt"] = start_of(last + timedelta(days=1))
    return lookups


def start_of(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))
