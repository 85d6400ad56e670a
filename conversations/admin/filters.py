"""Filters as form fields: typed or chosen, so that no list of values has to be collected."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.widgets import INPUT_CLASSES, UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

_EARLIEST, _LATEST = date(1900, 1, 1), date(2999, 12, 31)


class FormFilter(admin.ListFilter):
    """One or two form fields. A value that is not valid finds nothing, and the field says why."""

    template = "admin/conversations/filter.html"
    parameter: str

    def __init__(
        self,
        request: HttpRequest,
        params: dict[str, Any],
        model: type[Model],
        model_admin: admin.ModelAdmin,
    ) -> None:
        super().__init__(request, params, model, model_admin)
        for name in self.fields():
            if name in params:
                self.used_parameters[name] = params.pop(name)[-1]
        self.form = forms.Form(self.used_parameters)
        self.form.fields.update(self.fields())

    @classmethod
    def fields(cls) -> dict[str, forms.Field]:
        raise NotImplementedError

    def condition(self, values: dict[str, Any]) -> Q:
        raise NotImplementedError

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if not self.form.is_valid():
            return queryset.none()
        return queryset.filter(self.condition(self.form.cleaned_data))

    def has_output(self) -> bool:
        return True

    def expected_parameters(self) -> list[str | None]:
        return list(self.fields())

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        yield {"form": self.form}


class ChoiceFilter(FormFilter):
    """Rows that fit the condition of the chosen value."""

    choices_offered: dict[str, str]

    @classmethod
    def fields(cls) -> dict[str, forms.Field]:
        return {
            cls.parameter: forms.ChoiceField(
                label=cls.title,
                choices=[("", "All"), *cls.choices_offered.items()],
                required=False,
                widget=UnfoldAdminSelectWidget,
            )
        }

    def condition(self, values: dict[str, Any]) -> Q:
        value = values[self.parameter]
        return self.condition_of(value) if value else Q()

    def condition_of(self, value: str) -> Q:
        return Q(**{self.parameter: value})


class YesNoFilter(ChoiceFilter):
    """Rows of which `holds` is true, or is not."""

    choices_offered = {"yes": "Yes", "no": "No"}
    holds: Q

    def condition_of(self, value: str) -> Q:
        return self.holds if value == "yes" else ~self.holds


class TextFilter(FormFilter):
    """Rows whose `lookup` fits the text."""

    lookup: str

    @classmethod
    def fields(cls) -> dict[str, forms.Field]:
        return {
            cls.parameter: forms.CharField(
                label=cls.title, required=False, widget=UnfoldAdminTextInputWidget
            )
        }

    def condition(self, values: dict[str, Any]) -> Q:
        text = values[self.parameter]
        return Q(**{self.lookup: text}) if text else Q()


class DateRangeFilter(FormFilter):
    """Rows whose `column` falls on these days, both included, in the current time zone."""

    column: str

    @classmethod
    def fields(cls) -> dict[str, forms.Field]:
        return {
            f"{cls.parameter}_from": day_field(f"{cls.title} from"),
            f"{cls.parameter}_to": day_field(f"{cls.title} to"),
        }

    def condition(self, values: dict[str, Any]) -> Q:
        first, last = (values[name] for name in self.fields())
        found = Q()
        if first:
            found &= Q(**{f"{self.column}__gte": start_of(first)})
        if last:
            found &= Q(**{f"{self.column}__lt": start_of(last + timedelta(days=1))})
        return found


def day_field(label: str) -> forms.DateField:
    # The browser's own picker: it needs no script and obeys the keyboard.
    widget = forms.DateInput({"type": "date", "class": " ".join(INPUT_CLASSES)}, format="%Y-%m-%d")
    bounds = [MinValueValidator(_EARLIEST), MaxValueValidator(_LATEST)]
    return forms.DateField(label=label, required=False, widget=widget, validators=bounds)


def start_of(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))
