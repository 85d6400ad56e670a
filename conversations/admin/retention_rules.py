"""Retention rules: staff make them, see what each would do now, and then switch it on."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import Q
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin

from conversations.admin.audit import access_of
from conversations.admin.change_list import ListAdmin
from conversations.admin.filters import yes_no_filter
from conversations.admin.formatting import counted, isolated, moment
from conversations.models import RetentionAct, RetentionRule
from conversations.models.rights import DELETE
from conversations.models.user_names import is_namespace
from conversations.selectors.retention import PREVIEW_SECONDS, PREVIEWED, Preview, preview
from conversations.services.retention import delete_rule, due_by, save_rule
from conversations.services.users import BAD_NAMESPACE

SWITCHED_OFF = (
    "What the rule does was changed, so it is off: look at its effect, then switch it on."
)
NOT_COUNTED = f"Not counted: it would take longer than {PREVIEW_SECONDS} seconds."
MORE = f"These are the oldest {PREVIEWED:,} conversations; there are more."


class RuleForm(forms.ModelForm):
    def clean_namespace(self) -> str:
        namespace: str = self.cleaned_data["namespace"]
        if namespace and not is_namespace(namespace):
            raise ValidationError(BAD_NAMESPACE)
        return namespace


@admin.register(RetentionRule)
class RetentionRuleAdmin(ListAdmin, ModelAdmin):  # type: ignore[misc]
    """A rule is off when it is made, and after each change of what it does."""

    form = RuleForm
    list_display = ["named", "does", "days", "limited", "keep_pinned", "active"]
    filters = [yes_no_filter("active", "active", Q(active=True))]
    ordering = ["created_at"]
    actions = None
    _ALL = ("name", "act", "days", "group", "model_used", "tag", "namespace", "keep_pinned")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return [*self._ALL, *(("effect", "active") if obj else ())]

    def get_readonly_fields(
        self, request: HttpRequest, obj: RetentionRule | None = None
    ) -> list[str]:
        return ["effect"] if request.user.has_perm(DELETE) else ["effect", "active"]

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if save_rule(rule=obj, changed=form.changed_data, access=access_of(request)):
            self.message_user(request, SWITCHED_OFF, messages.WARNING)

    def delete_model(self, request: HttpRequest, obj: RetentionRule) -> None:
        delete_rule(rule=obj, access=access_of(request))

    @admin.display(description="name", ordering="name")
    def named(self, rule: RetentionRule) -> SafeString:
        return isolated(rule.name)

    @admin.display(description="action", ordering="act")
    def does(self, rule: RetentionRule) -> str:
        return RetentionAct(rule.act).label

    @admin.display(description="limited to")
    def limited(self, rule: RetentionRule) -> SafeString:
        given = [f"{name}: {value}" for name, value in rule.limits.items()]
        return isolated(", ".join(given) or "all conversations")

    @admin.display(description="effect now")
    def effect(self, rule: RetentionRule) -> SafeString:
        """What the stored rule would do at this moment."""
        return _shown(preview(due_by(rule)), RetentionAct(rule.act))


def _shown(found: Preview, act: RetentionAct) -> SafeString:
    if found.timed_out:
        return format_html("{}", NOT_COUNTED)
    verb = "Deletes" if act == RetentionAct.DELETE else "Empties"
    return format_html(
        "{} {} with {}{}. Left out: {} pinned, {} on legal hold. {}",
        verb,
        counted(found.conversations, "conversation"),
        counted(found.messages, "message"),
        format_html(", the oldest of {}", moment(found.oldest)) if found.oldest else "",
        f"{found.pinned:,}",
        f"{found.held:,}",
        MORE if found.bounded else "",
    )
