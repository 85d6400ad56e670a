"""Example MCP server: a task list with the tools add, list and complete.

    python tasks_mcp_server.py [FILE]                stdio, as CHAT_MCP_SERVERS starts it
    python tasks_mcp_server.py [FILE] --http 9000    HTTP, at http://127.0.0.1:9000/mcp

The tasks are stored in FILE (JSON, one process at a time), or in memory if none is given.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from mcp.server.mcpserver import MCPServer

Task = dict[str, Any]


class Tasks:
    """The task list, saved after each change."""

    def __init__(self, file: Path | None) -> None:
        self.file = file
        there = file is not None and file.exists()
        self.tasks: list[Task] = json.loads(file.read_text()) if file and there else []

    def add(self, title: str) -> Task:
        task = {"task_id": str(len(self.tasks) + 1), "title": title, "done": False}
        self.tasks.append(task)
        self._save()
        return task

    def complete(self, task_id: str) -> Task:
        for task in self.tasks:
            if task["task_id"] == task_id:
                task["done"] = True
                self._save()
                return task
        raise ValueError(f"There is no task {task_id}.")

    def _save(self) -> None:
        if self.file:
            self.file.write_text(json.dumps(self.tasks))


def server_for(tasks: Tasks) -> MCPServer:
    server = MCPServer("tasks", log_level="WARNING")

    @server.tool()
    def add_task(title: str) -> Task:
        """Add a task to the list and return it with its task_id."""
        return tasks.add(title)

    @server.tool()
    def list_tasks() -> list[Task]:
        """Return all tasks, open and done."""
        return tasks.tasks

    @server.tool()
    def complete_task(task_id: str) -> Task:
        """Mark a task as done."""
        return tasks.complete(task_id)

    return server


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--http", type=int, metavar="PORT")
    options = parser.parse_args()
    server = server_for(Tasks(options.file))
    if options.http:
        server.run("streamable-http", host="127.0.0.1", port=options.http)
    else:
        server.run()


if __name__ == "__main__":
    main()
