"""One instance on its way in: bytes as they come, scanned at the end, handed to the committer once.

A fragment is copied once: into the instance's buffer, or, once the instance is large, into a block for the
thread that writes its own segment. What waits for the disk counts against one budget for the process.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import lru_cache
from typing import Final, TypeAlias

import structlog

from dicomwire.archive.arrival import Arrival
from dicomwire.archive.checksum import crc32
from dicomwire.archive.committer import Committer, words_for
from dicomwire.archive.entry import Entry, Unindexable, entry_of
from dicomwire.archive.records import HEADER_LENGTH, SEGMENT_HEADER
from dicomwire.archive.segments import SegmentWriter, write_all
from dicomwire.archive.values import Origin, Outcome, Verdict
from dicomwire.dicom.encoding import Buffer
from dicomwire.dicom.part10 import PREAMBLE_LENGTH, read_file_meta, write_file_meta
from dicomwire.errors import DataSetError, DicomwireError, Part10Error

log = structlog.get_logger()

_BLOCK: Final = 1 << 20  # bytes handed to the writing thread at a time
_SYNC: Final = 64 << 20  # bytes of a large instance between two fdatasyncs


Offered: TypeAlias = tuple[str, str, str, str | None]
"""What was announced: SOP class, SOP instance, transfer syntax, and the study where it is prescribed."""


class Budget:
    """Bytes that wait for the disk, in the whole process; the loop's thread only."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.waiting = 0
        self.unfinished = 0
        self._room: list[asyncio.Future[None]] = []

    @property
    def exceeded(self) -> bool:
        return self.waiting > self.limit

    def release(self, size: int) -> None:
        self.waiting -= size
        if not self.exceeded:
            waiters, self._room = self._room, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    async def room(self) -> None:
        while self.exceeded:
            waiter = asyncio.get_running_loop().create_future()
            self._room.append(waiter)
            await waiter


@lru_cache(maxsize=1024)
def encoded(origin: Origin) -> bytes:
    """An origin as a record keeps it."""
    return json.dumps(asdict(origin), separators=(",", ":")).encode()


def _meta(offered: Offered, head: bytes) -> bytes:
    """What stands before the data set: what came, if its preamble says something, else our own.

    A preamble that makes the file a TIFF as well counts offsets from the first byte on: it is worth nothing
    unless all that precedes the data set stays as long as it was.
    """
    sop_class, sop_instance, syntax, _ = offered
    if any(head[:PREAMBLE_LENGTH]):
        try:
            meta = read_file_meta(head, complete=True)
        except Part10Error:
            meta = None
        if meta is not None and not meta.findings and meta.length == len(head):
            named = meta.media_storage_sop_class_uid, meta.media_storage_sop_instance_uid
            if (*named, meta.transfer_syntax_uid) == (sop_class, sop_instance, syntax):
                return head
    return write_file_meta(sop_class, sop_instance, syntax)


class Reception:
    """The data set of one instance; made by `Archive.receive`."""

    __slots__ = (
        "_budget",
        "_buffer",
        "_committer",
        "_done",
        "_ended",
        "_failure",
        "_meta",
        "_offered",
        "_origin",
        "_pool",
        "_spool",
    )

    def __init__(
        self,
        committer: Committer,
        budget: Budget,
        pool: ThreadPoolExecutor,
        offered: Offered,
        origin: Origin,
        *,
        head: bytes = b"",
    ) -> None:
        self._committer = committer
        self._budget = budget
        self._pool = pool
        self._offered = offered
        self._origin = encoded(origin)
        self._meta = _meta(offered, head if committer.options.preamble == "keep" else b"")
        self._buffer = bytearray()
        self._spool: Spool | None = None
        self._failure = committer.room(0)
        self._ended = False

    @property
    def congested(self) -> bool:
        """Whether more waits for the disk than should."""
        return self._budget.exceeded

    async def drain(self) -> None:
        """Wait until there is room."""
        await self._budget.room()

    def write(self, data: Buffer) -> None:
        """Take the next bytes of the data set; they are copied before this returns."""
        if self._ended or self._failure:
            return
        self._buffer += data
        self._budget.unfinished += len(data)
        if self._spool is not None:
            if len(self._buffer) >= _BLOCK:
                self._hand_over()
        elif len(self._buffer) >= self._committer.options.large or (
            self._budget.unfinished > self._budget.limit and len(self._buffer) >= _BLOCK >> 4
        ):
            self._begin_spool()

    def _begin_spool(self) -> None:
        loop = self._committer.loop
        assert loop is not None, "the archive is not started"
        writer = None
        try:
            writer = self._committer.new_segment(preallocate=False)
            self._spool = Spool(
                writer, self._origin, self._meta, self._committer, self._budget, self._pool, loop
            )
        except OSError as error:
            if writer is not None:
                writer.discard()
            self._failure = words_for(error)
            self._forget()
            return
        self._hand_over()

    def _hand_over(self) -> None:
        assert self._spool is not None
        block, self._buffer = self._buffer, bytearray()
        self._budget.unfinished -= len(block)
        self._budget.waiting += len(block)
        self._spool.put(block)

    def _forget(self) -> None:
        self._budget.unfinished -= len(self._buffer)
        self._buffer = bytearray()

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
        loop = self._committer.loop
        assert loop is not None, "the archive is not started"
        if self._spool is not None and not self._failure:
            if self._buffer:
                self._hand_over()
            self._spool.finish(self._offered, done)
            return
        if self._failure:
            self._forget()
            loop.call_soon(done, self._refusal(Verdict.OUT_OF_RESOURCES, self._failure))
            return
        data = self._buffer
        entry = read_entry(data, self._offered, self._committer)
        if isinstance(entry, Outcome):
            self._forget()
            loop.call_soon(done, entry)
            return
        meta = self._meta
        entry.length, entry.data_set_offset = len(meta) + len(data), len(meta)
        self._forget()  # whoever keeps the reception does not keep the data
        self._budget.waiting += entry.length
        self._committer.submit(
            Arrival(entry, self._origin, time.time_ns(), done, payload=(meta, data), size=entry.length)
        )

    def _refusal(self, verdict: Verdict, comment: str) -> Outcome:
        return Outcome(verdict, comment, self._offered[0], self._offered[1])


