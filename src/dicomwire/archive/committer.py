"""The committer: one thread that makes batches durable with one fdatasync each, then indexes and answers.

Nothing waits to fill a batch: a batch is what arrived while the one before was being written. The order is
segment, fdatasync, catalogue, answer; so what is answered is durable, found and read back. As the only
writer, its verdicts on duplicates fall against committed rows.
"""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue

import structlog

from dicomwire.archive.catalogue import Catalogue, DatabaseError
from dicomwire.archive.checksum import crc32
from dicomwire.archive.comparison import equal
from dicomwire.archive.entry import Entry
from dicomwire.archive.records import CHECKSUM, RECORD_IDS, Kind, record_header
from dicomwire.archive.segments import EXTENT, SegmentReader, SegmentWriter, sync_folder, write_all
from dicomwire.archive.values import ArchiveOptions, Outcome, Stored, Verdict
from dicomwire.dicom.encoding import EXPLICIT_LITTLE, Buffer
from dicomwire.dicom.scan import Scan
from dicomwire.errors import ArchiveError

log = structlog.get_logger()

OUT_OF_SPACE = "Out of disk space"
_BATCH_BYTES = 32 << 20  # one batch's payload, so that answers do not wait for a whole queue
_BATCH_RECORDS = 256
_FRESH = 0.1  # seconds that the free space of the disk is taken as known
_IDLE = 0.02  # seconds without an arrival before space is prepared


@dataclass(slots=True)
class Arrival:
    """An instance that is complete and waits to be made durable.

    Attributes:
        payload: the Part 10 file in pieces; empty when `own` holds it already.
        own: the segment of its own that a large instance came into.
        replaces: record ids that this one supersedes.
    """

    entry: Entry
    origin: bytes
    received: int
    done: Callable[[Outcome], None]
    payload: tuple[Buffer, ...] = ()
    own: SegmentWriter | None = None
    size: int = 0
    current: int = 1
    replaces: tuple[int, ...] = field(default=())


@dataclass(slots=True)
class Job:
    """Work that must run in the committer's thread, between batches."""

    run: Callable[[], object]
    finished: threading.Event = field(default_factory=threading.Event)
    result: object = None
    error: BaseException | None = None


