"""Compaction: what lives in a segment is copied to the log, then the segment is unlinked.

A moved record keeps its id, origin and time of reception. Tombstones move too: the record that they bury may
lie in any segment, and would rise with the next rebuild. The order is copy, fdatasync, a commit that is on
the disk, unlink, forget; whatever is cut short is found whole by recovery.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, NamedTuple

import structlog

from dicomwire.archive.committer import Committer
from dicomwire.archive.disk import OUT_OF_SPACE
from dicomwire.archive.records import (
    SEGMENT_HEADER,
    Kind,
    Unwritten,
    batches,
    encode_batch,
    identity_of,
    record_ids,
    tombstone,
)
from dicomwire.archive.segments import Mapping, name_of, sync_folder
from dicomwire.archive.values import Stored
from dicomwire.errors import ArchiveError

log = structlog.get_logger()

_BATCH_BYTES: Final = 8 << 20  # copied with one sync, while arrivals wait
_BATCH_RECORDS: Final = 256
_MICROSECOND: Final = 1000  # ns


class _Segment(NamedTuple):
    """What the catalogue says of a segment: who lives in it, its durable end, and the bytes of the file."""

    living: list[Stored]
    durable: int
    size: int


class _Contents(NamedTuple):
    """A segment's records by the offset of their payload, and whom its tombstones bury."""

    records: dict[int, Unwritten]
    buried: list[int]


def compact(committer: Committer, number: int, least_waste: float) -> int:
    """Compact one segment when at least this share of it is dead; blocking, outside the committer's thread.

    Returns: bytes given back to the disk; 0 when it was left as it is.
    Raises: ArchiveError, when there is no room for the copies; OSError, DatabaseError. Nothing is lost then.
    """
    segment = committer.call(partial(_planned, committer, number, least_waste))
    if segment is None:
        return 0
    source = committer.reader.open(number, segment.durable)
    contents = _contents(source, segment.durable)
    moved = [_record(stored, source, contents) for stored in segment.living]
    needed = _length(moved, contents.buried)
    if needed >= segment.size:
        return 0
    if needed and needed > _free(committer):
        raise ArchiveError(f"{OUT_OF_SPACE}: {needed} bytes to copy")
    for chunk in _chunks(moved):
        committer.call(partial(_move, committer, number, chunk))
        source.was_read(sum(record.length for record in chunk))
    return segment.size - needed if committer.call(partial(_drop, committer, number, contents.buried)) else 0


def _planned(committer: Committer, number: int, least_waste: float) -> _Segment | None:
    """What is to be moved; None when the segment is being written, is gone, or has little waste."""
    path = committer.folder / name_of(number)
    durable = committer.catalogue.segments().get(number)
    if number == committer.writing or durable is None or not path.exists():
        return None
    living = committer.catalogue.in_segment(number)
    size = path.stat().st_size
    wasted = size - sum(stored.length for stored in living)
    return _Segment(living, durable, size) if wasted >= least_waste * size else None


def _contents(source: Mapping, durable: int) -> _Contents:
    """Headers and tombstones of a segment; the payloads stay where they are.

    A map may reach behind the durable end to where the file no longer does.
    """
    found = _Contents({}, [])
    identity = identity_of(source.view[: SEGMENT_HEADER.size])
    if identity is None:
        return found
    for batch in batches(source.view[:durable], SEGMENT_HEADER.size, identity, payloads=False):
        for record in batch.records:
            if record.kind is Kind.TOMBSTONE:
                found.buried.extend(record_ids(source.view, record))
                continue
            origin = bytes(source.view[record.offset - record.origin_length : record.offset])
            found.records[record.offset] = Unwritten(
                record.kind,
                record.record_id,
                (),
                record.length,
                record.crc,
                record.data_set_offset,
                record.received,
                origin,
            )
    return found


def _record(stored: Stored, source: Mapping, contents: _Contents) -> Unwritten:
    """A record as it will be copied; one whose header is damaged keeps what the catalogue knows of it."""
    payload = source.view[stored.offset : stored.offset + stored.length]
    found = contents.records.get(stored.offset)
    if found is not None and found.record_id == stored.record_id:
        return replace(found, payload=(payload,))
    log.error("archive.header_damaged", segment=stored.segment, offset=stored.offset, record=stored.record_id)
    return Unwritten(
        Kind.INSTANCE,
        stored.record_id,
        (payload,),
        stored.length,
        stored.crc,
        stored.data_set_offset,
        stored.record_id * _MICROSECOND,  # ids are made from the time
        b"{}",
    )


def _length(moved: Sequence[Unwritten], buried: Sequence[int]) -> int:
    """Bytes of a segment of nothing but these."""
    records = [*moved, *([tombstone(buried)] if buried else [])]
    return encode_batch(0, SEGMENT_HEADER.size, records)[2] if records else 0


def _free(committer: Committer) -> int:
    """Bytes that compaction may take: also of what is kept free, but not all of it."""
    disk = os.statvfs(committer.folder)
    return disk.f_bavail * disk.f_frsize - committer.options.free_space // 2


def _chunks(moved: Sequence[Unwritten]) -> Iterator[list[Unwritten]]:
    chunk: list[Unwritten] = []
    size = 0
    for record in moved:
        chunk.append(record)
        size += record.length
        if size >= _BATCH_BYTES or len(chunk) == _BATCH_RECORDS:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _move(committer: Committer, number: int, chunk: Sequence[Unwritten]) -> None:
    """Copy records that are still there under their own ids, with one sync."""
    with committer.indexing(durable=True) as catalogue:
        alive = [record for record in chunk if catalogue.segment_of(record.record_id) == number]
        if not alive:
            return
        place, offsets = committer.append(alive)
        catalogue.reached(*place)
        for record, offset in zip(alive, offsets, strict=True):
            catalogue.move(record.record_id, place[0], offset)


def _drop(committer: Committer, number: int, buried: Sequence[int]) -> bool:
    """Unlink a segment that nothing lives in; False when something does.

    The catalogue forgets it last: a segment that is there but not known would be taken for a new one, and
    what was removed from it would be back.
    """
    with committer.indexing(durable=True) as catalogue:
        if catalogue.in_segment(number):
            return False
        if buried:
            place, _ = committer.append([tombstone(buried)])
            catalogue.reached(*place)
    committer.reader.forget(number)
    (committer.folder / name_of(number)).unlink()
    committer.on_unlinked(number)
    sync_folder(committer.folder)
    with committer.indexing() as catalogue:
        catalogue.forget_segment(number)
    return True
