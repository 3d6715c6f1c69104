"""An amount that is shared: taken in the order in which it was asked for, given back when done."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Room:
    """So much of something, in one event loop."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._free = total
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()

    @asynccontextmanager
    async def taken(self, amount: int) -> AsyncIterator[None]:
        """Wait for an amount and hold it; what is more than all there is waits for all of it."""
        amount = min(amount, self.total)
        await self._take(amount)
        try:
            yield
        finally:
            self._give(amount)

    async def _take(self, amount: int) -> None:
        if not self._waiting and amount <= self._free:
            self._free -= amount
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((turn, amount))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give(amount)
            else:
                self._waiting.remove((turn, amount))
                self._give(0)  # who stands behind may fit
            raise

    def _give(self, amount: int) -> None:
        self._free += amount
        while self._waiting and self._waiting[0][1] <= self._free:
            turn, wanted = self._waiting.popleft()
            if not turn.done():
                self._free -= wanted
                turn.set_result(None)
