"""Brings catalogue and segments together: after a crash, and from nothing.

Recovery and rebuild are one function with another starting point: every whole batch behind the durable end
that the catalogue records is indexed as if it had just arrived.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import structlog

from dicomwire.archive.catalogue import Catalogue
from dicomwire.archive.entry import Entry, Unindexable, entry_of
from dicomwire.archive.records import RECORD_IDS, SEGMENT_HEADER, Kind, Record, batches, identity_of
from dicomwire.archive.segments import Mapping, name_of, numbers_in, sync_folder
from dicomwire.archive.values import ArchiveOptions, Damage
from dicomwire.dicom.part10 import read_file_meta
from dicomwire.errors import DicomwireError

log = structlog.get_logger()


def recover(folder: Path, catalogue: Catalogue, options: ArchiveOptions) -> tuple[int, list[Damage]]:
    """Index what the catalogue does not know yet, cut torn tails.

    Returns: how many instances were indexed, and the damage found on the way.
    """
    known = catalogue.segments()
    indexed, damage, buried = 0, [], set[int]()
    for number in numbers_in(folder):
        path = folder / name_of(number)
        durable = known.get(number, SEGMENT_HEADER.size)
        if path.stat().st_size == durable and number in known:
            continue
        count, found, dead = _recover_segment(path, number, durable, catalogue, options)
        indexed += count
        damage += found
        buried |= dead
    for number in known.keys() - set(numbers_in(folder)):
        damage.append(Damage(name_of(number), 0, "the segment is gone"))
    if buried:
        with catalogue.transaction():
            for record_id in buried:
                catalogue.remove(record_id)
    return indexed, damage


def _recover_segment(
    path: Path, number: int, durable: int, catalogue: Catalogue, options: ArchiveOptions
) -> tuple[int, list[Damage], set[int]]:
    """One segment's batches from `durable` on; a tail without any goes back to the disk."""
    if path.stat().st_size == 0:
        path.unlink()
        return 0, [], set()
    with path.open("rb+") as file:
        os.fsync(file.fileno())  # what the page cache shows need not be on disk
    mapping = Mapping(path)
    identity = identity_of(mapping.view[: SEGMENT_HEADER.size])
    if identity is None:
        if any(mapping.view[: SEGMENT_HEADER.size]):
            return 0, [Damage(path.name, 0, "no segment header")], set()
        path.unlink()
        return 0, [], set()
    indexed, damage, buried, end = 0, [], set[int](), durable
    for records, start, behind in batches(mapping.view, durable, identity):
        if start != end:
            damage.append(Damage(path.name, end, f"{start - end} bytes are no record"))
        entries, dead = [], set[int]()
        for record in records:
            if record.kind is Kind.TOMBSTONE:
                dead |= set(_record_ids(mapping, record))
                continue
            try:
                entries.append(read_entry(mapping, number, record, options))
            except (DicomwireError, ValueError) as error:
                damage.append(Damage(path.name, record.offset, str(error)))
        with catalogue.transaction():
            for entry in entries:
                if catalogue.stored(entry.record_id) is None:
                    catalogue.add([(entry, 0 if catalogue.known(entry.sop_instance_uid) else 1)])
            for record_id in dead:
                catalogue.remove(record_id)
            catalogue.reached(number, path.name, behind)
        buried |= dead
        indexed += len(entries)
        end = behind
    mapping.was_read(len(mapping))
    size = len(mapping)
    del mapping
    if end == SEGMENT_HEADER.size:
        path.unlink()
        sync_folder(path.parent)
    elif end < size:
        log.info("archive.tail_cut", segment=path.name, bytes=size - end)
        with path.open("rb+") as file:
            file.truncate(end)
            os.fsync(file.fileno())
    return indexed, damage, buried


def read_entry(mapping: Mapping, number: int, record: Record, options: ArchiveOptions) -> Entry:
    """The catalogue's entry of a record. Raises: Part10Error, DataSetError, Unindexable."""
    file = mapping.view[record.offset : record.end]
    meta = read_file_meta(file[: record.data_set_offset], complete=True)
    if meta is None:
        raise Unindexable("file meta information is cut")
    entry = entry_of(file[record.data_set_offset :], meta.transfer_syntax_uid, options)
    entry.record_id, entry.segment, entry.offset = record.record_id, number, record.offset
    entry.length, entry.data_set_offset, entry.crc = record.length, record.data_set_offset, record.crc
    return entry


def _record_ids(mapping: Mapping, record: Record) -> Iterator[int]:
    for at in range(record.offset, record.end - RECORD_IDS.size + 1, RECORD_IDS.size):
        yield RECORD_IDS.unpack_from(mapping.view, at)[0]
