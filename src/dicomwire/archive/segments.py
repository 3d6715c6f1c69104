"""Segment files: written once, at their end, by the committer; read through shared maps.

No path is built from a peer's text: a segment's name is its number. A file is never truncated once it can be
mapped, and never written behind its durable end.
"""

from __future__ import annotations

import errno
import mmap
import os
import secrets
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from dicomwire.archive.checksum import crc32
from dicomwire.archive.file_range import FileRange
from dicomwire.archive.records import SEGMENT_HEADER, segment_header
from dicomwire.dicom.encoding import Buffer

EXTENT: Final = 64 << 20  # bytes that a log segment grows by, so that a commit seldom changes its size
_ZEROS_AHEAD: Final = 32 << 20  # bytes of zeros kept ahead of the end, written while nothing comes
_ZEROS_STEP: Final = 2 << 20
_MAPS: Final = 64  # maps kept open
_RESIDENT: Final = 16 << 20  # bytes read through a map before its pages are given back
_POPULATE_READ: Final = 22  # MADV_POPULATE_READ, which the mmap module does not name yet
_AHEAD: Final = 4 << 20  # bytes that the kernel is asked to read ahead
_LARGE: Final = 4 << 20  # bytes of an instance that has a segment of its own, which keeps no pages behind it
_SMALL: Final = 64 << 10  # bytes that are copied sooner than the kernel has taken them from their file
NUMBER_STEP: Final = 2  # segments of the log have odd numbers, those of one large instance even ones
_VECTORS: Final = 512  # buffers of one pwritev, below every system's IOV_MAX


def name_of(number: int) -> str:
    return f"{number:010d}.seg"


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, buffers: Sequence[Buffer], offset: int) -> int:
    """Write all of the buffers from `offset` on; returns the offset behind them."""
    pending = [memoryview(buffer).cast("B") for buffer in buffers if len(buffer)]
    while pending:
        written = os.pwritev(descriptor, pending[:_VECTORS], offset)
        offset += written
        done = 0
        while done < len(pending) and written >= len(pending[done]):
            written -= len(pending[done])
            done += 1
        del pending[:done]
        if written:
            pending[0] = pending[0][written:]
    return offset


