"""The HTTP door: uvicorn's server inside a loop that is not its own, with connections of ours.

The caller owns signals, sockets and the loop. Where httptools has no wheel uvicorn's h11 protocol serves,
which has a limit on the size of a request's head but none on time.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Protocol, cast

import structlog
import uvicorn
from starlette.types import ASGIApp

from dicomwire.web.options import ServerOptions

try:
    from dicomwire.web.connection import Connection
except ImportError:
    HTTPTOOLS = False
else:
    HTTPTOOLS = True

_log = structlog.get_logger()


class _Protocol(Protocol):
    """What our connections and uvicorn's protocols have in common."""

    transport: asyncio.Transport

    def shutdown(self) -> None: ...


class Server:
    """Serves one application on listening sockets.

    Attributes:
        addresses: where it listens, once started: host and port.
    """

    def __init__(self, app: ASGIApp, options: ServerOptions | None = None) -> None:
        self._options = options or ServerOptions()
        self._sockets: Sequence[socket.socket] = ()
        self._server = _Embedded(_config(app, self._options), self._options.grace)
        self._task: asyncio.Task[None] | None = None
        self.addresses: tuple[tuple[str, int], ...] = ()

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Begins to serve on sockets that are bound; they are closed by `stop`."""
        self._sockets = sockets
        self.addresses = tuple(sock.getsockname()[:2] for sock in sockets)
        self._task = asyncio.create_task(self._server.serve(list(sockets)), name="web.server")
        waiter = asyncio.create_task(self._server.ready.wait())
        await asyncio.wait((self._task, waiter), return_when=asyncio.FIRST_COMPLETED)
        waiter.cancel()
        if self._task.done():
            self._task.result()
            raise OSError("the HTTP server did not start")
        _log.info("web.listening", addresses=[f"{host}:{port}" for host, port in self.addresses])

    async def stop(self) -> None:
        """Closes the listeners; requests under way have the time of grace before they are broken off."""
        if self._task is None:
            return
        task, self._task = self._task, None
        self._server.end()
        await task
        _log.info("web.stopped")


def bind(host: str, port: int, *, backlog: int = 1024) -> list[socket.socket]:
    """Listening sockets for every address of a host name; port 0 takes one that is free, for all of them.

    Raises: OSError, when an address cannot be bound.
    """
    sockets: list[socket.socket] = []
    try:
        for family, _, _, _, address in socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            sock = socket.socket(family, socket.SOCK_STREAM)
            sockets.append(sock)
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            chosen = port if sock is sockets[0] else sockets[0].getsockname()[1]
            sock.bind((address[0], chosen, *address[2:]))
            sock.listen(backlog)
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


class _Connections(set[_Protocol]):
    """uvicorn's set of open connections, with somebody waiting for the last one to go."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: asyncio.Event | None = None

    def discard(self, connection: object) -> None:
        super().discard(connection)
        if self._waiting is not None and not self:
            self._waiting.set()

    def remove(self, connection: _Protocol) -> None:
        """As uvicorn's websockets take their leave."""
        self.discard(connection)

    async def none_left(self) -> None:
        if self:
            self._waiting = asyncio.Event()
            await self._waiting.wait()


class _Embedded(uvicorn.Server):
    """uvicorn's server without its signal handlers, and woken to stop instead of looking ten times a
    second."""

    def __init__(self, config: uvicorn.Config, grace: float) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()
        self.connections = _Connections()
        self.server_state.connections = self.connections  # type: ignore[assignment]
        self._grace = grace
        self._ending = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def end(self) -> None:
        self.should_exit = True
        self._ending.set()

    async def main_loop(self) -> None:
        await self.on_tick(0)
        self.ready.set()
        while not self.should_exit:
            try:
                async with asyncio.timeout(1):  # a tick writes the Date header anew
                    await self._ending.wait()
            except TimeoutError:
                await self.on_tick(0)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends in the time of grace: what is answered by then is flushed, the rest broken off."""
        for server in self.servers:
            server.close()
        for sock in sockets or ():
            sock.close()
        for connection in list(self.connections):
            connection.shutdown()
        try:
            async with asyncio.timeout(self._grace):
                await self.connections.none_left()
        except TimeoutError:
            _log.warning("web.broken_off", requests=len(self.server_state.tasks))
            for task in list(self.server_state.tasks):
                task.cancel()
            for connection in list(self.connections):
                connection.transport.abort()
        if self.server_state.tasks:
            await asyncio.wait(list(self.server_state.tasks), timeout=1)


def _config(app: ASGIApp, options: ServerOptions) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        http="httptools" if HTTPTOOLS else "h11",
        ws="websockets-sansio",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=options.connections,
        timeout_keep_alive=max(1, round(options.idle)),
        h11_max_incomplete_event_size=options.head_limit,
    )
    config.load()
    if HTTPTOOLS:
        config.http_protocol_class = cast("type[asyncio.Protocol]", partial(Connection, limits=options))
    config.ssl = options.tls
    return config
