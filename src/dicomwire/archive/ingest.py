"""One instance on its way in: its bytes as they come, handed to the writer once.

A fragment is copied once: into a slot of the memory that the writer shares, or, once the instance is large,
into a block for the thread that writes its own segment. What waits for the disk counts against one budget.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import lru_cache
from typing import Final

from dicomwire.archive.arrival import Offered
from dicomwire.archive.disk import words_for
from dicomwire.archive.slots import Slot
from dicomwire.archive.spool import BLOCK, Spool
from dicomwire.archive.values import Origin, Outcome, Verdict
from dicomwire.archive.writing import Writing
from dicomwire.dicom.encoding import Buffer

_SMALL: Final = BLOCK >> 4  # bytes below which an instance gets no segment of its own, however much waits
_CROWDED: Final = "Too many instances arrive at once"


@lru_cache(maxsize=1024)
def encoded(origin: Origin) -> bytes:
    """An origin as a record keeps it."""
    return json.dumps(asdict(origin), separators=(",", ":")).encode()


class Reception:
    """The data set of one instance; made by `Archive.receive`."""

    __slots__ = (
        "_block",
        "_ended",
        "_failure",
        "_head",
        "_length",
        "_offered",
        "_origin",
        "_pool",
        "_slot",
        "_spool",
        "_writing",
    )

    def __init__(
        self,
        writing: Writing,
        pool: ThreadPoolExecutor,
        offered: Offered,
        origin: Origin,
        *,
        head: bytes = b"",
    ) -> None:
        self._writing = writing
        self._pool = pool
        self._offered = offered
        self._origin = encoded(origin)
        self._head = head
        self._slot: Slot | None = None
        self._length = 0  # bytes in the slot
        self._block = bytearray()  # of a large instance, for its spool
        self._spool: Spool | None = None
        self._failure = writing.disk.room(0)
        self._ended = False

    @property
    def congested(self) -> bool:
        """Whether more waits for the disk than should."""
        return self._writing.budget.exceeded

    async def drain(self) -> None:
        """Wait until there is room."""
        await self._writing.budget.room()

    def write(self, data: Buffer) -> None:
        """Take the next bytes of the data set; they are copied before this returns."""
        if self._ended or self._failure:
            return
        budget, count = self._writing.budget, len(data)
        budget.unfinished += count
        if self._spool is None:
            end = self._length + count
            crowded = budget.unfinished > budget.limit and end >= _SMALL
            if end < self._writing.options.large and not crowded:
                if self._slot is None and (slot := self._writing.slots.take()) is not None:
                    self._slot = slot
                if self._slot is not None:
                    self._slot.view[self._length : end] = data
                    self._length = end
                    return
                budget.unfinished -= count
                self._failure = _CROWDED
                return
            self._block += data
            self._begin_spool()
        else:
            self._block += data
        if self._spool is not None and len(self._block) >= BLOCK:
            self._hand_over()

    def _begin_spool(self) -> None:
        """What has come so far goes to a segment of its own, and so does what follows."""
        try:
            self._spool = Spool(
                self._writing,
                self._pool,
                asyncio.get_running_loop(),
                self._offered,
                self._origin,
                self._head,
            )
        except OSError as error:
            self._failure = words_for(error)
            self._forget()
            return
        if self._slot is not None:
            self._block[:0] = self._slot.view[: self._length]
            self._give_slot()
        self._hand_over()

    def _hand_over(self) -> None:
        assert self._spool is not None
        block, self._block = self._block, bytearray()
        budget = self._writing.budget
        budget.unfinished -= len(block)
        budget.waiting += len(block)
        self._spool.put(block)

    def _forget(self) -> None:
        self._writing.budget.unfinished -= self._length + len(self._block)
        self._block = bytearray()
        self._give_slot()

    def _give_slot(self) -> None:
        if self._slot is not None:
            self._writing.slots.give(self._slot, self._length)
            self._slot, self._length = None, 0

    def abort(self) -> None:
        """The rest will never come: nothing stays."""
        if not self._ended:
            self._ended = True
            self._forget()
            if self._spool is not None:
                self._spool.abort()

    def finish(self, done: Callable[[Outcome], None]) -> None:
        """All has come. `done` is called in the loop's thread, once durable and indexed, or refused."""
        self._ended = True
        if self._spool is not None and not self._failure:
            if self._block:
                self._hand_over()
            self._spool.finish(done)
            return
        if self._failure:
            self._forget()
            outcome = Outcome(Verdict.OUT_OF_RESOURCES, self._failure, self._offered[0], self._offered[1])
            asyncio.get_running_loop().call_soon(done, outcome)
            return
        slot, length, self._slot, self._length = self._slot, self._length, None, 0
        self._writing.budget.unfinished -= length  # whoever keeps the reception does not keep the data
        self._writing.arrived(self._offered, self._head, self._origin, slot, length, done)
