#!/usr/bin/env python
"""Django's command line for this project."""

import os
import sys

from django.core.management import execute_from_command_line
from django.db import ProgrammingError

from conversations.management.unmigrated import remedy_for_missing_migrations

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatproject.settings")
    try:
        execute_from_command_line(sys.argv)
    except ProgrammingError:  # no such table or column
        # What `migrate` itself fails at is for it to say.
        if sys.argv[1] != "migrate" and (remedy := remedy_for_missing_migrations()):
            sys.exit(remedy)
        raise
