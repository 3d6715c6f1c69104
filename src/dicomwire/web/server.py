"""The HTTP door: uvicorn inside a loop that is not its own.

The caller owns signals, sockets and the loop. Where httptools has no wheel uvicorn's h11 protocol serves,
which has a limit on the size of a request's head but none on time.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import cast

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


class Server:
    """Serves one application on listening sockets.

    Attributes:
        addresses: where it listens, once started: host and port.
    """

    def __init__(self, app: ASGIApp, options: ServerOptions | None = None) -> None:
        self._options = options or ServerOptions()
        self._sockets: Sequence[socket.socket] = ()
        self._server = _Embedded(_config(app, self._options))
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
        """Closes the listeners, lets requests under way finish for the time of grace, then breaks them
        off."""
        if self._task is None:
            return
        task, self._task = self._task, None
        self._server.end()
        await task
        for connection in list(self._server.server_state.connections):
            if (transport := connection.transport) is not None:
                transport.abort()
        _log.info("web.stopped")


def bind(host: str, port: int, *, backlog: int = 1024) -> list[socket.socket]:
    """Listening sockets for every address that a host name stands for; port 0 takes a free one for all of
    them.

    Raises: OSError, when an address cannot be bound.
    """
    sockets: list[socket.socket] = []
    try:
        for family, _, _, _, address in socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            sock = socket.socket(family, socket.SOCK_STREAM)
            sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            bound = (
                address[0],
                port or sockets[0].getsockname()[1] if len(sockets) > 1 else port,
                *address[2:],
            )
            sock.bind(bound)
            sock.listen(backlog)
            sock.setblocking(False)
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


class _Embedded(uvicorn.Server):
    """uvicorn's server without its signal handlers, and woken to stop instead of looking ten times a
    second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()
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


def _config(app: ASGIApp, options: ServerOptions) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        http="httptools" if HTTPTOOLS else "h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=options.connections,
        timeout_keep_alive=max(1, round(options.idle)),
        timeout_graceful_shutdown=max(1, round(options.grace)),
        h11_max_incomplete_event_size=options.head_limit,
    )
    config.load()
    if HTTPTOOLS:
        config.http_protocol_class = cast("type[asyncio.Protocol]", partial(Connection, limits=options))
    config.ssl = options.tls
    return config
