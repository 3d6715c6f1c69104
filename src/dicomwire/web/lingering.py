"""A connection behind its last answer: what still comes is dropped (RFC 9112 9.6)."""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn.server import ServerState

_LINGER: Final = 2.0  # seconds in which what a refused client still sends is dropped


class Lingering(asyncio.Protocol):
    """A connection on which nothing is wanted any more."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport, state: ServerState
    ) -> None:
        self._transport = transport
        self._state = state
        self._state.connections.add(self)  # type: ignore[arg-type]
        self._end = loop.call_later(_LINGER, transport.abort)

    def shutdown(self) -> None:
        """The server stops."""
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end.cancel()
        self._state.connections.discard(self)