def read_entry(data: Buffer, offered: Offered, committer: Committer) -> Entry | Outcome:
    """Scan a whole data set and hold it against what was announced."""
    sop_class, sop_instance, syntax, study = offered
    try:
        entry = entry_of(data, syntax, committer.options, committer.outlines)
    except (DataSetError, Unindexable) as error:
        return Outcome(Verdict.NOT_UNDERSTOOD, str(error), sop_class, sop_instance)
    except (ValueError, KeyError, DicomwireError) as error:
        log.exception("archive.scan_failed")
        return Outcome(Verdict.NOT_UNDERSTOOD, f"Data set cannot be read: {error}", sop_class, sop_instance)
    comment = ""
    if entry.sop_class_uid != sop_class:
        comment = "SOP Class UID of the data set is not the one announced"
    elif entry.sop_instance_uid != sop_instance:
        comment = "SOP Instance UID of the data set is not the one announced"
    elif study is not None and entry.study_instance_uid != study:
        comment = "Study Instance UID of the data set is not the one of the request"
    if comment:
        uids = entry.study_instance_uid, entry.series_instance_uid
        return Outcome(Verdict.MISMATCH, comment, sop_class, sop_instance, *uids)
    return entry


class Spool:
    """A large instance's own segment, written by one thread at a time as blocks come."""

    def __init__(
        self,
        writer: SegmentWriter,
        origin: bytes,
        meta: bytes,
        committer: Committer,
        budget: Budget,
        pool: ThreadPoolExecutor,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._writer = writer
        self._origin = origin
        self._meta = meta
        self._committer = committer
        self._budget = budget
        self._pool = pool
        self._loop = loop
        self._start = SEGMENT_HEADER.size + HEADER_LENGTH + len(origin)
        self._end = write_all(writer.descriptor, [meta], self._start)
        self._crc = crc32(meta)
        self._unsynced = 0
        self._blocks: deque[bytearray | Callable[[], None]] = deque()
        self._busy = False
        self._lock = threading.Lock()
        self._failure = ""

    def put(self, block: bytearray | Callable[[], None]) -> None:
        with self._lock:
            self._blocks.append(block)
            if self._busy:
                return
            self._busy = True
        self._pool.submit(self._work)

    def abort(self) -> None:
        self.put(self._discard)

    def finish(self, offered: Offered, done: Callable[[Outcome], None]) -> None:
        self.put(lambda: self._complete(offered, done))

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
                self._failure = "Out of disk space" if error.errno in (28, 122) else words_for(error)
                log.error("archive.write_failed", error=str(error))
            del block
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._budget.release, size)

    def _write(self, block: bytearray) -> None:
        if self._failure:
            return
        if self._unsynced == 0 and (refusal := self._committer.room(_SYNC)):
            self._failure = refusal
            return
        self._crc = crc32(block, self._crc)
        self._end = write_all(self._writer.descriptor, [block], self._end)
        self._unsynced += len(block)
        if self._unsynced >= _SYNC:
            self._committer.sync(self._writer)
            os.posix_fadvise(self._writer.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            self._unsynced = 0

    def _discard(self) -> None:
        self._committer.reader.forget(self._writer.number)
        self._writer.discard()

    def _complete(self, offered: Offered, done: Callable[[Outcome], None]) -> None:
        try:
            outcome = self._judge(offered, done)
        except Exception as error:
            log.exception("archive.spool_failed")
            outcome = Outcome(Verdict.OUT_OF_RESOURCES, f"Archive: {error}", offered[0], offered[1])
        if outcome is not None:
            self._discard()
            self._loop.call_soon_threadsafe(done, outcome)

    def _judge(self, offered: Offered, done: Callable[[Outcome], None]) -> Outcome | None:
        """Hand the instance to the committer; or say why not."""
        if self._failure:
            return Outcome(Verdict.OUT_OF_RESOURCES, self._failure, offered[0], offered[1])
        mapping = self._committer.reader.open(self._writer.number, self._end)
        entry = read_entry(mapping.view[self._start + len(self._meta) : self._end], offered, self._committer)
        mapping.was_read(self._end)
        if isinstance(entry, Outcome):
            return entry
        entry.segment, entry.offset = self._writer.number, self._start
        entry.length, entry.data_set_offset = self._end - self._start, len(self._meta)
        entry.crc = self._crc
        self._committer.submit(Arrival(entry, self._origin, time.time_ns(), done, own=self._writer))
        return None
