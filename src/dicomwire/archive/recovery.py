"""Brings catalogue and segments together: after a crash, and from nothing.

Recovery and rebuild are one function with another starting point: every whole batch behind the durable end
that the catalogue records is indexed as if it had just arrived.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from dicomwire.archive.catalogue_writer import CatalogueWriter
from dicomwire.archive.entry import Entry, Unindexable, entry_of
from dicomwire.archive.records import (
    HEADER_LENGTH,
    SEGMENT_HEADER,
    Batch,
    Kind,
    Record,
    batches,
    identity_of,
    record_ids,
)
from dicomwire.archive.segments import Mapping, name_of, numbers_in, sync_folder
from dicomwire.archive.values import ArchiveOptions, Damage
from dicomwire.dicom.part10 import read_file_meta
from dicomwire.errors import DicomwireError


def recover(
    folder: Path,
    catalogue: CatalogueWriter,
    options: ArchiveOptions,
    *,
    rebuild: bool = False,
    under_way: Callable[[int], bool] = lambda number: False,
) -> tuple[int, list[Damage]]:
    """Index what the catalogue does not know yet, and cut torn tails; all in one transaction.

    rebuild: forget first what the catalogue knows. Nobody knows then what was acknowledged, as with a
        catalogue that is new: nothing is cut.
    under_way: whether somebody still writes a segment; it is left alone.
    Returns: how many instances were indexed, and the damage found on the way.
    """
    with catalogue.transaction():  # a tombstone and what it buries may lie far apart
        if rebuild:
            catalogue.clear()
        known = catalogue.segments()
        numbers = numbers_in(folder)
        recovery = _Recovery(catalogue, options, frozenset(numbers), rebuilding=not known)
        for number in numbers:
            path = folder / name_of(number)
            durable = known.get(number, SEGMENT_HEADER.size)
            if under_way(number):
                continue
            if number not in known or path.stat().st_size != durable:
                recovery.segment(path, number, durable)
        for record_id in recovery.buried:
            catalogue.remove(record_id)
        for number in sorted(known.keys() - set(numbers)):
            recovery.gone(number)
    return recovery.indexed, recovery.damage


class _Recovery:
    """One pass over the segments; tombstones count wherever they lie."""

    def __init__(
        self,
        catalogue: CatalogueWriter,
        options: ArchiveOptions,
        present: frozenset[int],
        *,
        rebuilding: bool,
    ) -> None:
        self.indexed = 0
        self.damage: list[Damage] = []
        self.buried: set[int] = set()
        self._catalogue = catalogue
        self._options = options
        self._present = present
        self._rebuilding = rebuilding

    def segment(self, path: Path, number: int, durable: int) -> None:
        """Index one segment's batches from `durable` on; deal with what is behind the last."""
        size = path.stat().st_size
        if size < durable and number in self._catalogue.segments():
            self.damage.append(Damage(path.name, size, f"{durable - size} bytes are gone"))
            return
        if size < SEGMENT_HEADER.size:
            path.unlink()
            return
        with path.open("rb+") as file:
            os.fsync(file.fileno())  # what the page cache shows need not be on disk
        mapping = Mapping(path)
        identity = identity_of(mapping.view[: SEGMENT_HEADER.size])
        if identity is None:
            if any(mapping.view[: SEGMENT_HEADER.size]):
                self.damage.append(Damage(path.name, 0, "no segment header"))
            else:
                path.unlink()
            return
        end = durable
        for batch in batches(mapping.view, durable, identity):
            if batch.start != end:
                self.damage.append(Damage(path.name, end, f"{batch.start - end} bytes are no record"))
            self._index(mapping, path.name, number, batch)
            end = batch.end
        mapping.was_read(size)
        rest = mapping.view[end : end + HEADER_LENGTH]
        if self._rebuilding and any(rest):
            self.damage.append(Damage(path.name, end, f"{size - end} bytes are no whole batch"))
            return
        del rest, mapping
        _cut(path, end, size)

    def gone(self, number: int) -> None:
        """A segment is not there: it was compacted, or it is lost."""
        if self._catalogue.in_segment(number):
            self.damage.append(Damage(name_of(number), 0, "the segment is gone"))
        else:
            self._catalogue.forget_segment(number)

    def _index(self, mapping: Mapping, name: str, number: int, batch: Batch) -> None:
        """What a batch holds enters the catalogue as if it had just arrived."""
        entries: list[Entry] = []
        dead: set[int] = set()
        for record in batch.rotten:
            self.damage.append(Damage(name, record.offset, "the checksum does not match"))
        for record in batch.records:
            if record.kind is Kind.TOMBSTONE:
                dead.update(record_ids(mapping.view, record))
                continue
            try:
                entries.append(read_entry(mapping, number, record, self._options))
            except (DicomwireError, ValueError) as error:
                self.damage.append(Damage(name, record.offset, str(error)))
        catalogue = self._catalogue
        catalogue.reached(number, name, batch.end)
        for entry in entries:
            held = catalogue.segment_of(entry.record_id)
            if held is None:
                catalogue.recover(entry)
                self.indexed += 1
            elif held not in self._present:  # compaction moved it, and the crash undid the row
                catalogue.move(entry.record_id, number, entry.offset)
        for record_id in dead:
            catalogue.remove(record_id)
        self.buried |= dead


def _cut(path: Path, end: int, size: int) -> None:
    """Give back what was reserved or torn behind the last batch; a segment without any goes."""
    if end == SEGMENT_HEADER.size:
        path.unlink()
        sync_folder(path.parent)
    elif end < size:
        with path.open("rb+") as file:
            file.truncate(end)
            os.fsync(file.fileno())


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
