"""What an operator does with an archive: verify, rebuild, compact, migrate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dicomwire.archive.archive import Archive, locked
from dicomwire.archive.catalogue import Catalogue, revision
from dicomwire.archive.catalogue_writer import CatalogueWriter
from dicomwire.archive.records import SEGMENT_HEADER, batches, identity_of
from dicomwire.archive.segments import SegmentReader, name_of
from dicomwire.archive.values import ArchiveOptions, Damage, Stored
from dicomwire.errors import ArchiveError


def verify(data: Path) -> Iterator[Damage]:
    """Read every instance and hold it against its checksum; a node may be running.

    Raises: ArchiveError, when there is no archive.
    """
    path = data / "catalogue.sqlite"
    if not path.exists():
        raise ArchiveError(f"{data} holds no archive")
    CatalogueWriter(path).disconnect()  # which brings an older one up to date
    catalogue = Catalogue(path)
    try:
        yield from _verify(catalogue, SegmentReader(data / "segments"))
    finally:
        catalogue.disconnect()


def _verify(catalogue: Catalogue, reader: SegmentReader) -> Iterator[Damage]:
    """Each payload once, where the catalogue says it is; then the headers between them."""
    after = -1
    while page := catalogue.page(after, 1000):
        for stored in page:
            reason = _damage(reader, stored)
            if reason and (moved := catalogue.stored(stored.record_id)) != stored:
                if moved is None:
                    continue  # removed meanwhile
                stored, reason = moved, _damage(reader, moved)
            if reason:
                yield Damage(name_of(stored.segment), stored.offset, reason, stored.sop_instance_uid)
        after = page[-1].record_id
    for number, durable in catalogue.segments().items():
        found = list(_gaps(reader, number, durable))
        if number in catalogue.segments():  # else it was compacted meanwhile
            yield from found


def _damage(reader: SegmentReader, stored: Stored) -> str:
    try:
        mapping = reader.open(stored.segment, stored.offset + stored.length)
    except OSError as error:
        return str(error.strerror)
    if (missing := stored.offset + stored.length - len(mapping)) > 0:
        return f"the segment ends {missing} bytes early"
    whole = mapping.checksum(stored.offset, stored.length) == stored.crc
    return "" if whole else "the checksum does not match"


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
    for batch in batches(mapping.view[:durable], end, identity, payloads=False):
        if batch.start != end:
            yield Damage(name_of(number), end, f"{batch.start - end} bytes are no record")
        end = batch.end
    if end != durable:
        yield Damage(name_of(number), end, f"{durable - end} bytes are no record")


def migrate(data: Path) -> tuple[str, str]:
    """Bring the catalogue to the newest schema; opening an archive does the same.

    Returns: its revision before and after.
    Raises: ArchiveError, when there is no archive, a node is running, or a newer dicomwire made it.
    """
    path = data / "catalogue.sqlite"
    if not path.exists():
        raise ArchiveError(f"{data} holds no archive")
    with locked(data):
        before = revision(path)
        CatalogueWriter(path).close()
        return before, revision(path)


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
