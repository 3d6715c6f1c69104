"""The format of a segment: a header, then batches of records, each batch closed by a trailer.

A record is its header, its origin as JSON, and its payload: of an instance the exact Part 10 file. A batch
counts only with its trailer, so what a crash cut is recognised; headers are seeded with the identity of
their segment, so bytes of another life of the same disk blocks are never taken for records.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import Final

from dicomwire.archive.checksum import crc32
from dicomwire.dicom.encoding import Buffer

SEGMENT_HEADER: Final = Struct("<8sIIQ8x")  # magic, version, identity, created (ns)
SEGMENT_MAGIC: Final = b"DWSEGMNT"
VERSION: Final = 1
RECORD_HEADER: Final = Struct(
    "<4sBxHQQIIQ"
)  # magic, kind, origin length, id, length, data set offset, crc, time
RECORD_MAGIC: Final = b"DWR1"
CHECKSUM: Final = Struct("<I")
HEADER_LENGTH: Final = RECORD_HEADER.size + CHECKSUM.size
RECORD_IDS: Final = Struct("<Q")


class Kind(IntEnum):
    """What a record is."""

    INSTANCE = 1
    TOMBSTONE = 2
    TRAILER = 3


@dataclass(frozen=True, slots=True)
class Record:
    """A record's header. `offset` is where its payload begins in the segment, `end` where the next begins."""

    kind: Kind
    record_id: int
    offset: int
    length: int
    data_set_offset: int
    crc: int
    received: int

    @property
    def end(self) -> int:
        return self.offset + self.length


def segment_header(identity: int, created: int) -> bytes:
    return SEGMENT_HEADER.pack(SEGMENT_MAGIC, VERSION, identity, created)


def identity_of(data: Buffer) -> int | None:
    """The identity that a segment's first bytes tell; None when they are no segment's."""
    if len(data) < SEGMENT_HEADER.size:
        return None
    magic, version, identity, _ = SEGMENT_HEADER.unpack_from(data)
    return identity if magic == SEGMENT_MAGIC and version == VERSION else None


def record_header(
    identity: int,
    kind: Kind,
    *,
    record_id: int,
    length: int,
    data_set_offset: int = 0,
    crc: int = 0,
    received: int = 0,
    origin: bytes = b"",
) -> bytes:
    """Header and origin of a record; of a trailer the id is the count of the batch's records."""
    head = RECORD_HEADER.pack(
        RECORD_MAGIC, kind, len(origin), record_id, length, data_set_offset, crc, received
    )
    return head + CHECKSUM.pack(crc32(origin, crc32(head, identity))) + origin


def read_record(data: Buffer, position: int, identity: int) -> Record | None:
    """The record whose header begins at `position`; None when there is none."""
    if position + HEADER_LENGTH > len(data):
        return None
    magic, kind, origin_length, record_id, length, data_set_offset, crc, received = RECORD_HEADER.unpack_from(
        data, position
    )
    if magic != RECORD_MAGIC or kind not in (1, 2, 3):
        return None
    offset = position + HEADER_LENGTH + origin_length
    if offset + length > len(data):
        return None
    (checksum,) = CHECKSUM.unpack_from(data, position + RECORD_HEADER.size)
    with memoryview(data) as view:
        head = crc32(view[position : position + RECORD_HEADER.size], identity)
        if crc32(view[position + HEADER_LENGTH : offset], head) != checksum:
            return None
    return Record(Kind(kind), record_id, offset, length, data_set_offset, crc, received)


def read_batch(data: Buffer, position: int, identity: int) -> tuple[list[Record], int] | None:
    """The records of the batch that begins at `position`, and where the next begins.

    Returns: None, when there is no whole batch with right checksums.
    """
    records: list[Record] = []
    running = 0
    while (record := read_record(data, position, identity)) is not None:
        position = record.end
        if record.kind is Kind.TRAILER:
            whole = record.record_id == len(records) and record.crc == running
            return (records, position) if whole and records else None
        with memoryview(data) as view:
            if crc32(view[record.offset : record.end]) != record.crc:
                return None
        running = crc32(CHECKSUM.pack(record.crc), running)
        records.append(record)
    return None


def batches(data: Buffer, start: int, identity: int) -> Iterator[tuple[list[Record], int, int]]:
    """Every whole batch from `start` on: its records, where it begins and where it ends.

    Bad bytes before a whole batch are stepped over: the caller sees the gap.
    """
    position = start
    while position < len(data):
        batch = read_batch(data, position, identity)
        if batch is None:
            position = _next_magic(data, position + 1)
            continue
        records, end = batch
        yield records, position, end
        position = end


def _next_magic(data: Buffer, start: int) -> int:
    block = 1 << 20
    for at in range(start, len(data), block):
        with memoryview(data) as view:
            found = bytes(view[at : at + block + len(RECORD_MAGIC) - 1]).find(RECORD_MAGIC)
        if found >= 0:
            return at + found
    return len(data)
