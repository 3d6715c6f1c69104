"""How much may be on its way into an archive, in its loop's thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

_MOST: Final = 1024  # instances that wait for the disk


class Budget:
    """What waits for the disk.

    Attributes:
        limit: bytes from which on no more should come.
        waiting: bytes that are complete, or blocks of large instances.
        unfinished: bytes of instances that are not complete.
    """

    def __init__(self, limit: int, pending: Callable[[], int]) -> None:
        """pending: how many instances wait to be answered."""
        self.limit = limit
        self.waiting = 0
        self.unfinished = 0
        self._pending = pending
        self._room: list[asyncio.Future[None]] = []

    @property
    def instances(self) -> int:
        """How many wait to be answered."""
        return self._pending()

    @property
    def exceeded(self) -> bool:
        return self.waiting > self.limit or self.instances > _MOST

    def release(self, size: int) -> None:
        """Bytes do not wait any more, or instances have been answered."""
        self.waiting -= size
        if self._room and not self.exceeded:
            waiters, self._room = self._room, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    async def room(self) -> None:
        """Wait until more may come."""
        while self.exceeded:
            waiter = asyncio.get_running_loop().create_future()
            self._room.append(waiter)
            await waiter
