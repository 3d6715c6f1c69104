"""Answers that are sent as they are made: bounded memory, at the client's pace.

The chunks of a body come from an iterator in the loop's thread: ranges of files, slices of mapped ones and
small heads. A client that goes away ends the iteration; the server's transport is the flow control.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import aclosing, closing
from mmap import mmap
from typing import Final, TypeAlias

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from dicomwire.archive.file_range import FileRange

Buffer: TypeAlias = bytes | bytearray | memoryview | mmap
Chunk: TypeAlias = Buffer | FileRange
Chunks: TypeAlias = Generator[Chunk, None, None]

ZERO_COPY_SEND: Final = "http.response.zerocopysend"  # an extension of ASGI
TURN: Final = 1 << 16  # bytes sent before other connections get the loop
_SMALL: Final = 1 << 12  # bytes of a chunk, as the head or tail of a part, that belongs to the turn before


class StreamedResponse(Response):
    """A body from chunks.

    The first chunk is made before the status is sent, so that what fails there still gets its own status.
    """

    def __init__(
        self,
        chunks: Chunks,
        *,
        content_type: str,
        length: int | None = None,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """length: bytes of the whole body, None when they are not known: sent chunked."""
        all_headers = {"content-type": content_type, **(headers or {})}
        if length is not None:
            all_headers["content-length"] = str(length)
        self.status_code = status
        self.background = None
        self.init_headers(all_headers)
        self._chunks = chunks

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        self.raw_headers = raw(headers or {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with closing(self._chunks) as chunks:
            first = next(chunks, None)
            start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            await send(start)
            if scope["method"] == "HEAD" or first is None:
                await send({"type": "http.response.body", "body": b""})
                return
            await _send(first, chunks, scope, receive, send)


class PagedResponse(Response):
    """A body from pages that are read one after the other; it ends where the client goes away."""

    def __init__(
        self, pages: AsyncGenerator[bytes, None], *, content_type: str, headers: Mapping[str, str]
    ) -> None:
        super().__init__(None, 200, {"content-type": content_type, **headers})
        del self.headers["content-length"]
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        gone = asyncio.create_task(disconnected(receive))
        try:
            async with aclosing(self._pages) as pages:
                async for page in pages:
                    if scope["method"] == "HEAD" or gone.done():
                        break
                    await send({"type": "http.response.body", "body": page, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            gone.cancel()


async def _send(first: Chunk, chunks: Chunks, scope: Scope, receive: Receive, send: Send) -> None:
    """Sends chunks until there are no more or nobody takes them; a body within one turn is not watched."""
    chunk: Chunk | None = first
    turn = 0
    gone: asyncio.Task[None] | None = None
    try:
        while chunk is not None:
            following = next(chunks, None)
            await send(message_of(chunk, scope, more=following is not None))
            turn += len(chunk)
            chunk = following
            if turn >= TURN and chunk is not None and len(chunk) > _SMALL:
                turn = 0
                gone = gone or asyncio.create_task(disconnected(receive))
                await asyncio.sleep(0)
                if gone.done():
                    return
    finally:
        if gone is not None:
            gone.cancel()


def message_of(chunk: Chunk, scope: Scope, *, more: bool = True) -> Message:
    """A chunk of a body as ASGI has it: a range of a file stays one where the server takes it.

    more: chunks come behind it.
    Raises: OSError, when the file cannot be read.
    """
    if isinstance(chunk, FileRange):
        if ZERO_COPY_SEND in scope.get("extensions", ()):
            return {
                "type": ZERO_COPY_SEND,
                "file": chunk.file,
                "offset": chunk.offset,
                "count": len(chunk),
                "more_body": more,
            }
        chunk = chunk.read()
    return {"type": "http.response.body", "body": chunk, "more_body": more}


def raw(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Headers as they are sent."""
    return [(name.lower().encode("latin_1"), value.encode("latin_1")) for name, value in headers.items()]


async def disconnected(receive: Receive) -> None:
    """Wait until the client has gone; what is left of its request's body is let pass."""
    while (await receive())["type"] != "http.disconnect":
        pass


def gathered(chunks: Chunks, size: int = 1 << 16) -> Chunks:
    """Small chunks joined to about `size` bytes, the first one sent at once."""
    held: list[Buffer] = []
    length = 0
    for number, chunk in enumerate(chunks):
        held.append(chunk.read() if isinstance(chunk, FileRange) else chunk)
        length += len(chunk)
        if not number or length >= size:
            yield b"".join(held)
            held.clear()
            length = 0
    if held:
        yield b"".join(held)
