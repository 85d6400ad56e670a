"""Filters by what a conversation itself is."""

from __future__ import annotations

from django.db.models import Q

from conversations.admin.filters import DateRangeFilter, TextFilter, YesNoFilter


class OwnerFilter(TextFilter):
    title, parameter, lookup = "owner", "owner", "user__username"


class ModelFilter(TextFilter):
    title, parameter, lookup = "model", "model", "model_used"


class SourceFilter(TextFilter):
    title, parameter, lookup = "source", "source", "source"


class PinnedFilter(YesNoFilter):
    title, parameter, holds = "pinned", "pinned", Q(pinned=True)


class ArchivedFilter(YesNoFilter):
    title, parameter, holds = "archived", "archived", Q(archived_at__isnull=False)


class LegalHoldFilter(YesNoFilter):
    title, parameter, holds = "legal hold", "legal_hold", Q(legal_hold=True)


class UpdatedFilter(DateRangeFilter):
    title, parameter, column = "updated", "updated", "updated_at"


class CreatedFilter(DateRangeFilter):
    title, parameter, column = "created", "created", "created_at"
