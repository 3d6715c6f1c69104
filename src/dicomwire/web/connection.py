"""One HTTP/1.1 connection within limits of time and size (RFC 9112, RFC 6585 5).

httptools reads requests, `exchange` answers them, one after the other. Bounded are the size of a request's
head, the time for it, a refused body that never ends, a client that takes nothing of its answer. Unreadable
requests are answered as problem details and logged by peer. Websockets are handed to uvicorn's protocol.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from contextlib import suppress
from http import HTTPStatus
from typing import Final

import httptools
import structlog
from starlette.types import Scope
from uvicorn.config import Config
from uvicorn.server import ServerState

from dicomwire.web import problems
from dicomwire.web.exchange import Exchange
from dicomwire.web.foreign import foreign_protocol
from dicomwire.web.lingering import Lingering
from dicomwire.web.options import ServerOptions
from dicomwire.web.progress import Progress
from dicomwire.web.request_head import RequestHead, too_large
from dicomwire.web.responses import ZERO_COPY_SEND
from dicomwire.web.zero_copy import WRITE_HIGH, ZeroCopy

_ASKED_AFTER: Final = 0.5  # seconds that a client that sends no more waits for its answer undisturbed
_QUICKACK: Final = getattr(socket, "TCP_QUICKACK", None)  # Linux has it

_EXTENSIONS: Final[dict[str, dict[object, object]]] = {ZERO_COPY_SEND: {}}

_log = structlog.get_logger()


class Connection(asyncio.Protocol):
    """An HTTP/1.1 connection that ends in bounded time, whatever the client does.

    Attributes:
        loop: runs it.
        transport: its socket.
        writable: set when the client takes more; None while it does.
        files: sends files over the transport.
    """

    transport: asyncio.Transport
    files: ZeroCopy

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, object],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: ServerOptions,
    ) -> None:
        self.loop = _loop or asyncio.get_running_loop()
        self.writable: asyncio.Event | None = None
        self._config = config
        self._app = config.loaded_app
        self._app_state = app_state
        self._state = server_state
        self._limits = limits
        self._parser = _parser(self)
        self._exchange: Exchange | None = None
        self._waiting: deque[Exchange] = deque()  # requests that came before the one ahead was answered
        self._client: tuple[str, int] | None = None
        self._server: tuple[str, int] | None = None
        self._scheme = "http"
        self._head = RequestHead()
        self._body_left = 0  # bytes of it to come; 0 where no length was announced
        self._upgrades = False
        self._refusal: tuple[HTTPStatus, str] | None = None
        self._head_bytes = 0
        self._head_since: float | None = None  # None between requests and within a body
        self._idle_since: float | None = None
        self._in_body = False
        self._reading = True
        self._discarding_since: float | None = None
        self._watch: asyncio.TimerHandle | None = None

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """Headers of every answer: the date."""
        return self._state.default_headers

    # the transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        transport.set_write_buffer_limits(WRITE_HIGH, 0)
        self.files = ZeroCopy(transport)
        self._socket: socket.socket = transport.get_extra_info("socket")
        self._state.connections.add(self)  # type: ignore[arg-type]
        self._client = _address(transport.get_extra_info("peername"))
        self._server = _address(transport.get_extra_info("sockname"))
        self._scheme = "https" if transport.get_extra_info("sslcontext") else "http"
        self._head_since = self.loop.time()
        self._progress = Progress(transport, self.files, self._head_since)
        self._look_later()

    def connection_lost(self, exc: Exception | None) -> None:
        self.files.close()
        self._state.connections.discard(self)
        self._look_no_more()
        for exchange in (self._exchange, *self._waiting):
            if exchange is not None and not exchange.complete:
                exchange.disconnect()
        self.resume_writing()

    def pause_writing(self) -> None:
        self.writable = self.writable or asyncio.Event()

    def resume_writing(self) -> None:
        if self.writable is not None:
            self.writable.set()
            self.writable = None

    def resume_reading(self) -> None:
        """There is room for more of a body."""
        if not self._reading and not self._waiting:
            self._reading = True
            self.transport.resume_reading()

    def _pause_reading(self) -> None:
        if self._reading:
            self._reading = False
            self.transport.pause_reading()

    def shutdown(self) -> None:
        """Take no more requests; called by the server that stops."""
        if self._exchange is None or self._exchange.complete:
            self.transport.close()
        else:
            self._exchange.keep_alive = False

    def data_received(self, data: bytes) -> None:
        if self._body_left:
            self._take_body(data)
            return
        if not self._in_body:
            if self._head_bytes == 0 and (foreign := foreign_protocol(data)):
                _log.warning("web.foreign", peer=self._peer, first_bytes=data[:8].hex(), looks_like=foreign)
                self.transport.abort()
                return
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._upgrades:
                self._hand_over()
            else:  # such as HTTP/2, which curl asks for: this protocol goes on (RFC 9110 7.8)
                self._parser = _parser(self)
                if rest := data[upgrade.args[0] :]:
                    self.data_received(rest)
            return
        except httptools.HttpParserError:
            refusal = self._refusal or (HTTPStatus.BAD_REQUEST, "the request cannot be read as HTTP/1.1")
            self._refuse(*refusal)
            return
        if self._head_since is not None and self._head_bytes > self._limits.head_limit:
            self._refuse(*too_large(self._limits.head_limit))
        elif self._in_body or self._head_bytes:
            self._acknowledge()

    def _acknowledge(self) -> None:
        """What has come, at once: a client with Nagle's algorithm may wait for that (RFC 9293 3.7.4)."""
        if _QUICKACK is not None:
            with suppress(OSError):  # it has gone
                self._socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)

    def _take_body(self, data: bytes) -> None:
        """What comes of a body of known length goes on as it came; the parser would copy it."""
        body = data if len(data) <= self._body_left else data[: self._body_left]
        self.on_body(body)
        if not self._body_left:
            self._parser = _parser(self)  # the one before still waits for the body
            self.on_message_complete()
            if len(body) < len(data):
                self.data_received(data[len(body) :])
        else:
            self._acknowledge()

    def eof_received(self) -> bool:
        """The client sends no more: what it has asked for is answered, a body that is not whole is refused.

        Returns: whether the connection stays for answers; in TLS it never does.
        """
        if self.transport.is_closing():
            return False
        if self._in_body:
            _log.info("web.cut", peer=self._peer)
            self._answer_last(HTTPStatus.BAD_REQUEST, "the request's body ends before its length")
            return False
        last = self._waiting[-1] if self._waiting else self._exchange
        if last is None or last.complete or self._scheme == "https":
            return False
        last.keep_alive = False
        self.loop.call_later(_ASKED_AFTER, self._ask)
        return True

    def _ask(self) -> None:
        """A client that has gone looks like one that only sends no more, until it is written to."""
        exchange = self._exchange
        if not self.transport.is_closing() and exchange is not None and exchange.ask():
            self.loop.call_later(_ASKED_AFTER, self._ask)

    # the parser

    def on_message_begin(self) -> None:
        self._head = RequestHead()
        self._head_since = self.loop.time()
        self._idle_since = None

    def on_url(self, url: bytes) -> None:
        self._head.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head.add(name, value)

    def on_headers_complete(self) -> None:
        version = self._parser.get_http_version()
        self._refusal = self._head.refusal(version, self._limits.head_limit)
        if self._refusal is not None:
            raise ValueError(self._refusal[1])  # httptools makes a parser error of it
        self._in_body = True
        self._head_since = None
        self._head_bytes = 0
        ahead = self._exchange is not None and not self._exchange.complete
        # A websocket takes the whole connection: what comes while an answer is due stays a request
        self._upgrades = (
            self._parser.should_upgrade()
            and not ahead
            and self._config.ws_protocol_class is not None
            and self._head.asks_for_websocket
        )
        if self._upgrades:
            return
        self._body_left = self._head.length
        exchange = Exchange(
            self,
            self._scope(),
            keep_alive=self._parser.should_keep_alive() and version != "1.0",
            expects_continue=self._head.expects_continue,
        )
        if ahead:
            self._waiting.append(exchange)
            self._pause_reading()
        else:
            self._begin(exchange)

    def on_body(self, body: bytes) -> None:
        if self._body_left:
            self._body_left -= len(body)
        exchange = self._waiting[-1] if self._waiting else self._exchange
        if not self._upgrades and exchange is not None and not exchange.complete and not exchange.feed(body):
            self._pause_reading()

    def on_message_complete(self) -> None:
        self._in_body = False
        exchange = self._waiting[-1] if self._waiting else self._exchange
        if not self._upgrades and exchange is not None:
            exchange.feed_end()

    # requests and answers

    def _scope(self) -> Scope:
        """The request as ASGI describes it."""
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": self._parser.get_http_version(),
            "method": self._parser.get_method().decode("ascii"),
            "scheme": self._scheme,
            "root_path": "",
            "server": self._server,
            "client": self._client,
            "state": self._app_state.copy(),
            "extensions": _EXTENSIONS,
            **self._head.scope(),
        }

    def _begin(self, exchange: Exchange) -> None:
        self._exchange = exchange
        if len(self._state.connections) > self._limits.connections:
            words = f"more than {self._limits.connections} connections are open; try again"
            _log.warning("web.full", peer=self._peer, connections=self._limits.connections)
            self._answer_last(HTTPStatus.SERVICE_UNAVAILABLE, words, "retry-after: 5\r\n")
            self.transport.close()
            return
        task = exchange.task = self.loop.create_task(exchange.run(self._app))
        self._state.tasks.add(task)
        task.add_done_callback(self._state.tasks.discard)

    def answered(self) -> None:
        """An answer is complete: the request behind it has its turn."""
        self._state.total_requests += 1
        if self.transport.is_closing():
            return
        if self._waiting:
            following = self._waiting.popleft()
            self._begin(following)
        else:
            self._idle_since = self.loop.time()
        self.resume_reading()

    def _hand_over(self) -> None:
        """To a websocket. What comes from now on is no request: nobody watches for the end of one."""
        self.files.close()
        self._look_no_more()
        self._state.connections.discard(self)
        assert self._config.ws_protocol_class is not None
        protocol = self._config.ws_protocol_class(  # type: ignore[call-arg]
            config=self._config, server_state=self._state, app_state=self._app_state
        )
        protocol.connection_made(self.transport)
        protocol.data_received(self._head.encode(self._parser.get_method()))
        self.transport.set_protocol(protocol)

    # refusals

    def _refuse(self, status: HTTPStatus, detail: str) -> None:
        _log.warning("web.unreadable", peer=self._peer, status=int(status), detail=detail)
        self._answer_last(status, detail)
        self._linger()

    def _linger(self) -> None:
        """Drop what still comes, or the client may never see its answer (RFC 9112 9.6), for a while."""
        if self._scheme == "https" or self.transport.is_closing():
            self.transport.close()
            return
        self.transport.set_protocol(Lingering(self.loop, self.transport, self._state))
        self.transport.write_eof()
        if not self._reading:
            self.transport.resume_reading()
        self.connection_lost(None)

    def _answer_last(self, status: HTTPStatus, detail: str, header: str = "") -> None:
        """An answer in place of a request's own; none in the middle of another one's."""
        if self.transport.is_closing():
            return
        exchange = self._exchange
        unanswered = exchange is not None and not exchange.started and not self._waiting
        if exchange is None or exchange.complete or unanswered:
            document = problems.body(status, detail)
            head = (
                f"HTTP/1.1 {int(status)} {status.phrase}\r\ncontent-type: {problems.MEDIA_TYPE}\r\n"
                f"content-length: {len(document)}\r\n{header}connection: close\r\n\r\n"
            )
            self.transport.write(head.encode("ascii") + document)
        if exchange is not None and unanswered:
            exchange.disconnect()

    # time

    def _look_later(self) -> None:
        limits = self._limits
        interval = min(limits.head_timeout, limits.write_timeout, limits.linger, limits.idle) / 2
        self._watch = self.loop.call_later(interval, self._look)

    def _look_no_more(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _look(self) -> None:
        """Ends a connection on which nothing moves that should."""
        now, limits = self.loop.time(), self._limits
        if not self.transport.is_closing():
            if self._head_since is not None and now - self._head_since >= limits.head_timeout:
                self._end_head()
            elif self._idle_since is not None and now - self._idle_since >= limits.idle:
                self.transport.close()
            self._end_discarding(now)
        if self._progress.stalled(now) >= limits.write_timeout:
            unsent = self.transport.get_write_buffer_size()
            _log.info("web.timeout", peer=self._peer, waiting_for="the client to read", unsent=unsent)
            self.transport.abort()
            return
        self._look_later()

    def _end_head(self) -> None:
        self._head_since = None
        if self._head_bytes == 0:
            self.transport.close()
            return
        detail = f"the request's head did not come within {self._limits.head_timeout:g} s"
        _log.info("web.timeout", peer=self._peer, waiting_for="the rest of a request's head")
        self._answer_last(HTTPStatus.REQUEST_TIMEOUT, detail)
        self.transport.close()

    def _end_discarding(self, now: float) -> None:
        """What comes behind a refusal is read, or the client may never see it (RFC 9112 9.6), for a while."""
        if not (self._in_body and self._exchange is not None and self._exchange.complete):
            self._discarding_since = None
        elif self._discarding_since is None:
            self._discarding_since = now
        elif now - self._discarding_since >= self._limits.linger:
            _log.info("web.timeout", peer=self._peer, waiting_for="the rest of a refused body")
            self.transport.abort()

    @property
    def _peer(self) -> str:
        return f"{self._client[0]}:{self._client[1]}" if self._client else ""


def _parser(connection: Connection) -> httptools.HttpRequestParser:
    parser = httptools.HttpRequestParser(connection)
    # A request behind one with "Connection: close" is let pass unread instead of refused
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser


def _address(name: object) -> tuple[str, int] | None:
    """Host and port of a socket's name; None for what has none."""
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) else None
