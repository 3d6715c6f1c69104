"""The archive: store, find, open and remove instances; the one core behind both doors.

Once an outcome says STORED the instance survives kill -9 and a power cut, reads back bit for bit, and is
found by a query.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import structlog

from dicomwire.archive.catalogue import Catalogue
from dicomwire.archive.committer import CLOSED
from dicomwire.archive.entry import instance_attributes
from dicomwire.archive.ingest import Reception
from dicomwire.archive.records import origin_before
from dicomwire.archive.search import Searches
from dicomwire.archive.segments import OpenStored, SegmentReader, name_of
from dicomwire.archive.values import ArchiveOptions, Damage, Origin, Outcome, Stats, Stored, Verdict
from dicomwire.archive.writing import Writing
from dicomwire.errors import ArchiveError, InstanceRemoved

__all__ = [
    "Archive",
    "ArchiveOptions",
    "Damage",
    "Origin",
    "Outcome",
    "Reception",
    "Stats",
    "Stored",
    "Verdict",
]

log = structlog.get_logger()

_MOVES: Final = 4  # times that compaction may move an instance between plan and reading
_PLAN_LIMIT: Final = 200_000  # instances of one plan; each takes about 700 bytes
_PAGE: Final = 1000  # rows of one keyset page
_SPOOLERS: Final = 4  # threads that write large instances


class Archive:
    """Instances in a data folder. Opened by one process at a time."""

    def __init__(self, data: Path, lock: int, options: ArchiveOptions, *, rebuild: bool) -> None:
        """lock: of the data folder. Raises: ArchiveError, OSError."""
        self.data = data
        self.options = options
        self._lock = lock
        self._reader = SegmentReader(data / "segments")
        self._writing = Writing(data, options, self._reader, rebuild=rebuild)
        self.damage = self._writing.damage
        self.catalogue = Catalogue(data / "catalogue.sqlite")
        self.catalogue.attributes_of = self._attributes_of
        self.searches = Searches(self.catalogue)
        self._pool = ThreadPoolExecutor(_SPOOLERS, "spool")
        self._closed = False

    @classmethod
    def open(cls, data: Path, options: ArchiveOptions | None = None, *, rebuild: bool = False) -> Archive:
        """Open a data folder, made when missing, and bring its catalogue up to date.

        rebuild: forget the catalogue first and make it again from the segments.
        Raises: ArchiveError, when another process has it open; OSError, when it cannot be written.
        """
        (data / "segments").mkdir(parents=True, exist_ok=True)
        lock = _locked(data)
        try:
            return cls(data, lock, options or ArchiveOptions(), rebuild=rebuild)
        except BaseException:
            os.close(lock)
            raise

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Receive in this loop from now on; called in its thread, or before it runs."""
        self._writing.start(loop)

    def listen(self, stored: Callable[[], None]) -> None:
        """Have something called in the loop behind each batch that has been answered; one listener."""
        self._writing.on_stored = stored

    async def stop(self) -> None:
        """Commit what is complete, answer it, and close."""
        await asyncio.get_running_loop().run_in_executor(None, self.close)

    def close(self) -> None:
        """Commit what is complete and close; blocking."""
        if not self._closed:
            self._closed = True
            self._pool.shutdown()
            self.searches.close()
            self.catalogue.disconnect()
            self._writing.close()
            self._reader.close()
            os.close(self._lock)

    def receive(
        self,
        *,
        sop_class_uid: str,
        sop_instance_uid: str,
        transfer_syntax_uid: str,
        origin: Origin,
        study_instance_uid: str | None = None,
        head: bytes = b"",
    ) -> Reception:
        """Begin to take one instance; the loop's thread only.

        The UIDs are what was announced, and must be the data set's own; the study's only where it is given.
        head: preamble and file meta information of the file that it comes from.
        """
        if self._closed:
            raise ArchiveError(CLOSED)
        study = None if study_instance_uid is None else str(study_instance_uid)
        # plain text: others' classes of UIDs do not travel to the writer
        offered = str(sop_class_uid), str(sop_instance_uid), str(transfer_syntax_uid), study
        kept = head if self.options.preamble == "keep" else b""
        return Reception(self._writing, self._pool, offered, origin, head=kept)

    def plan(
        self,
        *,
        study: str | None = None,
        series: str | None = None,
        instance: str | None = None,
        every_version: bool = False,
    ) -> list[Stored]:
        """The instances of a study, a series or one instance, by series and instance number.

        every_version: conflicting versions too, not only the current ones.
        """
        return self.catalogue.plan(study=study, series=series, instance=instance, every_version=every_version)

    def was_removed(self, study: str, series: str | None = None, instance: str | None = None) -> bool:
        """Whether a study, a series or an instance of which nothing is here was, and is removed."""
        return self.catalogue.was_removed(*(uid for uid in (study, series, instance) if uid is not None))

    def select(
        self,
        *,
        patient_ids: Sequence[str] = (),
        studies: Sequence[str] = (),
        series: Sequence[str] = (),
        instances: Sequence[str] = (),
        issuer_of_patient_id: str = "",
        limit: int = _PLAN_LIMIT,
    ) -> list[Stored]:
        """The current instances that have one of the values of each list that is not empty; any thread.

        Lists of any length; nothing is a wild card.

        Raises: ArchiveError, when there are more than `limit`.
        """
        found = self.catalogue.select(
            limit + 1,
            patient_id=patient_ids,
            study_instance_uid=studies,
            series_instance_uid=series,
            sop_instance_uid=instances,
            issuer_of_patient_id=(issuer_of_patient_id,) if issuer_of_patient_id else (),
        )
        if len(found) > limit:
            raise ArchiveError(f"more than {limit} instances; ask for less at once")
        return found

    def plan_all(self) -> Iterator[Stored]:
        """Every version of every instance, in the order of arrival."""
        after = -1
        while page := self.catalogue.page(after, _PAGE):
            yield from page
            after = page[-1].record_id

    def open_stored(self, stored: Stored) -> OpenStored:
        """The file of an instance, read in place. Raises: ArchiveError, when it was removed or damaged."""
        for _ in range(_MOVES):
            try:
                mapping = self._reader.open(stored.segment, stored.offset + stored.length)
            except OSError as error:  # compaction may have moved it since the plan was made
                found = self.catalogue.stored(stored.record_id)
                if found is None:
                    break
                if found == stored:
                    raise ArchiveError(f"segment {stored.segment}: {error.strerror}") from None
                stored = found
                continue
            if len(mapping) < stored.offset + stored.length:
                raise ArchiveError(f"segment {stored.segment} is cut: {len(mapping)} bytes")
            return OpenStored(mapping, stored.offset, stored.length)
        raise InstanceRemoved

    def origin(self, stored: Stored) -> Origin | None:
        """Where an instance came from, as its record says; None where that cannot be read.

        Raises: ArchiveError, when it was removed or damaged.
        """
        words = ""
        for _ in range(_MOVES):
            found = self.catalogue.stored(stored.record_id)
            if found is None:
                raise InstanceRemoved
            try:
                mapping = self._reader.open(found.segment, found.offset + found.length)
            except OSError as error:  # compaction may have moved it since
                words = f"segment {found.segment}: {error.strerror}"
                continue
            told = origin_before(mapping.view, found.offset, found.record_id)
            return Origin(**told) if told is not None else None
        raise ArchiveError(words)

    def path_of(self, stored: Stored) -> Path:
        """The segment that an instance's bytes are in, which compaction may unlink at any time."""
        return self.data / "segments" / name_of(stored.segment)

    def _attributes_of(self, record_id: int) -> str:
        stored = self.catalogue.stored(record_id)
        try:
            if stored is None:
                return ""
            with self.open_stored(stored) as opened:
                data_set = opened.view[stored.data_set_offset :]
                return instance_attributes(data_set, stored.transfer_syntax_uid, self.options)
        except ArchiveError:
            return ""

    def remove(self, stored: list[Stored]) -> None:
        """Remove instances, durably; blocking. Raises: ArchiveError, OSError."""
        record_ids = [one.record_id for one in stored]
        if record_ids:
            self._writing.call("remove", record_ids)

    def compact(self, least_waste: float = 0.3) -> int:
        """Copy what lives out of segments of which at least this share is dead, and unlink them; blocking.

        Returns: bytes given back to the disk.
        Raises: ArchiveError, when there is no room for the copies, or a backup is being made.
        """
        freed: int = self._writing.call("compact", least_waste)
        return freed

    def stats(self) -> Stats:
        return self.catalogue.stats()


@contextmanager
def locked(data: Path) -> Iterator[None]:
    """No other process opens the archive inside. Raises: ArchiveError, when one has it open."""
    descriptor = _locked(data)
    try:
        yield
    finally:
        os.close(descriptor)


def _locked(data: Path) -> int:
    descriptor = os.open(data / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise ArchiveError(f"{data} is in use by a running node") from None
    return descriptor
