"""The committer: makes batches durable with one fdatasync each, then indexes and answers them.

Nothing waits to fill a batch: a batch is what arrived while the one before was being written. The order is
segment, fdatasync, catalogue, answer; so what is answered is durable, found and read back. As the only
writer, its verdicts on duplicates fall against committed rows.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final, TypeAlias, TypeVar

import structlog

from dicomwire.archive.arrival import CONFLICT, REJECTED, Arrival, accepted, outcome, refused, seal
from dicomwire.archive.catalogue import DatabaseError
from dicomwire.archive.catalogue_writer import CatalogueWriter
from dicomwire.archive.checksum import checksum
from dicomwire.archive.comparison import equal
from dicomwire.archive.disk import Disk, words_for
from dicomwire.archive.records import Unwritten, encode_batch, tombstone
from dicomwire.archive.segments import (
    EXTENT,
    NUMBER_STEP,
    SegmentReader,
    SegmentWriter,
    last_written,
    write_all,
)
from dicomwire.archive.values import ArchiveOptions, Outcome, Stored, Verdict
from dicomwire.errors import ArchiveError

log = structlog.get_logger()

CLOSED: Final = "The archive is closed"
FAILED: Final = "The archive failed; its log says why"
_BATCH_BYTES: Final = 32 << 20  # one batch's payload, so that answers do not wait for a whole queue
_BATCH_RECORDS: Final = 256
_MICROSECOND: Final = 1000  # ns; record ids count microseconds

Reply: TypeAlias = Callable[[Sequence[tuple[Arrival, Outcome]]], None]
"""Takes what is said of arrivals."""

_Result = TypeVar("_Result")


Place: TypeAlias = tuple[int, str, int]
"""A segment's number and name, and how far its records are durable."""


@dataclass(slots=True)
class Job:
    """Work that must run in the writer's thread, between batches."""

    run: Callable[[], None]
    finished: threading.Event = field(default_factory=threading.Event)
    error: BaseException | None = None


