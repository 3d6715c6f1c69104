"""C-CANCEL while a gateway waits for what is remote (PS3.7 9.3.2.3, 9.3.3.3): the wait ends at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from typing import TypeVar

from dicomwire.association.performer import Request
from dicomwire.errors import DicomwireError

Result = TypeVar("Result")


class Cancelled(DicomwireError):
    """A C-CANCEL has come; what was waited for was given up."""


async def unless_cancelled(request: Request, work: Coroutine[object, object, Result]) -> Result:
    """What work comes to. Raises: Cancelled; what the work raises."""
    task = asyncio.ensure_future(work)
    cancelled = asyncio.ensure_future(request.cancellation())
    try:
        await asyncio.wait((task, cancelled), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise Cancelled("cancelled by the requestor")
    finally:
        cancelled.cancel()
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def until_cancelled(
    request: Request, rows: AsyncGenerator[Result, None]
) -> AsyncGenerator[Result, None]:
    """Rows as they come, and none behind a C-CANCEL."""
    while not request.cancelled:
        try:
            yield await unless_cancelled(request, rows.__anext__())
        except (StopAsyncIteration, Cancelled):
            return
