"""The format of a segment: a header, then batches of records, each batch closed by a trailer.

A record is its header, its origin as JSON, and its payload: of an instance the exact Part 10 file. A batch
counts only with its trailer, so what a crash cut is recognised; headers are seeded with the identity of
their segment, so bytes of another life of the same disk blocks are never taken for records.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
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
_LONGEST_ORIGIN: Final = 4096  # bytes looked through for a header; an origin has some 100
_BLOCK: Final = 1 << 20  # bytes read at a time
RECORD_IDS: Final = Struct("<Q")


class Kind(IntEnum):
    """What a record is."""

    INSTANCE = 1
    TOMBSTONE = 2
    TRAILER = 3


@dataclass(frozen=True, slots=True)
class Record:
    """A record's header. `offset` is where its payload begins in the segment, `end` where the next begins.

    `origin_length` counts the bytes of the origin, which lies right before the payload.
    """

    kind: Kind
    record_id: int
    offset: int
    length: int
    data_set_offset: int
    crc: int
    received: int
    origin_length: int

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


@dataclass(frozen=True, slots=True)
class Unwritten:
    """A record that is to be written: its header's fields, and the payload in pieces."""

    kind: Kind
    record_id: int
    payload: tuple[Buffer, ...]
    length: int
    crc: int
    data_set_offset: int = 0
    received: int = 0
    origin: bytes = b""


def tombstone(record_ids: Sequence[int]) -> Unwritten:
    """The record that buries other records."""
    payload = b"".join(map(RECORD_IDS.pack, record_ids))
    return Unwritten(Kind.TOMBSTONE, 0, (payload,), len(payload), crc32(payload))


def encode_batch(
    identity: int, start: int, records: Sequence[Unwritten]
) -> tuple[list[Buffer], list[int], int]:
    """A batch as it is written at `start`.

    Returns: the bytes in pieces; where each record's payload will lie; where the batch will end.
    """
    buffers: list[Buffer] = []
    offsets: list[int] = []
    position, running = start, 0
    for record in records:
        header = record_header(
            identity,
            record.kind,
            record_id=record.record_id,
            length=record.length,
            data_set_offset=record.data_set_offset,
            crc=record.crc,
            received=record.received,
            origin=record.origin,
        )
        offsets.append(position + len(header))
        position += len(header) + record.length
        running = crc32(CHECKSUM.pack(record.crc), running)
        buffers += (header, *record.payload)
    trailer = record_header(identity, Kind.TRAILER, record_id=len(records), length=0, crc=running)
    buffers.append(trailer)
    return buffers, offsets, position + len(trailer)


def record_ids(data: Buffer, record: Record) -> list[int]:
    """Whom a tombstone buries."""
    whole = range(record.offset, record.end - RECORD_IDS.size + 1, RECORD_IDS.size)
    return [RECORD_IDS.unpack_from(data, at)[0] for at in whole]


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
    return Record(Kind(kind), record_id, offset, length, data_set_offset, crc, received, origin_length)


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch with its trailer: records that are whole, and records whose payload is not what was written."""

    records: tuple[Record, ...]
    rotten: tuple[Record, ...]
    start: int
    end: int


def read_batch(data: Buffer, start: int, identity: int, *, payloads: bool = True) -> Batch | None:
    """The batch that begins at `start`; None when there is none, or its trailer is not there.

    payloads: hold them against their checksums; without, only headers and trailer are read.
    """
    records: list[Record] = []
    rotten: list[Record] = []
    position, running = start, 0
    while (record := read_record(data, position, identity)) is not None:
        position = record.end
        if record.kind is Kind.TRAILER:
            count = len(records) + len(rotten)
            closed = count and record.record_id == count and record.crc == running
            return Batch(tuple(records), tuple(rotten), start, position) if closed else None
        whole = not payloads or _checksum(data, record) == record.crc
        (records if whole else rotten).append(record)
        running = crc32(CHECKSUM.pack(record.crc), running)
    return None


def _checksum(data: Buffer, record: Record) -> int:
    checksum = 0
    with memoryview(data) as view:
        for at in range(record.offset, record.end, _BLOCK):
            checksum = crc32(view[at : min(at + _BLOCK, record.end)], checksum)
    return checksum


def batches(data: Buffer, start: int, identity: int, *, payloads: bool = True) -> Iterator[Batch]:
    """Every batch from `start` on. Bytes that are none are stepped over: the caller sees the gap."""
    position = start
    while position < len(data):
        batch = read_batch(data, position, identity, payloads=payloads)
        if batch is None:
            position = _next_magic(data, position + 1)
            continue
        yield batch
        position = batch.end


def _next_magic(data: Buffer, start: int) -> int:
    for at in range(start, len(data), _BLOCK):
        with memoryview(data) as view:
            found = bytes(view[at : at + _BLOCK + len(RECORD_MAGIC) - 1]).find(RECORD_MAGIC)
        if found >= 0:
            return at + found
    return len(data)


def origin_before(data: Buffer, offset: int, record_id: int) -> dict[str, str] | None:
    """The origin of the record whose payload begins at `offset`; None when it cannot be read."""
    start = max(0, offset - HEADER_LENGTH - _LONGEST_ORIGIN)
    before = bytes(data[start:offset])
    at = before.rfind(RECORD_MAGIC)
    while at >= 0:
        if at + HEADER_LENGTH <= len(before):
            _, _, length, found, *_ = RECORD_HEADER.unpack_from(before, at)
            if found == record_id and at + HEADER_LENGTH + length == len(before):
                return _origin(before[at + HEADER_LENGTH :])
        at = before.rfind(RECORD_MAGIC, 0, at)
    return None


def _origin(content: bytes) -> dict[str, str] | None:
    try:
        told = json.loads(content)
    except ValueError:
        return None
    return {str(name): str(value) for name, value in told.items()} if isinstance(told, dict) else None
