"""What is asked over HTTP: a question, or an answer that is to be given again."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from conversations.api.fields import (
    ListField,
    ObjectField,
    ParentField,
    StrictBooleanField,
    StrictCharField,
    StrictIntegerField,
    StrictNumberField,
    StrictSerializer,
    StrictUUIDField,
    UserIdField,
)

NOT_WITH_REGENERATE = "Not with `regenerate`, which asks a stored question again."


class AskingSerializer(StrictSerializer):
    """A question, or an answer to be given again."""

    question_name = "message"

    def validate(self, attrs: Any) -> Any:
        new = (self.question_name, "parts", "metadata", "parent_id")
        if "regenerate" in attrs:
            error = serializers.ErrorDetail(NOT_WITH_REGENERATE, "not_with_regenerate")
            refused = [name for name in new if name in attrs]
        else:
            text = str(self.fields[self.question_name].error_messages["required"])
            error = serializers.ErrorDetail(text, "required")
            refused = [name for name in new[:1] if name not in attrs]
        if refused:
            raise serializers.ValidationError({name: [error] for name in refused})
        return attrs


class QuestionSerializer(AskingSerializer):
    """A message to be answered, or an answer to be given again, and how."""

    exactly_one = ("message", "regenerate")

    message = StrictCharField(required=False, help_text="May be empty beside `parts`.")
    parts = ListField(
        required=False,
        help_text="Images: `image_url` or `input_image`, each with a data: or an https: URL.",
    )
    conversation_id = StrictUUIDField(required=False, allow_null=True)
    parent_id = ParentField(
        required=False, help_text="What the message follows, instead of the active branch's end."
    )
    regenerate = StrictUUIDField(
        required=False, help_text="The answer to give again, by any of its messages."
    )
    provider = StrictCharField(required=False, max_length=100)
    model = StrictCharField(required=False, max_length=255)
    user_id = UserIdField(required=False)
    metadata = ObjectField(required=False, help_text="Of the question's message.")
    system = StrictCharField(required=False, help_text="Instead of CHAT_SYSTEM_PROMPT.")
    temperature = StrictNumberField(required=False, min_value=0, max_value=2)
    max_tokens = StrictIntegerField(required=False, min_value=1, max_value=2**31 - 1)
    tools = serializers.ListField(
        child=StrictCharField(),
        required=False,
        help_text="The names of the configured tools that the model may call; [] for none.",
    )
    store = StrictBooleanField(
        required=False, help_text="false: nothing is kept of the turn but what it used."
    )


class AskedByQuerySerializer(AskingSerializer):
    """The same in a query string."""

    question_name = "question"
    question = StrictCharField(required=False)
    session_id = StrictUUIDField(required=False)
    parent_id = ParentField(required=False)
    regenerate = StrictUUIDField(required=False)
    provider = StrictCharField(required=False, max_length=100)
    model = StrictCharField(required=False, max_length=255)
    key = StrictCharField(required=False, allow_blank=False, max_length=255)
