"""A large instance on its way in: written to a segment of its own, as its blocks come."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import structlog

from dicomwire.archive.arrival import Offered, preface
from dicomwire.archive.checksum import crc32
from dicomwire.archive.dialogue import Own
from dicomwire.archive.disk import words_for
from dicomwire.archive.records import HEADER_LENGTH, SEGMENT_HEADER
from dicomwire.archive.segments import write_all
from dicomwire.archive.values import Outcome, Verdict
from dicomwire.archive.writing import Writing

log = structlog.get_logger()

BLOCK: Final = 1 << 20  # bytes handed to the writing thread at a time
_SYNC: Final = 64 << 20  # bytes of a large instance between two fdatasyncs


class Spool:
    """A large instance's own segment, written by one thread at a time as blocks come."""

    def __init__(
        self,
        writing: Writing,
        pool: ThreadPoolExecutor,
        loop: asyncio.AbstractEventLoop,
        offered: Offered,
        origin: bytes,
        head: bytes,
    ) -> None:
        """Raises: OSError, when the segment cannot be made."""
        self._writing = writing
        self._pool = pool
        self._loop = loop
        self._offered = offered
        self._origin = origin
        meta = preface(offered, head)
        self._meta_length = len(meta)
        self._writer = writing.new_segment()
        self._start = SEGMENT_HEADER.size + HEADER_LENGTH + len(origin)
        try:
            self._end = write_all(self._writer.descriptor, [meta], self._start)
        except OSError:
            writing.discard(self._writer)
            raise
        self._crc = crc32(meta)
        self._unsynced = 0
        self._blocks: deque[bytearray | Callable[[], None]] = deque()
        self._busy = False
        self._lock = threading.Lock()
        self._failure = ""

    def put(self, block: bytearray | Callable[[], None]) -> None:
        """More of the instance, or what is to be done behind what has come."""
        with self._lock:
            self._blocks.append(block)
            if self._busy:
                return
            self._busy = True
        self._pool.submit(self._work)

    def abort(self) -> None:
        """The rest will never come."""
        self.put(lambda: self._writing.discard(self._writer))

    def finish(self, done: Callable[[Outcome], None]) -> None:
        """All has come. `done` is called in the loop's thread."""
        self.put(lambda: self._complete(done))

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._blocks:
                    self._busy = False
                    return
                block = self._blocks.popleft()
            if not isinstance(block, bytearray):
                block()
                continue
            size = len(block)
            try:
                self._write(block)
            except OSError as error:
                self._failure = words_for(error)
                log.error("archive.write_failed", error=str(error))
            del block
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._writing.budget.release, size)

    def _write(self, block: bytearray) -> None:
        if self._failure:
            return
        if self._unsynced == 0 and (refusal := self._writing.disk.room(_SYNC)):
            self._failure = refusal
            return
        self._crc = crc32(block, self._crc)
        self._end = write_all(self._writer.descriptor, [block], self._end)
        self._unsynced += len(block)
        if self._unsynced >= _SYNC:
            self._writing.disk.sync(self._writer)
            os.posix_fadvise(self._writer.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            self._unsynced = 0

    def _complete(self, done: Callable[[Outcome], None]) -> None:
        """Hand the instance over; or say why not."""
        if self._failure:
            self._writing.discard(self._writer)
            outcome = Outcome(Verdict.OUT_OF_RESOURCES, self._failure, self._offered[0], self._offered[1])
            self._loop.call_soon_threadsafe(done, outcome)
            return
        self._writer.leave()
        own = Own(self._writer.number, self._writer.identity, self._start, self._end, self._crc)
        self._writing.arrived_in(own, self._offered, self._meta_length, self._origin, done)
