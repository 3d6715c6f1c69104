"""An instance that is complete and waits to be made durable, and what is said of it then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import structlog

from dicomwire.archive.checksum import crc32
from dicomwire.archive.entry import Entry, Unindexable, entry_of
from dicomwire.archive.records import CHECKSUM, Kind, Unwritten, record_header
from dicomwire.archive.segments import SegmentWriter, sync_folder, write_all
from dicomwire.archive.values import ArchiveOptions, Outcome, Verdict
from dicomwire.dicom.encoding import Buffer
from dicomwire.dicom.outline import Outlines
from dicomwire.dicom.part10 import PREAMBLE_LENGTH, read_file_meta, write_file_meta
from dicomwire.errors import DataSetError, DicomwireError, Part10Error

log = structlog.get_logger()

CONFLICT: Final = "Stored as a conflict: same UID, other content"
REJECTED: Final = "SOP instance is stored with other content"

Offered: TypeAlias = tuple[str, str, str, str | None]
"""What was announced: SOP class, SOP instance, transfer syntax, and the study where it is prescribed."""


@dataclass(slots=True)
class Arrival:
    """An instance that is complete and waits to be made durable.

    Attributes:
        ticket: by which it is answered.
        payload: the Part 10 file in pieces; empty when `own` holds it already.
        own: the segment of its own that a large instance came into.
        replaces: record ids that this one supersedes.
    """

    ticket: int
    entry: Entry
    origin: bytes
    received: int
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


def preface(offered: Offered, head: bytes) -> bytes:
    """What stands before the data set: `head`, what came, if its preamble says something, else our own.

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


def judged(data: Buffer, offered: Offered, options: ArchiveOptions, outlines: Outlines) -> Entry | Outcome:
    """Scan a whole data set and hold it against what was announced."""
    sop_class, sop_instance, syntax, study = offered
    try:
        entry = entry_of(data, syntax, options, outlines)
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
