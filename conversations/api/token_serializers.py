"""The shapes of requests and answers about tokens, and about who calls."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from conversations.api.fields import (
    ObjectField,
    StrictCharField,
    StrictIntegerField,
    StrictSerializer,
    UserIdField,
    UserNameField,
)
from conversations.services.tokens import (
    MAX_DAYS,
    MAX_NAME_CHARS,
    MAX_SECONDS,
    MIN_SECONDS,
)


class TokenSerializer(serializers.Serializer[Any]):
    id = serializers.CharField(help_text="The token's first characters.")
    name = serializers.CharField(help_text="What it was made for; may be empty.")
    trusted = serializers.BooleanField(help_text="Whether it acts for other users.")
    namespace = serializers.CharField(
        allow_null=True, help_text="Whose names it uses: those of this application's users."
    )
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(
        allow_null=True, help_text="To within some minutes; null before its first use."
    )


class TokenListSerializer(serializers.Serializer[Any]):
    tokens = TokenSerializer(many=True)


class NewTokenSerializer(StrictSerializer):
    """Whose a new token is, and how long it is to be good."""

    user_id = UserIdField(
        required=False, help_text="One of a trusted client's users; without it, the caller."
    )
    name = StrictCharField(
        required=False, max_length=MAX_NAME_CHARS, help_text="What it is for, to tell it by."
    )
    expires_in = StrictIntegerField(
        required=False,
        min_value=MIN_SECONDS,
        max_value=MAX_SECONDS,
        help_text="In seconds, for a token that a browser gets; instead of `days`.",
    )
    days = StrictIntegerField(
        required=False,
        min_value=1,
        max_value=MAX_DAYS,
        help_text="How long it is good for; as the server's settings have it where left out.",
    )


class CreatedTokenSerializer(TokenSerializer):
    token = serializers.CharField(help_text="Keep it: it cannot be shown again.")


class LimitsSerializer(serializers.Serializer[Any]):
    max_body_bytes = serializers.IntegerField()
    max_message_chars = serializers.IntegerField(help_text="Of what is sent as `user`.")
    max_metadata_bytes = serializers.IntegerField()
    max_messages_at_once = serializers.IntegerField()
    rates = ObjectField(help_text="Requests by kind, such as `600/min`; empty without limits.")


class MeSerializer(serializers.Serializer[Any]):
    """Who calls."""

    user_id = UserNameField()
    trusted = serializers.BooleanField(help_text="Acts for other users.")
    namespace = serializers.CharField(allow_null=True)
    staff = serializers.BooleanField()
    may_read_any = serializers.BooleanField(help_text="Staff: each look is recorded.")
    may_write_any = serializers.BooleanField(help_text="Staff: each act is recorded.")
    limits = LimitsSerializer()


class TokenRevokedSerializer(serializers.Serializer[Any]):
    status = serializers.CharField(help_text="`revoked`")
    token_id = serializers.CharField()
