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

# These import models, so only after django.setup().
application = import_module("conversations.server.application").Application()
import_module("conversations.chat.runtime.reaper").start_reaping()
import_module("conversations.chat.runtime.import_process").start_importing()