class SegmentWriter:
    """A segment that is being written."""

    def __init__(
        self, folder: Path, number: int, *, preallocate: bool, floor: int = 0, identity: int | None = None
    ) -> None:
        """floor: bytes of the disk that space reserved ahead leaves free.

        identity: of a segment that is there already, for another process has begun it.
        """
        self.number = number
        self.path = folder / name_of(number)
        self.identity = secrets.randbits(32) if identity is None else identity
        made = os.O_CREAT | os.O_EXCL if identity is None else 0
        self.descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC | made, 0o640)
        self.end = SEGMENT_HEADER.size
        self._allocated = 0
        self._preallocate = preallocate
        self._floor = floor
        self._zeroed = 0
        self._closed = False
        if identity is not None:
            return
        try:
            self.reserve(self.end)
            write_all(self.descriptor, [segment_header(self.identity, time.time_ns())], 0)
            if preallocate:
                os.fsync(self.descriptor)
                sync_folder(folder)
        except OSError:
            self.discard()
            raise

    def reserve(self, end: int) -> None:
        """Have the file reach at least to `end`. Raises: OSError, when the disk is full."""
        if self._preallocate and end > self._allocated:
            disk = os.fstatvfs(self.descriptor)
            spare = disk.f_bavail * disk.f_frsize - self._floor
            # the catalogue grows with what will be written here: most of what is left is for others
            target = max(end, min(-(-end // EXTENT) * EXTENT, self._allocated + spare // 4))
            try:
                os.posix_fallocate(self.descriptor, self._allocated, target - self._allocated)
            except OSError:  # what must be written may fit where a whole extent does not
                target = end
                os.posix_fallocate(self.descriptor, self._allocated, target - self._allocated)
            self._allocated = target

    @property
    def prepared(self) -> bool:
        """Whether enough zeros lie ahead: overwriting them costs a sync less than filling reserved space."""
        return self._zeroed - self.end >= _ZEROS_AHEAD

    def prepare(self, sync: Callable[[SegmentWriter], None]) -> None:
        """Write the next zeros ahead, one step. Raises: OSError."""
        start = max(self._zeroed, self.end)
        self.reserve(start + _ZEROS_STEP)
        write_all(self.descriptor, [bytes(_ZEROS_STEP)], start)
        sync(self)
        self._zeroed = start + _ZEROS_STEP

    def sync(self) -> None:
        """Make it durable; the committer does, who knows what an error means. Raises: OSError."""
        os.fdatasync(self.descriptor)

    def close(self) -> None:
        """Seal the segment: what was reserved behind its end goes back to the disk. Raises: OSError."""
        if self.end == SEGMENT_HEADER.size:
            self.discard()
            return
        try:
            if self._allocated > self.end:
                os.ftruncate(self.descriptor, self.end)
                os.fsync(self.descriptor)
        finally:
            self._release()

    def discard(self) -> None:
        """What the segment holds is not wanted, be it sealed or not."""
        self._release()
        self.path.unlink(missing_ok=True)

    def leave(self) -> None:
        """Another process goes on with it."""
        self._release()

    def _release(self) -> None:
        """Close the file, once: a second time its number may be another file's."""
        if not self._closed:
            self._closed = True
            os.close(self.descriptor)


class Mapping:
    """A segment in memory; pages that were read go back to the kernel every few megabytes."""

    __slots__ = ("__weakref__", "_descriptor", "_map", "_read", "view")

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._descriptor)
        if not os.fstat(self._descriptor).st_size:
            raise FileNotFoundError(errno.ENOENT, "the segment is empty", str(path))
        self._map = mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ)
        self.view = memoryview(self._map)
        self._read = 0

    def fileno(self) -> int:
        """The file's descriptor, open for as long as this lives."""
        return self._descriptor

    def __len__(self) -> int:
        return len(self.view)

    def will_read(self, start: int, length: int) -> None:
        """Have the kernel map what comes next in one go, instead of page fault by page fault."""
        page = start & -mmap.PAGESIZE
        if (end := min(start + length, len(self.view))) > page:
            try:
                self._map.madvise(_POPULATE_READ, page, end - page)
            except OSError:  # Linux before 5.14
                self._map.madvise(mmap.MADV_WILLNEED, page, end - page)

    def read_ahead(self, start: int, length: int) -> None:
        """Have the kernel read what comes next from the disk, without waiting for it."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._descriptor, start, length, os.POSIX_FADV_WILLNEED)

    def checksum(self, start: int, length: int) -> int:
        """Of the bytes from `start` on, as far as there are any."""
        found = 0
        end = min(start + length, len(self.view))
        for at in range(start, end, _AHEAD):
            piece = self.view[at : min(at + _AHEAD, end)]
            found = crc32(piece, found)
            self.was_read(len(piece))
        return found

    def was_read(self, length: int) -> None:
        self._read += length
        if self._read > _RESIDENT:
            self.forget()

    def forget(self) -> None:
        """Give all pages back to the kernel now: a large instance may not be asked for again for long."""
        self._read = 0
        self._map.madvise(mmap.MADV_DONTNEED)


class SegmentReader:
    """Maps of a folder's segments, the least used one given up first; safe from any thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._maps: OrderedDict[int, Mapping] = OrderedDict()
        self._lock = threading.Lock()

    def open(self, number: int, end: int) -> Mapping:
        """The map of a segment that reaches at least to `end`. Raises: OSError, when it is gone."""
        with self._lock:
            mapping = self._maps.get(number)
            if mapping is None or len(mapping) < end:
                mapping = Mapping(self._folder / name_of(number))
                self._maps[number] = mapping
                while len(self._maps) > _MAPS:
                    self._maps.popitem(last=False)
            self._maps.move_to_end(number)
            return mapping

    def forget(self, number: int) -> None:
        with self._lock:
            self._maps.pop(number, None)

    def close(self) -> None:
        """Give up all maps; those that somebody still reads stay until then."""
        with self._lock:
            self._maps.clear()


class OpenStored:
    """The file of one stored instance, read in place. Views stay valid after the context has ended."""

    __slots__ = ("_counted", "_length", "_mapping", "_offset", "view")

    def __init__(self, mapping: Mapping, offset: int, length: int) -> None:
        self._mapping = mapping
        self._offset = offset
        self._length = length
        self._counted = False
        self.view = mapping.view[offset : offset + length]

    def __enter__(self) -> OpenStored:
        return self

    def __exit__(self, *_: object) -> None:
        if self._length > _LARGE:
            self._mapping.forget()
        elif not self._counted:
            self._mapping.was_read(self._length)

    def slices(self, start: int = 0, end: int | None = None, size: int = 1 << 20) -> Iterator[memoryview]:
        """Views of the file from byte `start` up to `end`, `size` bytes each; memory stays flat."""
        end = self._length if end is None else min(end, self._length)
        self._counted = True
        for at in range(start, end, size):
            if (at - start) % _AHEAD == 0:
                self._mapping.will_read(self._offset + at, min(_AHEAD, end - at))
            yield self.view[at : min(at + size, end)]
            self._mapping.was_read(size)

    def pieces(
        self, start: int = 0, end: int | None = None, size: int = 1 << 20
    ) -> Iterator[memoryview | FileRange]:
        """As `slices`, for who hands them on unread: ranges of the segment, a view of what is small."""
        end = self._length if end is None else min(end, self._length)
        self._counted = True
        if end - start < _SMALL:
            yield self.view[start:end]
            self._mapping.was_read(end - start)
            return
        for at in range(start, end, size):
            if (at - start) % _AHEAD == 0 and end - at > size:
                self._mapping.read_ahead(self._offset + at, min(_AHEAD, end - at))
            yield FileRange(self._mapping, self._offset + at, min(size, end - at))


def numbers_in(folder: Path) -> list[int]:
    """The numbers of the segments in a folder, in order."""
    return sorted(int(path.stem) for path in folder.glob("*.seg") if path.stem.isdecimal())


def last_written(folder: Path) -> int:
    """When a segment was written last, in nanoseconds since 1970; 0 without any.

    No record id of before is later, also of records that are removed, should the clock go back.
    """
    return max((path.stat().st_mtime_ns for path in folder.glob("*.seg")), default=0)
