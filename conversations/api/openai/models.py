"""GET /v1/models: the models of all providers, as `provider/model`."""

from __future__ import annotations

from typing import Any

from django.http.response import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from conversations.api.openai.views import OpenAIViewSet
from conversations.api.waiting import answer_later
from conversations.chat.llm.models import KnownModel, model_list
from conversations.models import Message
from conversations.services import NotFound

NO_SUCH_MODEL = "There is no model {name}."


class ModelSerializer(serializers.Serializer[Any]):
    id = serializers.CharField(help_text="`provider/model`, as `model` in requests.")
    object = serializers.CharField(help_text="`model`")
    created = serializers.IntegerField()
    owned_by = serializers.CharField(help_text="The provider.")


class ModelListSerializer(serializers.Serializer[Any]):
    object = serializers.CharField(help_text="`list`")
    data = ModelSerializer(many=True)  # type: ignore[assignment]


@extend_schema(tags=["openai"])
class ModelViewSet(OpenAIViewSet):
    queryset = Message.objects.none()

    @extend_schema(
        operation_id="openai_models_list",
        summary="The models of all configured providers",
        responses=ModelListSerializer,
    )
    def list(self, request: Request) -> HttpResponseBase:
        def shown(models: list[KnownModel]) -> Response:
            return Response({"object": "list", "data": [_shown(model) for model in models]})

        known = model_list.known()
        return answer_later(self, model_list.ask, shown) if known is None else shown(known)

    @extend_schema(
        operation_id="openai_models_retrieve",
        summary="One of them",
        responses=ModelSerializer,
    )
    def retrieve(self, request: Request, model_id: str) -> HttpResponseBase:
        def shown(models: list[KnownModel]) -> Response:
            for model in models:
                if model.id == model_id:
                    return Response(_shown(model))
            raise NotFound(NO_SUCH_MODEL.format(name=model_id[:100]), field="model")

        known = model_list.known()
        return answer_later(self, model_list.ask, shown) if known is None else shown(known)


def _shown(model: KnownModel) -> dict[str, Any]:
    return {
        "id": model.id,
        "object": "model",
        "created": model.created,
        "owned_by": model.provider,
    }