class Committer:
    """Owns the writing side of an archive; but for `call` and `submit` all of it is the writer's thread."""

    def __init__(
        self,
        folder: Path,
        catalogue: CatalogueWriter,
        reader: SegmentReader,
        options: ArchiveOptions,
        disk: Disk,
        reply: Reply,
        *,
        next_segment: int,
    ) -> None:
        self.folder = folder
        self.catalogue = catalogue
        self.reader = reader
        self.options = options
        self.disk = disk
        self.on_unlinked: Callable[[int], None] = lambda number: None
        self.on_call: Callable[[], None] = lambda: None
        self._reply = reply
        self._waiting: deque[Arrival] = deque()
        self._jobs: SimpleQueue[Job] = SimpleQueue()
        self._unindexed: list[Callable[[], None]] = []
        self._writer: SegmentWriter | None = None
        self._next_segment = next_segment
        self._unprepared = False  # preparing failed, and nothing has come since
        self._entrance = threading.Lock()  # nothing enters the queue behind the end
        self._last_id = max(catalogue.newest(), last_written(folder) // _MICROSECOND)
        self._ended = False

    def call(self, run: Callable[[], _Result]) -> _Result:
        """Run something between two batches and wait for its result; another thread than the writer's.

        Raises: ArchiveError, when closed.
        """
        results: list[_Result] = []
        job = Job(lambda: results.append(run()))
        with self._entrance:
            if self._ended:
                raise ArchiveError(CLOSED)
            self._jobs.put(job)
        self.on_call()
        job.finished.wait()
        if job.error is not None:
            raise job.error
        return results[0]

    def submit(self, arrival: Arrival) -> None:
        """Have an instance made durable, indexed and answered with the next batch; any thread."""
        self._waiting.append(arrival)

    @property
    def full(self) -> bool:
        """Whether a whole batch waits."""
        return len(self._waiting) >= _BATCH_RECORDS

    def work(self) -> bool:
        """Commit one batch of what waits, then do one job. Returns: whether there was anything to do."""
        if batch := self._drain():
            self._attempt(batch)
            self._unprepared = False
        try:
            job = self._jobs.get_nowait()
        except Empty:
            return bool(batch)
        self._perform(job)
        return True

    def close(self) -> None:
        """Commit what was submitted, then end."""
        with self._entrance:
            self._ended = True
        while self.work():
            pass
        self._seal_log()

    @property
    def prepared(self) -> bool:
        """Whether the space that the next instances will go to is prepared, as far as that can be."""
        if self._unprepared or self.disk.room(EXTENT):
            return True
        return self._writer is not None and self._writer.prepared

    def prepare(self) -> None:
        """Prepare some of that space: where nothing comes there is time for it."""
        try:
            self._log().prepare(self.disk.sync)
        except OSError as error:
            log.warning("archive.not_prepared", error=str(error))
            self._unprepared = True

    def _drain(self) -> list[Arrival]:
        """The next batch: instances of distinct UIDs; one whose UID is in it waits for the next."""
        batch: list[Arrival] = []
        uids: set[str] = set()
        held: list[Arrival] = []
        size = 0
        while self._waiting and size < _BATCH_BYTES and len(batch) < _BATCH_RECORDS:
            arrival = self._waiting.popleft()
            if arrival.entry.sop_instance_uid in uids:
                held.append(arrival)
                continue
            uids.add(arrival.entry.sop_instance_uid)
            batch.append(arrival)
            size += arrival.size
        self._waiting.extendleft(reversed(held))
        return batch

    def _perform(self, job: Job) -> None:
        try:
            job.run()
        except BaseException as error:
            job.error = error
        job.finished.set()

    def _attempt(self, batch: Sequence[Arrival]) -> None:
        """Commit a batch; whatever fails, every instance of it gets its answer."""
        try:
            outcomes = self._commit(batch)
        except Exception:
            log.exception("archive.commit_failed", instances=len(batch))
            outcomes = [refused(arrival, FAILED) for arrival in batch]
        self._reply(list(zip(batch, outcomes, strict=True)))

    def _commit(self, batch: Sequence[Arrival]) -> list[Outcome]:
        try:
            self._index_late()
        except DatabaseError as error:
            self._discard(batch)
            return [refused(arrival, f"Catalogue: {error}") for arrival in batch]
        outcomes: dict[int, Outcome] = {}
        keep: list[Arrival] = []
        known = self.catalogue.known([arrival.entry.sop_instance_uid for arrival in batch])
        for position, arrival in enumerate(batch):
            verdict = self._verdict(arrival) if arrival.entry.sop_instance_uid in known else None
            if verdict is None:
                keep.append(arrival)
                continue
            outcomes[position] = verdict
            self._discard((arrival,))
        if keep:
            refusal = self._write(keep)
            for position, arrival in enumerate(batch):
                if position not in outcomes:
                    outcomes[position] = refused(arrival, refusal) if refusal else accepted(arrival)
        return [outcomes[position] for position in range(len(batch))]

    def _verdict(self, arrival: Arrival) -> Outcome | None:
        """What is decided of a known instance without storing anything; None for what is to be stored."""
        entry = arrival.entry
        versions = self.catalogue.versions(entry.sop_instance_uid)
        try:
            for version in versions:
                if self._same(arrival, version):
                    current = version is versions[0]
                    verdict = Verdict.ALREADY_STORED if current else Verdict.CONFLICT
                    return outcome(entry, verdict, "" if current else CONFLICT, version.record_id)
            lost = [version for version in versions if not self._whole(version)]
        except OSError as error:  # such as too many open files: what is stored is not to be judged by that
            log.error("archive.unreadable", error=str(error))
            return refused(arrival, words_for(error))
        if lost:
            log.error("archive.stored_anew", records=[version.record_id for version in lost])
        arrival.replaces = tuple(version.record_id for version in lost)
        if len(lost) == len(versions):
            return None
        if self.options.duplicates == "reject":
            return outcome(entry, Verdict.DUPLICATE_REJECTED, REJECTED)
        if self.options.duplicates == "replace":
            arrival.replaces = tuple(version.record_id for version in versions)
        else:
            arrival.current = 0
        return None

    def _whole(self, version: Stored) -> bool:
        """Whether a stored version still is what was stored; what is not gives way to a new one."""
        try:
            held = self.reader.open(version.segment, version.offset + version.length)
        except FileNotFoundError:
            return False
        return held.checksum(version.offset, version.length) == version.crc

    def _same(self, arrival: Arrival, version: Stored) -> bool:
        try:
            held = self.reader.open(version.segment, version.offset + version.length)
        except FileNotFoundError:
            return False
        stored = held.view[version.offset + version.data_set_offset : version.offset + version.length]
        maps = [held]
        if arrival.own is None:
            offered = memoryview(arrival.payload[-1])
        else:
            own = self.reader.open(arrival.own.number, arrival.entry.offset + arrival.entry.length)
            start = arrival.entry.offset + arrival.entry.data_set_offset
            offered = own.view[start : arrival.entry.offset + arrival.entry.length]
            maps.append(own)

        def was_read(length: int) -> None:
            for each in maps:
                each.was_read(length)

        syntaxes = version.transfer_syntax_uid, arrival.entry.transfer_syntax_uid
        return equal(stored, syntaxes[0], offered, syntaxes[1], was_read=was_read)

    def _write(self, arrivals: Sequence[Arrival]) -> str:
        """Make instances durable and index them; returns why not, or ""."""
        small = [arrival for arrival in arrivals if arrival.own is None]
        if refusal := self.disk.room(sum(arrival.size for arrival in small)):
            self._discard(arrivals)
            return refusal
        for arrival in arrivals:
            self._last_id = max(self._last_id + 1, time.time_ns() // _MICROSECOND)
            arrival.entry.record_id = self._last_id
        for arrival in small:  # here, not in the loop's thread: a checksum lets go of the interpreter
            arrival.entry.crc = checksum(arrival.payload)
        try:
            reached = [seal(arrival, self.disk.sync) for arrival in arrivals if arrival.own is not None]
            if logged := self._logged(small, arrivals):
                place, offsets = self.append(logged)
                reached.append(place)
                for arrival, offset in zip(small, offsets, strict=False):  # a tombstone may follow
                    arrival.entry.segment, arrival.entry.offset = place[0], offset
        except OSError as error:
            log.error("archive.write_failed", error=str(error))
            self._discard(arrivals)
            return words_for(error)

        def index() -> None:
            with self.catalogue.transaction():
                for place in reached:
                    self.catalogue.reached(*place)
                for arrival in arrivals:
                    for record_id in arrival.replaces:
                        self.catalogue.remove(record_id)
                self.catalogue.add((arrival.entry, arrival.current) for arrival in arrivals)

        try:
            self._index(index)
        except DatabaseError as error:
            return f"Catalogue: {error}"
        return ""

    def _index(self, index: Callable[[], None]) -> None:
        """Index what is durable; when that fails, before the next batch. Raises: DatabaseError."""
        try:
            index()
        except DatabaseError as error:
            log.error("archive.catalogue_failed", error=str(error))
            self._unindexed.append(index)
            raise

    @staticmethod
    def _logged(small: Sequence[Arrival], arrivals: Sequence[Arrival]) -> list[Unwritten]:
        """What goes to the log: the instances without a segment of their own, and who is replaced by any."""
        replaced = [record_id for arrival in arrivals for record_id in arrival.replaces]
        return [arrival.record for arrival in small] + ([tombstone(replaced)] if replaced else [])

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

    def _log(self) -> SegmentWriter:
        if self._writer is not None and self._writer.end >= self.options.segment_size:
            self._seal_log()
        if self._writer is None:
            number, self._next_segment = self._next_segment, self._next_segment + NUMBER_STEP
            self._writer = SegmentWriter(self.folder, number, preallocate=True, floor=self.options.free_space)
        return self._writer

    def _seal_log(self) -> None:
        """End the segment that is appended to; what it holds is durable already."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        try:
            writer.close()
        except OSError as error:  # the next start cuts what is reserved behind the end
            log.error("archive.not_sealed", segment=writer.path.name, error=str(error))

    # jobs: they run through call()

    def append(self, records: Sequence[Unwritten]) -> tuple[Place, list[int]]:
        """Append one batch to the log and sync it.

        Returns: where the log's durable end is now, and where each record's payload lies.
        Raises: OSError; the log is as it was then.
        """
        writer = self._log()
        buffers, offsets, end = encode_batch(writer.identity, writer.end, records)
        writer.reserve(end)
        write_all(writer.descriptor, buffers, writer.end)
        self.disk.sync(writer)
        writer.end = end
        return (writer.number, writer.path.name, end), offsets

    def ready(self) -> None:
        """Index what is durable already. Raises: ArchiveError, when nothing can be stored; DatabaseError."""
        if self.disk.broken:
            raise ArchiveError(self.disk.broken)
        self._index_late()

    @contextmanager
    def indexing(self, *, durable: bool = False) -> Iterator[CatalogueWriter]:
        """A transaction of the catalogue, behind all that is durable but not indexed yet.

        Raises: ArchiveError, when nothing can be stored any more; DatabaseError.
        """
        self.ready()
        with self.catalogue.transaction(durable=durable):
            yield self.catalogue

    def remove(self, record_ids: Sequence[int]) -> None:
        """Make a removal durable, then forget the instances. It may use the space that is kept free.

        Raises: ArchiveError, OSError, when nothing is removed; DatabaseError, when it will be found later.
        """
        self.ready()
        place, _ = self.append([tombstone(record_ids)])

        def index() -> None:
            with self.catalogue.transaction():
                self.catalogue.reached(*place)
                for record_id in record_ids:
                    self.catalogue.remove(record_id)

        self._index(index)

    @property
    def writing(self) -> int | None:
        """Number of the segment that is being appended to."""
        return self._writer.number if self._writer is not None else None
