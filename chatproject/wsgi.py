"""The WSGI application."""

import os
from importlib import import_module

from django.core.wsgi import get_wsgi_application

from chatproject.database_limits import limit_web_process
from chatproject.production import refuse_unsafe_settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatproject.settings")

refuse_unsafe_settings()
limit_web_process()
application = get_wsgi_application()

# These import models, so only after get_wsgi_application().
import_module("conversations.tracing").start()
import_module("conversations.chat.runtime.reaper").start_reaping()
import_module("conversations.chat.runtime.import_process").start_importing()
