"""Answers whose parts are made elsewhere, by worker processes: sent as they come, made a little ahead.

The first part is waited for before the status is sent, so that what fails there still gets its own status.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import TypeAlias, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dicomwire.archive.transcoder import Spooled
from dicomwire.web.responses import Chunk, Chunks, disconnected, message_of, raw

AsyncChunks: TypeAlias = AsyncGenerator[Chunk, None]
Value = TypeVar("Value")
Result = TypeVar("Result")


class AwaitedResponse(Response):
    """A body from chunks that are waited for; a client that goes away ends them."""

    def __init__(
        self,
        chunks: AsyncChunks,
        *,
        content_type: str,
        length: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """length: bytes of the whole body, None when they are not known: sent chunked."""
        all_headers = {"content-type": content_type, **(headers or {})}
        if length is not None:
            all_headers["content-length"] = str(length)
        self.status_code = 200
        self.background = None
        self.raw_headers = raw(all_headers)
        self._chunks = chunks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._chunks) as chunks:
            first = await anext(chunks, None)
            start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            await send(start)
            if scope["method"] == "HEAD" or first is None:
                await send({"type": "http.response.body", "body": b""})
                return
            gone = asyncio.create_task(disconnected(receive))
            try:
                await send(message_of(first, scope))
                async for chunk in chunks:
                    await send(message_of(chunk, scope))
                    if gone.done():
                        return
                await send({"type": "http.response.body", "body": b""})
            finally:
                gone.cancel()


def pieces_of(result: bytearray | Spooled) -> Chunks:
    """What a worker made, as chunks of a body."""
    if isinstance(result, Spooled):
        yield from result.slices()
    else:
        yield result


async def ahead(
    work: Callable[[Value], Awaitable[Result]],
    values: Iterable[Value],
    depth: int,
    *,
    discard: Callable[[Result], Awaitable[None]] | None = None,
) -> AsyncGenerator[Result, None]:
    """The results of work on each value, in order, with `depth` of them under way at once.

    discard: takes what was ready when nobody wanted it any more.
    """
    waiting: deque[asyncio.Future[Result]] = deque()
    try:
        for value in values:
            waiting.append(asyncio.ensure_future(work(value)))
            if len(waiting) >= depth:
                yield await waiting.popleft()
        while waiting:
            yield await waiting.popleft()
    finally:
        for task in waiting:
            task.cancel()
        for result in await asyncio.gather(*waiting, return_exceptions=True):
            if discard is not None and not isinstance(result, BaseException):
                await discard(result)
