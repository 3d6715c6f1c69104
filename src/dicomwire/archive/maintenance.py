"""What an operator does with an archive: verify, rebuild, compact."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dicomwire.archive.archive import Archive
from dicomwire.archive.catalogue import Catalogue
from dicomwire.archive.checksum import crc32
from dicomwire.archive.records import SEGMENT_HEADER, batches, identity_of
from dicomwire.archive.segments import SegmentReader, name_of
from dicomwire.archive.values import ArchiveOptions, Damage, Stored
from dicomwire.errors import ArchiveError

_BLOCK = 4 << 20  # bytes checked at a time


def verify(data: Path) -> Iterator[Damage]:
    """Read every instance and hold it against its checksum; a node may be running.

    Raises: ArchiveError, when there is no archive.
    """
    path = data / "catalogue.sqlite"
    if not path.exists():
        raise ArchiveError(f"{data} holds no archive")
    catalogue = Catalogue(path)
    reader = SegmentReader(data / "segments")
    after = -1
    while page := catalogue.page(after, 1000):
        for stored in page:
            if reason := _damage(reader, stored):
                yield Damage(name_of(stored.segment), stored.offset, reason, stored.sop_instance_uid)
        after = page[-1].record_id
    for number, durable in catalogue.segments().items():
        yield from _gaps(reader, number, durable)


def _damage(reader: SegmentReader, stored: Stored) -> str:
    try:
        mapping = reader.open(stored.segment, stored.offset + stored.length)
    except OSError as error:
        return str(error.strerror)
    view = mapping.view[stored.offset : stored.offset + stored.length]
    if len(view) != stored.length:
        return f"the segment ends {stored.length - len(view)} bytes early"
    checksum = 0
    for at in range(0, stored.length, _BLOCK):
        checksum = crc32(view[at : at + _BLOCK], checksum)
        mapping.was_read(_BLOCK)
    return "" if checksum == stored.crc else "the checksum does not match"


def _gaps(reader: SegmentReader, number: int, durable: int) -> Iterator[Damage]:
    """Bytes within the durable part of a segment that are no batch."""
    try:
        mapping = reader.open(number, 0)
    except OSError:
        yield Damage(name_of(number), 0, "the segment is gone")
        return
    identity = identity_of(mapping.view[: SEGMENT_HEADER.size])
    if identity is None:
        yield Damage(name_of(number), 0, "no segment header")
        return
    end = SEGMENT_HEADER.size
    for batch in batches(mapping.view[:durable], end, identity):
        if batch.start != end:
            yield Damage(name_of(number), end, f"{batch.start - end} bytes are no record")
        end = batch.end
    if end != durable:
        yield Damage(name_of(number), end, f"{durable - end} bytes are no record")


def rebuild(data: Path, options: ArchiveOptions | None = None) -> tuple[int, tuple[Damage, ...]]:
    """Make the catalogue again from the segments.

    Returns: how many instances and versions it holds, and what could not be read.
    Raises: ArchiveError, when a node is running.
    """
    archive = Archive.open(data, options, rebuild=True)
    stats = archive.stats()
    archive.close()
    return stats.instances + stats.conflicts, archive.damage


def compact(archive: Archive) -> int:
    """Give the space of removed instances back to the disk; returns the bytes freed."""
    return archive.compact()
