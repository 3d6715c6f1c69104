"""One HTTP request and its answer, as an ASGI application sees them (RFC 9112; ASGI 3.0, HTTP).

A body arrives as the pieces that were received, uncopied. An answer's head waits for the body that follows it
in the same turn of the loop, so that head, part heads and data reach the client by one call of the kernel.
"""

from __future__ import annotations

import asyncio
from collections import deque
from http import HTTPStatus
from typing import Final, Protocol

import structlog
from starlette.types import ASGIApp, Message, Scope

from dicomwire.archive.file_range import OpenFile
from dicomwire.web import problems
from dicomwire.web.responses import ZERO_COPY_SEND
from dicomwire.web.zero_copy import ZeroCopy

READ_AHEAD: Final = 640 << 10  # bytes of a body that wait for the application before reading pauses: a CT's
TOGETHER: Final = 1 << 20  # bytes of an answer that are handed to the transport at once

_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
_NO_BODY: Final = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
_SAFE: Final = frozenset({"GET", "HEAD"})  # RFC 9110 9.2.1
_PROCESSING: Final = b"HTTP/1.1 102 Processing\r\n\r\n"
_DISCONNECT: Final[Message] = {"type": "http.disconnect"}
_FAULT: Final = "the node failed to answer this request; its log says why"

_log = structlog.get_logger()


class Carrier(Protocol):
    """What an exchange needs of the connection that it is on.

    Attributes:
        loop: runs it.
        transport: its socket.
        writable: set when the client takes more; None while it does.
        files: sends files over the transport.
    """

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    writable: asyncio.Event | None
    files: ZeroCopy

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """Headers of every answer."""

    def resume_reading(self) -> None:
        """There is room for more of a body."""

    def answered(self) -> None:
        """An answer is complete."""


