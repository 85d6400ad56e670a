"""The routes under /v1; a trailing slash is optional everywhere."""

from django.urls import URLPattern, URLResolver

urlpatterns: list[URLPattern | URLResolver] = []
