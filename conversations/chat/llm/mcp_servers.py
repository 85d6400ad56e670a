"""The MCP servers of settings.CHAT_MCP_SERVERS: connected once a process, and again when they died.

A turn runs without the tools of a server that cannot be reached; it does not fail.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

from conversations.chat.llm.agent_loop import library

CONNECT_SECONDS = 10
CALL_SECONDS = 60
CHECK_SECONDS = 5
RETRY_SECONDS = 15

log = logging.getLogger(__name__)


@dataclass
class McpServers:
    """The servers of this process; all methods belong to its event loop."""

    _manager: Any = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _dead: list[Any] = field(default_factory=list)
    _tried_at: float = 0

    async def ready(self) -> list[Any]:
        """The servers that answer now. One that does not is tried again every few seconds."""
        if not settings.CHAT_MCP_SERVERS:
            return []
        async with self._lock:
            await self._connect()
            await asyncio.gather(*map(self._check, self._manager.active_servers))
            await self._reconnect()
            return list(self._manager.active_servers)

    async def tool_names(self) -> list[str]:
        """The names of the tools of the servers that answer now."""
        # Its import takes seconds, in which this loop has other turns to run.
        await asyncio.to_thread(library)
        servers = await self.ready()
        return [tool.name for server in servers for tool in await server.list_tools()]

    async def close(self) -> None:
        if self._manager is not None:
            await self._manager.cleanup_all()
            self._manager = None

    async def _connect(self) -> None:
        if self._manager is not None:
            return
        self._tried_at = time.monotonic()
        servers = [_server(name, given) for name, given in settings.CHAT_MCP_SERVERS.items()]
        manager = library().mcp.MCPServerManager(
            servers, connect_timeout_seconds=CONNECT_SECONDS, connect_in_parallel=True
        )
        await manager.connect_all()
        self._manager = manager
        self._report()

    async def _check(self, server: Any) -> None:
        """Fetch its tools again, which shows whether it answers and what it offers now."""
        try:
            server.invalidate_tools_cache()
            await asyncio.wait_for(server.list_tools(), CHECK_SECONDS)
        except Exception:
            self._tried_at = 0
            self._dead.append(server)

    async def _reconnect(self) -> None:
        dead, self._dead = self._dead, []
        if not dead and not self._manager.failed_servers:
            return
        if time.monotonic() - self._tried_at < RETRY_SECONDS:
            return
        self._tried_at = time.monotonic()
        if dead:
            await self.close()
            await self._connect()
        else:
            await self._manager.reconnect(failed_only=True)
            self._report()

    def _report(self) -> None:
        for server, error in self._manager.errors.items():
            # Its text may hold an address with a password in it.
            log.warning("MCP server %s is unavailable: %s", server.name, type(error).__name__)


def _server(name: str, given: dict[str, Any]) -> Any:
    """`command` and `args` start a process that speaks over its pipes; `url` is one over HTTP."""
    mcp: Any = library().mcp
    options = {
        "name": name,
        "cache_tools_list": True,
        "client_session_timeout_seconds": given.get("timeout", CALL_SECONDS),
    }
    kind = mcp.MCPServerStdio if "command" in given else mcp.MCPServerStreamableHttp
    params = {key: given[key] for key in _PARAMETERS if key in given}
    return kind(params=params, **options)


_PARAMETERS = ("command", "args", "env", "cwd", "url", "headers")
