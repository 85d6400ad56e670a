"""Tools that the tests put into settings.CHAT_TOOLS."""

import threading

from django.db import connection


def add_task(title: str, priority: int = 1) -> dict:
    """Put a task on the list."""
    return {"task_id": f"t-{title}", "title": title, "priority": priority}


async def weather(city: str) -> str:
    """How the weather is."""
    return f"Sunny in {city}."


def fails(why: str) -> str:
    """Always fails."""
    raise RuntimeError(f"sk-secret {why}")


def asks_the_database():
    """How many conversations there are."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM conversations_conversation")
        return cursor.fetchone()[0]


# Tests hold the tool `waits` here until they let it go on.
gate = threading.Event()


def waits() -> str:
    """Answers once the test says so."""
    gate.wait(10)
    return "waited"
