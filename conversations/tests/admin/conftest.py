"""Browsers of staff, and the addresses that they open."""

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from conversations.tests.factories import make_user


def signed_in(user):
    client = Client()
    client.force_login(user)
    return client


def grant(user, *permissions):
    user.user_permissions.add(*Permission.objects.filter(codename__in=permissions))


@pytest.fixture
def browser(staff):
    """Of a member of staff who may view conversations and do nothing else."""
    return signed_in(staff)


@pytest.fixture
def compliance(staff):
    """Of a member of staff who may also delete them."""
    grant(staff, "delete_conversation")
    return signed_in(staff)


@pytest.fixture
def superuser(db):
    return make_user("root", is_staff=True, is_superuser=True)


@pytest.fixture
def root(superuser):
    return signed_in(superuser)


LIST = "/admin/conversations/conversation/"


def transcript_url(conversation):
    return reverse("admin:conversations_conversation_change", args=[conversation.pk])


def delete_url(conversation):
    return reverse("admin:conversations_conversation_delete", args=[conversation.pk])


def text_of(response):
    return response.content.decode()
