"""The ASGI application, which `quickstart` serves."""

import os
from importlib import import_module

import django

from chatproject.database_limits import limit_web_process
from chatproject.production import refuse_unsafe_settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatproject.settings")

refuse_unsafe_settings()
limit_web_process()
django.setup()

# These import models, so only after django.setup(). With the views, which the first request would
# load: what cannot be loaded fails here.
application = import_module("conversations.server.application").Application()
import_module("chatproject.urls")
