"""SQL conditions on jsonb columns for check constraints."""

from django.db.models import CharField, Func, IntegerField, Value
from django.db.models.functions import Coalesce
from django.db.models.lookups import Exact, GreaterThan


def jsonb_is(column: str, kind: str) -> Exact:
    """`jsonb_typeof(column) = kind`; `kind` is object, array, string, number, boolean or null."""
    return Exact(Func(column, function="jsonb_typeof", output_field=CharField()), kind)


def jsonb_has_items(column: str) -> GreaterThan:
    """Whether the array in `column` has elements; false (not NULL) for NULL."""
    length = Func(column, function="jsonb_array_length", output_field=IntegerField())
    return GreaterThan(Coalesce(length, Value(0)), 0)
