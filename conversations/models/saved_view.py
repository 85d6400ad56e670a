"""SavedView: filters and order of a list of the admin, under a name that somebody gave them."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from conversations.models.ids import new_id

MAX_VIEW_NAME_CHARS = 60


class SavedView(models.Model):
    """`page` is the label of the listed model, such as `conversations.conversation`; `query` the
    query string of the list's address."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    # The database cascades, as it does for conversations.
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.DO_NOTHING,
        related_name="+",
        db_constraint=False,
        db_index=False,
    )
    page = models.CharField(max_length=100)
    name = models.CharField(max_length=MAX_VIEW_NAME_CHARS)
    query = models.TextField()

    class Meta:
        # Nobody gives rights on them: everybody has their own.
        default_permissions = ()
        constraints = [
            # Also the index of a list's saved views.
            models.UniqueConstraint(fields=["user", "page", "name"], name="savedview_name_unique"),
            models.CheckConstraint(name="savedview_name_not_empty", condition=~Q(name="")),
        ]

    def __str__(self) -> str:
        return self.name