class Committer:
    """Owns the writing side of an archive."""

    def __init__(
        self,
        folder: Path,
        catalogue: Catalogue,
        reader: SegmentReader,
        options: ArchiveOptions,
        *,
        next_segment: int,
    ) -> None:
        self.folder = folder
        self.catalogue = catalogue
        self.reader = reader
        self.options = options
        self.loop: asyncio.AbstractEventLoop | None = None
        self.on_released: Callable[[int], None] = lambda _: None
        self._queue: SimpleQueue[Arrival | Job | None] = SimpleQueue()
        self._held: list[Arrival] = []
        self._unindexed: list[Callable[[], None]] = []
        self._writer: SegmentWriter | None = None
        self._next_segment = next_segment
        self._numbers = threading.Lock()
        self._last_id = catalogue.newest()
        self._broken = ""
        self._asked = -_FRESH
        self._free = 0
        self._thread = threading.Thread(target=self._run, name="committer", daemon=True)
        self._thread.start()

    # any thread

    def submit(self, arrival: Arrival) -> None:
        self._queue.put(arrival)

    def call(self, run: Callable[[], object]) -> object:
        """Run something between two batches and wait for its result."""
        job = Job(run)
        self._queue.put(job)
        job.finished.wait()
        if job.error is not None:
            raise job.error
        return job.result

    def new_segment(self, *, preallocate: bool = True) -> SegmentWriter:
        """A new segment file, durable by name."""
        with self._numbers:
            number = self._next_segment
            self._next_segment += 1
        return SegmentWriter(self.folder, number, preallocate=preallocate)

    def room(self, size: int) -> str:
        """Why there is no room for `size` bytes more; "" when there is.

        The disk is asked a few times a second only; what comes between is far below the floor.
        """
        if self._broken:
            return self._broken
        now = time.monotonic()
        if now - self._asked > _FRESH or self._free - size < self.options.free_space:
            try:
                disk = os.statvfs(self.folder)
            except OSError as error:
                return words_for(error)
            self._asked, self._free = now, disk.f_bavail * disk.f_frsize
        return "" if self._free - size >= self.options.free_space else OUT_OF_SPACE

    def close(self) -> None:
        """Commit what was submitted, then end."""
        self._queue.put(None)
        self._thread.join()

    # the committer's thread

    def _run(self) -> None:
        ending = False
        while not ending:
            batch, job, ending = self._drain()
            if batch:
                self._attempt(batch)
            if job is not None:
                self._perform(job)
        while self._held:
            batch, self._held = self._held, []
            self._attempt(batch)
        if self._writer is not None:
            self._writer.close()

    def _drain(self) -> tuple[list[Arrival], Job | None, bool]:
        """What waits: instances of distinct UIDs, up to a job or the end."""
        batch: list[Arrival] = []
        uids: set[str] = set()
        size = 0
        again, self._held = self._held, []
        while size < _BATCH_BYTES and len(batch) < _BATCH_RECORDS:
            if again:
                item: Arrival | Job | None = again.pop(0)
            else:
                try:
                    item = self._queue.get_nowait() if batch or self._held else self._next()
                except Empty:
                    break
            if not isinstance(item, Arrival):
                return batch, item, item is None
            if item.entry.sop_instance_uid in uids:
                self._held.append(item)
                continue
            uids.add(item.entry.sop_instance_uid)
            batch.append(item)
            size += item.size
        self._held.extend(again)
        return batch, None, False

    def _next(self) -> Arrival | Job | None:
        """Wait for what comes next; until it does, prepare the space that it will go to."""
        while not self._broken and (self._writer is None or not self._writer.prepared):
            try:
                return self._queue.get(timeout=_IDLE)
            except Empty:
                pass
            try:
                if self.room(EXTENT):
                    break
                self._log().prepare()
            except OSError as error:
                log.warning("archive.not_prepared", error=str(error))
                break
        return self._queue.get()

    def _perform(self, job: Job) -> None:
        try:
            job.result = job.run()
        except BaseException as error:
            job.error = error
        job.finished.set()

    def _attempt(self, batch: Sequence[Arrival]) -> None:
        """Commit a batch; whatever fails, every instance of it gets its answer."""
        try:
            outcomes = self._commit(batch)
        except Exception:
            log.exception("archive.commit_failed", instances=len(batch))
            outcomes = [_refused(arrival, "The archive failed; its log says why") for arrival in batch]
        released = sum(arrival.size for arrival in batch)
        loop = self.loop
        if loop is None or loop.is_closed():
            return
        answers = [(arrival.done, outcome) for arrival, outcome in zip(batch, outcomes, strict=True)]
        try:
            loop.call_soon_threadsafe(self._answer, answers, released)
        except RuntimeError:  # the loop closed in between: nobody is left to be told
            log.warning("archive.unanswered", instances=len(batch))

    def _answer(self, answers: list[tuple[Callable[[Outcome], None], Outcome]], released: int) -> None:
        for done, outcome in answers:
            try:
                done(outcome)
            except Exception:
                log.exception("archive.answer_failed")
        self.on_released(released)

    def _commit(self, batch: Sequence[Arrival]) -> list[Outcome]:
        self._index_late()
        outcomes: dict[int, Outcome] = {}
        keep: list[Arrival] = []
        for position, arrival in enumerate(batch):
            verdict = self._verdict(arrival)
            if verdict is None:
                keep.append(arrival)
                continue
            outcomes[position] = verdict
            self._discard((arrival,))
        if keep:
            refusal = self._write(keep)
            for position, arrival in enumerate(batch):
                if position not in outcomes:
                    outcomes[position] = _refused(arrival, refusal) if refusal else _accepted(arrival)
        return [outcomes[position] for position in range(len(batch))]

    def _verdict(self, arrival: Arrival) -> Outcome | None:
        """What is decided without storing anything; None for what is to be stored."""
        entry = arrival.entry
        if not self.catalogue.known(entry.sop_instance_uid):
            return None
        versions = self.catalogue.versions(entry.sop_instance_uid)
        for version in versions:
            if self._same(arrival, version):
                current = version is versions[0]
                verdict = Verdict.ALREADY_STORED if current else Verdict.CONFLICT
                return _outcome(entry, verdict, "" if current else _CONFLICT, version.record_id)
        if self.options.duplicates == "reject":
            return _outcome(
                entry, Verdict.DUPLICATE_REJECTED, "SOP instance is stored with other content", None
            )
        if self.options.duplicates == "replace":
            arrival.replaces = tuple(version.record_id for version in versions)
        else:
            arrival.current = 0
        return None

    def _same(self, arrival: Arrival, version: Stored) -> bool:
        held = self.reader.open(version.segment, version.offset + version.length)
        stored = held.view[version.offset + version.data_set_offset : version.offset + version.length]
        try:
            if arrival.own is None:
                offered = memoryview(arrival.payload[-1])
            else:
                own = self.reader.open(arrival.own.number, arrival.entry.offset + arrival.entry.length)
                start = arrival.entry.offset + arrival.entry.data_set_offset
                offered = own.view[start : arrival.entry.offset + arrival.entry.length]
            return equal(stored, version.transfer_syntax_uid, offered, arrival.entry.transfer_syntax_uid)
        finally:
            held.was_read(version.length)

    def _write(self, arrivals: Sequence[Arrival]) -> str:
        """Make instances durable and index them; returns why not, or ""."""
        small = [arrival for arrival in arrivals if arrival.own is None]
        if refusal := self.room(sum(arrival.size for arrival in small)):
            self._discard(arrivals)
            return refusal
        for arrival in arrivals:
            self._last_id = max(self._last_id + 1, time.time_ns() // 1000)
            arrival.entry.record_id = self._last_id
        try:
            reached = [seal(arrival) for arrival in arrivals if arrival.own is not None]
            tombs = [record_id for arrival in arrivals for record_id in arrival.replaces]
            if small or tombs:
                reached.append(self._append(small, tombs))
        except OSError as error:
            log.error("archive.write_failed", error=str(error))
            self._discard(arrivals)
            return words_for(error)

        def index() -> None:
            with self.catalogue.transaction():
                for segment, name, end in reached:
                    self.catalogue.reached(segment, name, end)
                for arrival in arrivals:
                    for record_id in arrival.replaces:
                        self.catalogue.remove(record_id)
                self.catalogue.add((arrival.entry, arrival.current) for arrival in arrivals)

        try:
            index()
        except DatabaseError as error:
            log.error("archive.catalogue_failed", error=str(error), instances=len(arrivals))
            self._unindexed.append(index)
            return f"Catalogue: {error}"
        return ""

    def _index_late(self) -> None:
        """Index what is durable but could not be indexed when it came."""
        while self._unindexed:
            self._unindexed[0]()
            del self._unindexed[0]

    def _discard(self, arrivals: Sequence[Arrival]) -> None:
        for arrival in arrivals:
            if arrival.own is not None:
                self.reader.forget(arrival.own.number)
                arrival.own.discard()

    def _append(self, arrivals: Sequence[Arrival], tombs: Sequence[int]) -> tuple[int, str, int]:
        """Append one batch to the log and sync it; returns where the segment's durable end is now."""
        writer = self._log()
        buffers: list[Buffer] = []
        position, running = writer.end, 0
        for arrival in arrivals:
            entry = arrival.entry
            header = record_header(
                writer.identity,
                Kind.INSTANCE,
                record_id=entry.record_id,
                length=entry.length,
                data_set_offset=entry.data_set_offset,
                crc=entry.crc,
                received=arrival.received,
                origin=arrival.origin,
            )
            entry.segment, entry.offset = writer.number, position + len(header)
            position = entry.offset + entry.length
            running = crc32(CHECKSUM.pack(entry.crc), running)
            buffers += (header, *arrival.payload)
        count = len(arrivals)
        if tombs:
            payload = b"".join(RECORD_IDS.pack(record_id) for record_id in tombs)
            crc = crc32(payload)
            running = crc32(CHECKSUM.pack(crc), running)
            header = record_header(writer.identity, Kind.TOMBSTONE, record_id=0, length=len(payload), crc=crc)
            buffers += (header, payload)
            count += 1
        buffers.append(record_header(writer.identity, Kind.TRAILER, record_id=count, length=0, crc=running))
        end = writer.end + sum(map(len, buffers))
        writer.reserve(end)
        write_all(writer.descriptor, buffers, writer.end)
        self._sync(writer)
        writer.end = end
        return writer.number, writer.path.name, end

    def _log(self) -> SegmentWriter:
        if self._writer is not None and self._writer.end >= self.options.segment_size:
            self._writer.close()
            self._writer = None
        if self._writer is None:
            self._writer = self.new_segment()
        return self._writer

    def _sync(self, writer: SegmentWriter) -> None:
        """Raises: OSError; nothing more is stored after it, for the kernel may have dropped what it lost."""
        try:
            writer.sync()
        except OSError as error:
            self._broken = f"Disk failed to sync: {error.strerror}; restart after repair"
            log.critical("archive.sync_failed", segment=writer.path.name, error=str(error))
            raise

    # jobs: they run in the committer's thread, through call()

    def remove(self, record_ids: Sequence[int]) -> None:
        """Make a removal durable, then forget the instances. Raises: ArchiveError."""
        if refusal := self.room(0):
            raise ArchiveError(refusal)
        segment, name, end = self._append((), record_ids)
        with self.catalogue.transaction():
            self.catalogue.reached(segment, name, end)
            for record_id in record_ids:
                self.catalogue.remove(record_id)

    def rewrite(self, stored: Sequence[Stored], segment: int) -> None:
        """Copy records to the log under their own ids, then unlink the segment that held them."""
        source = self.reader.open(segment, 0)
        for record in stored:
            payload = source.view[record.offset : record.offset + record.length]
            moved = Moved(record, payload)
            number, name, end = self._append((moved.arrival,), ())
            with self.catalogue.transaction():
                self.catalogue.reached(number, name, end)
                self.catalogue.move(record.record_id, number, moved.arrival.entry.offset)
            source.was_read(record.length)
        with self.catalogue.transaction():
            self.catalogue.forget_segment(segment)
        self.reader.forget(segment)

    @property
    def writing(self) -> int | None:
        """Number of the segment that is being appended to."""
        return self._writer.number if self._writer is not None else None


class Moved:
    """A record on its way to another segment."""

    def __init__(self, stored: Stored, payload: memoryview) -> None:
        entry = Entry(
            stored.sop_class_uid,
            stored.sop_instance_uid,
            stored.transfer_syntax_uid,
            stored.study_instance_uid,
            stored.series_instance_uid,
            Scan(EXPLICIT_LITTLE),
            record_id=stored.record_id,
            length=stored.length,
            data_set_offset=stored.data_set_offset,
            crc=stored.crc,
        )
        self.arrival = Arrival(entry, b"{}", time.time_ns(), _nobody, payload=(payload,), size=stored.length)


def _nobody(_: Outcome) -> None:
    return None


def words_for(error: OSError) -> str:
    """Why nothing could be written, for the one who sent it."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OUT_OF_SPACE
    return f"Archive: {error.strerror}"


def seal(arrival: Arrival) -> tuple[int, str, int]:
    """Write the header of a large instance's own segment, last of all, and make it durable."""
    writer, entry = arrival.own, arrival.entry
    assert writer is not None
    header = record_header(
        writer.identity,
        Kind.INSTANCE,
        record_id=entry.record_id,
        length=entry.length,
        data_set_offset=entry.data_set_offset,
        crc=entry.crc,
        received=arrival.received,
        origin=arrival.origin,
    )
    running = crc32(CHECKSUM.pack(entry.crc), 0)
    trailer = record_header(writer.identity, Kind.TRAILER, record_id=1, length=0, crc=running)
    writer.end = write_all(writer.descriptor, [trailer], entry.offset + entry.length)
    writer.sync()
    write_all(writer.descriptor, [header], entry.offset - len(header))
    os.fsync(writer.descriptor)
    writer.close()
    sync_folder(writer.path.parent)
    return writer.number, writer.path.name, writer.end


_REJECTED = "SOP instance is stored with other content"
_CONFLICT = "Stored as a conflict: same UID, other content"
_VERDICTS = {
    (1, False): (Verdict.STORED, ""),
    (1, True): (Verdict.REPLACED, "Replaces what was stored"),
    (0, False): (Verdict.CONFLICT, _CONFLICT),
}


def _outcome(entry: Entry, verdict: Verdict, comment: str, record_id: int | None) -> Outcome:
    return Outcome(
        verdict,
        comment,
        entry.sop_class_uid,
        entry.sop_instance_uid,
        entry.study_instance_uid,
        entry.series_instance_uid,
        record_id,
    )


def _accepted(arrival: Arrival) -> Outcome:
    verdict, comment = _VERDICTS[arrival.current, bool(arrival.replaces)]
    return _outcome(arrival.entry, verdict, comment, arrival.entry.record_id)


def _refused(arrival: Arrival, why: str) -> Outcome:
    return _outcome(arrival.entry, Verdict.OUT_OF_RESOURCES, why, None)
