"""An instance that is complete and waits to be made durable, and what is said of it then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from dicomwire.archive.checksum import crc32
from dicomwire.archive.entry import Entry
from dicomwire.archive.records import CHECKSUM, Kind, Unwritten, record_header
from dicomwire.archive.segments import SegmentWriter, sync_folder, write_all
from dicomwire.archive.values import Outcome, Verdict
from dicomwire.dicom.encoding import Buffer

CONFLICT: Final = "Stored as a conflict: same UID, other content"
REJECTED: Final = "SOP instance is stored with other content"


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

    @property
    def record(self) -> Unwritten:
        """The record as the log takes it."""
        entry = self.entry
        return Unwritten(
            Kind.INSTANCE,
            entry.record_id,
            self.payload,
            entry.length,
            entry.crc,
            entry.data_set_offset,
            self.received,
            self.origin,
        )


def seal(arrival: Arrival, sync: Callable[[SegmentWriter], None]) -> tuple[int, str, int]:
    """Write the header of a large instance's own segment, last of all, and make it durable.

    sync: makes a segment durable. Raises: OSError.
    """
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
    sync(writer)
    write_all(writer.descriptor, [header], entry.offset - len(header))
    sync(writer)
    writer.close()
    sync_folder(writer.path.parent)
    return writer.number, writer.path.name, writer.end


_VERDICTS: Final = {
    (1, False): (Verdict.STORED, ""),
    (1, True): (Verdict.REPLACED, "Replaces what was stored"),
    (0, False): (Verdict.CONFLICT, CONFLICT),
    (0, True): (Verdict.CONFLICT, CONFLICT),
}


def outcome(entry: Entry, verdict: Verdict, comment: str, record_id: int | None = None) -> Outcome:
    """What is answered for an instance."""
    return Outcome(
        verdict,
        comment,
        entry.sop_class_uid,
        entry.sop_instance_uid,
        entry.study_instance_uid,
        entry.series_instance_uid,
        record_id,
    )


def accepted(arrival: Arrival) -> Outcome:
    verdict, comment = _VERDICTS[arrival.current, bool(arrival.replaces)]
    return outcome(arrival.entry, verdict, comment, arrival.entry.record_id)


def refused(arrival: Arrival, why: str) -> Outcome:
    return outcome(arrival.entry, Verdict.OUT_OF_RESOURCES, why)
