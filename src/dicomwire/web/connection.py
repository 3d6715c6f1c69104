"""One HTTP connection: uvicorn's httptools protocol within limits of time and size (RFC 9112, RFC 6585 5).

Added are what it leaves open: the size of a request's head, a head that never ends, a refused body that
never ends, a client that takes nothing of its answer. Unreadable requests are answered as problem details
and logged by peer.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus

import structlog
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from dicomwire.web import problems
from dicomwire.web.options import ServerOptions

_log = structlog.get_logger()

# First bytes of other protocols that end up at an HTTP port
_FOREIGN = {
    b"\x01\x00": "a DICOM association (A-ASSOCIATE-RQ); this port speaks HTTP",
    b"\x16\x03": "a TLS handshake; this port speaks HTTP without TLS",
    b"SSH-": "SSH",
    b"\x0bMSH": "HL7 over MLLP",
    b"PROXY ": "a PROXY protocol header",
    b"\r\n\r\n\x00\r\nQUIT\n": "a PROXY protocol header",
}


class Connection(HttpToolsProtocol):
    """An HTTP/1.1 connection that ends in bounded time, whatever the client does."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, object],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: ServerOptions,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits = limits
        self._refusal: tuple[HTTPStatus, str] | None = None
        self._head_bytes = 0
        self._head_since: float | None = None  # None between requests and within a body
        self._in_body = False
        self._discarding_since: float | None = None
        self._unsent = 0
        self._unsent_since = 0.0
        self._watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_since = self._unsent_since = self.loop.time()
        self._look_later()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        """What comes from now on is no request: nobody watches for the end of one."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        super().handle_websocket_upgrade()

    def data_received(self, data: bytes) -> None:
        if not self._in_body:
            if self._head_bytes == 0 and (foreign := _foreign(data)):
                _log.warning("web.foreign", peer=self._peer, first_bytes=data[:8].hex(), looks_like=foreign)
                self._unset_keepalive_if_required()
                self.transport.abort()
                return
            self._head_bytes += len(data)
        super().data_received(data)
        if self._head_since is not None and self._head_bytes > self._limits.head_limit:
            self._refuse_head()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_since = self.loop.time()

    def on_headers_complete(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self._limits.head_limit:
            self._refusal = self._too_large()
            raise ValueError("request head too large")  # httptools makes a parser error of it
        self._in_body = True
        self._head_since = None
        self._head_bytes = 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_body = False
        super().on_message_complete()

    def eof_received(self) -> None:
        """The client sends no more: a body that is not whole is told so, as far as the client still reads."""
        if self._in_body and not self.transport.is_closing():
            _log.info("web.cut", peer=self._peer)
            self._answer_and_close(HTTPStatus.BAD_REQUEST, "the request's body ends before its length")

    def send_400_response(self, msg: str) -> None:
        """Answers a request that cannot be read; called by uvicorn."""
        refusal = self._refusal or (HTTPStatus.BAD_REQUEST, "the request cannot be read as HTTP/1.1")
        _log.warning("web.unreadable", peer=self._peer, status=int(refusal[0]), detail=refusal[1])
        self._answer_and_close(*refusal)

    def _refuse_head(self) -> None:
        status, detail = self._too_large()
        _log.warning("web.unreadable", peer=self._peer, status=int(status), detail=detail)
        self._answer_and_close(status, detail)

    def _too_large(self) -> tuple[HTTPStatus, str]:
        words = f"request line and headers are longer than {self._limits.head_limit} bytes"
        return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, words

    def _answer_and_close(self, status: HTTPStatus, detail: str) -> None:
        """An answer in place of a request's own; none in the middle of another one's."""
        if self.transport.is_closing():
            return
        cycle = self.cycle
        unanswered = cycle is not None and not cycle.response_started and not self.pipeline
        if cycle is None or cycle.response_complete or unanswered:
            document = problems.body(status, detail)
            head = (
                f"HTTP/1.1 {int(status)} {status.phrase}\r\ncontent-type: {problems.MEDIA_TYPE}\r\n"
                f"content-length: {len(document)}\r\nconnection: close\r\n\r\n"
            )
            self.transport.write(head.encode("ascii") + document)
        if cycle is not None and unanswered:
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.close()

    def _look_later(self) -> None:
        limits = self._limits
        interval = min(limits.head_timeout, limits.write_timeout, limits.linger) / 2
        self._watch = self.loop.call_later(interval, self._look)

    def _look(self) -> None:
        """Ends a connection on which nothing moves that should."""
        now, limits = self.loop.time(), self._limits
        if not self.transport.is_closing():
            if self._head_since is not None and now - self._head_since >= limits.head_timeout:
                self._end_head()
            self._end_discarding(now)
        unsent = self.transport.get_write_buffer_size()
        if not unsent or unsent != self._unsent:
            self._unsent, self._unsent_since = unsent, now
        elif now - self._unsent_since >= limits.write_timeout:
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
        self._answer_and_close(HTTPStatus.REQUEST_TIMEOUT, detail)

    def _end_discarding(self, now: float) -> None:
        """What comes behind a refusal is read, or the client may never see it (RFC 9112 9.6), for a while."""
        if not (self._in_body and self.cycle is not None and self.cycle.response_complete):
            self._discarding_since = None
        elif self._discarding_since is None:
            self._discarding_since = now
        elif now - self._discarding_since >= self._limits.linger:
            _log.info("web.timeout", peer=self._peer, waiting_for="the rest of a refused body")
            self.transport.abort()

    @property
    def _peer(self) -> str:
        return f"{self.client[0]}:{self.client[1]}" if self.client else ""


def _foreign(data: bytes) -> str | None:
    return next((words for first, words in _FOREIGN.items() if data.startswith(first)), None)