class Exchange:
    """A request on a connection, until its answer is complete.

    Attributes:
        keep_alive: the connection may be used again afterwards.
        task: runs the application, once it has begun.
        scope: the request, as ASGI describes it.
        whole: all of its body is here.
        disconnected: nobody takes the answer any more.
        started: the application has begun to answer.
        complete: it has ended.
    """

    __slots__ = (
        "_chunked",
        "_chunks",
        "_connection",
        "_continue",
        "_delivered",
        "_flushing",
        "_remaining",
        "_unsent",
        "_unsent_length",
        "_waiting",
        "_woken",
        "complete",
        "disconnected",
        "keep_alive",
        "scope",
        "started",
        "task",
        "whole",
    )

    def __init__(
        self, connection: Carrier, scope: Scope, *, keep_alive: bool, expects_continue: bool
    ) -> None:
        self.scope = scope
        self.keep_alive = keep_alive
        self.task: asyncio.Task[None] | None = None
        self.whole = self.disconnected = self.started = self.complete = False
        self._connection = connection
        self._continue = expects_continue
        self._chunks: deque[bytes] = deque()
        self._waiting = 0  # bytes in them
        self._delivered = False  # the application knows that the body is whole
        self._woken: asyncio.Event | None = None
        self._chunked = False
        self._remaining: int | None = 0  # bytes of the body; None where no length was announced
        self._unsent: list[bytes] = []
        self._unsent_length = 0
        self._flushing = False

    # the connection's side

    def feed(self, data: bytes) -> bool:
        """More of the request's body. Returns: whether more is welcome."""
        self._chunks.append(data)
        self._waiting += len(data)
        self._wake()
        return self._waiting < READ_AHEAD

    def feed_end(self) -> None:
        """The request's body is whole."""
        self.whole = True
        self._wake()

    def disconnect(self) -> None:
        """The client has gone. What only it would have had of it ends."""
        self.disconnected = True
        self._wake()
        if self.task is not None and self.scope["method"] in _SAFE:
            self.task.cancel()

    def ask(self) -> bool:
        """Whether anybody waits still? Who has gone answers an interim answer by a reset (RFC 9110 15.2).

        Returns: whether it may be asked: where no answer has begun.
        """
        if self.started or self.disconnected or self.scope["http_version"] == "1.0":
            return False
        self._connection.transport.write(_PROCESSING)
        return True

    # the application's side

    async def run(self, app: ASGIApp) -> None:
        """Have the application answer. What escapes it is logged, and answered 500 while that is possible."""
        try:
            await app(self.scope, self.receive, self.send)
        except asyncio.CancelledError:
            if not self.disconnected:
                self._connection.transport.abort()
            raise
        except Exception as error:
            _log.error("web.fault", method=self.scope["method"], error=type(error).__name__, exc_info=error)
            await self._answer_fault()
            return
        if not self.complete and not self.disconnected:
            _log.error("web.fault", method=self.scope["method"], error="the answer has no end")
            await self._answer_fault()

    async def receive(self) -> Message:
        """The next piece of the body; `http.disconnect` once there is nothing left to answer."""
        if self._continue and not self.disconnected:
            self._continue = False
            self._connection.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while True:
            if self.disconnected or self.complete:
                return _DISCONNECT
            if self._chunks:
                chunk = self._chunks.popleft()
                self._waiting -= len(chunk)
                if self._waiting < READ_AHEAD:
                    self._connection.resume_reading()
                self._delivered = self.whole and not self._chunks
                return {"type": "http.request", "body": chunk, "more_body": not self._delivered}
            if self.whole and not self._delivered:
                self._delivered = True
                return {"type": "http.request", "body": b"", "more_body": False}
            if self._woken is None:
                self._woken = asyncio.Event()
            await self._woken.wait()
            self._woken.clear()

    async def send(self, message: Message) -> None:
        """Take the start of the answer, or the next piece of its body."""
        connection = self._connection
        if connection.writable is not None:
            await connection.writable.wait()
        if self.disconnected:
            return
        if not self.started:
            self._start(message["status"], message.get("headers", ()))
            return
        if self.complete:
            raise RuntimeError("the answer is complete already")
        more: bool = message.get("more_body", False)
        if message["type"] == ZERO_COPY_SEND:
            await self._send_file(message["file"], message["offset"], message["count"])
        self._add(message.get("body", b""), last=not more)
        if not more:
            if self._remaining:
                raise RuntimeError(f"the answer is {self._remaining} bytes shorter than its Content-Length")
            self._flush()
            self._complete()
        elif self._unsent_length >= TOGETHER:
            self._flush()
        elif not self._flushing:
            self._flushing = True
            connection.loop.call_soon(self._flush)

    def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """The head of the answer; it leaves together with what follows."""
        self.started = True
        self._continue = False
        head = [_STATUS_LINES[status]]
        length: bytes | None = None
        closing = False
        fields = [*self._connection.default_headers, *headers]
        for name, value in fields:
            if name == b"content-length":
                length = value
            elif name == b"connection":
                closing = b"close" in value.lower()
            head += (name, b": ", value, b"\r\n")
        if closing:
            self.keep_alive = False
        elif not self.keep_alive:
            head.append(b"connection: close\r\n")
        if length is not None:
            self._remaining = int(length) if self.scope["method"] != "HEAD" else 0
        elif self.scope["method"] != "HEAD" and status not in _NO_BODY:
            self._remaining = None  # HTTP/1.0 has no chunks: the end of the connection is that of the body
            if self.scope["http_version"] != "1.0":
                self._chunked = True
                head.append(b"transfer-encoding: chunked\r\n")
        head.append(b"\r\n")
        joined = b"".join(head)
        if joined.count(b"\n") != joined.count(b"\r\n") or joined.count(b"\r") != joined.count(b"\r\n"):
            raise RuntimeError("a header of the answer holds a line break")
        self._unsent.append(joined)

    def _add(self, body: bytes, *, last: bool) -> None:
        if self.scope["method"] == "HEAD":
            return
        if body:
            self._count(len(body))
            self._unsent.append(body)
            self._unsent_length += len(body)
            if self._chunked:
                self._unsent.append(b"\r\n")
        if last and self._chunked:
            self._unsent.append(b"0\r\n\r\n")

    def _count(self, length: int) -> None:
        """What comes next is a piece of the body of so many bytes."""
        if self._chunked:
            self._unsent.append(b"%x\r\n" % length)
        elif self._remaining is not None:
            if length > self._remaining:
                raise RuntimeError("the answer is longer than its Content-Length")
            self._remaining -= length

    async def _send_file(self, file: OpenFile, offset: int, count: int) -> None:
        """What waits, and bytes of a file behind it, until the transport has taken on all of them."""
        if self.scope["method"] == "HEAD" or not count:
            return
        connection = self._connection
        self._count(count)
        head, self._unsent, self._unsent_length = self._unsent, [], 0
        while count and not self.disconnected:
            sent = connection.files.send(head, file, offset, count)
            head, offset, count = [], offset + sent, count - sent
            if connection.writable is not None:
                await connection.writable.wait()
        if self._chunked:
            self._unsent.append(b"\r\n")

    def _flush(self) -> None:
        """Hand over what waits."""
        self._flushing = False
        if self._unsent and not self.disconnected:
            unsent, self._unsent, self._unsent_length = self._unsent, [], 0
            self._connection.transport.writelines(unsent)

    def _complete(self) -> None:
        self.complete = True
        self._chunks.clear()  # of a body that was refused
        self._wake()
        if not self.keep_alive:
            self._connection.transport.close()
        self._connection.answered()

    async def _answer_fault(self) -> None:
        if self.started:
            self._connection.transport.close()
            return
        document = problems.body(HTTPStatus.INTERNAL_SERVER_ERROR, _FAULT)
        self._start(
            HTTPStatus.INTERNAL_SERVER_ERROR,
            [
                (b"content-type", problems.MEDIA_TYPE.encode()),
                (b"content-length", b"%d" % len(document)),
                (b"connection", b"close"),
            ],
        )
        await self.send({"type": "http.response.body", "body": document})

    def _wake(self) -> None:
        if self._woken is not None:
            self._woken.set()
