"""Instances to be sent: where their bytes are and what they are, from files and from the archive (PS3.10 7).

A file is mapped and its headers are read, and it is mapped again when its turn comes; its bytes are not
copied. What cannot be sent is told by name, with the reason.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from mmap import ACCESS_READ, MADV_DONTNEED, MADV_WILLNEED, PAGESIZE, mmap
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from dicomwire.archive.archive import Archive, Stored
from dicomwire.archive.transcoder import Transcoded, Transcoder
from dicomwire.dicom.part10 import PREAMBLE_LENGTH, read_file_meta
from dicomwire.dicom.scan import scan
from dicomwire.errors import ArchiveError, DataSetError, Part10Error
from dicomwire.upper_layer.pdu import Buffer

MEDIA_STORAGE_DIRECTORY: Final = "1.2.840.10008.1.3.10"  # a DICOMDIR is one (PS3.3 F)
PIECE: Final = 1 << 20  # bytes handed out at once
READ_AHEAD: Final = 4 << 20  # bytes the kernel is asked to have ready
MOST_JOINED: Final = 256 << 20  # bytes of a data set that is put together in memory
KEPT: Final = 16 << 20  # bytes behind the reader that stay mapped: they may still be on their way out

_NEEDED: Final = (
    (0x00080016, "SOP Class UID"),
    (0x00080018, "SOP Instance UID"),
    (0x0020000D, "Study Instance UID"),
    (0x0020000E, "Series Instance UID"),
)


class DataSet:
    """The data set of one instance, readable while it is open.

    Attributes:
        pieces: all of it, to be read once from begin to end.
    """

    __slots__ = ("_view", "pieces")

    def __init__(self, view: memoryview | None, pieces: Callable[[], Iterator[Buffer]]) -> None:
        """view: the whole; None where it is put together when somebody wants it so."""
        self._view = view
        self.pieces = pieces

    @property
    def view(self) -> memoryview:
        """The whole. Raises: ArchiveError, when it is too much to be put together in memory."""
        if self._view is None:
            whole = bytearray()
            for piece in self.pieces():
                whole += piece
                if len(whole) > MOST_JOINED:
                    raise ArchiveError(f"more than {MOST_JOINED >> 20} MB to convert; nothing is sent")
            self._view = memoryview(whole)
        return self._view


class Sliced(Protocol):
    """A data set that is read once from begin to end."""

    def slices(self) -> Iterator[Buffer]:
        """Its bytes."""


class Recoding(Protocol):
    """How an instance goes out in a transfer syntax for which conversion is not enough."""

    def target(self, accepted: Collection[str]) -> str | None:
        """The accepted transfer syntax that suits it best; None when it would lose something in any."""

    def open(self, target: str) -> AbstractAsyncContextManager[Sliced]:
        """The data set in that transfer syntax. Raises: TranscodingError, ArchiveError, WorkersBusy."""


@dataclass(frozen=True, slots=True)
class Transcoding:
    """The recoding of an instance of the archive: its pixels are decoded or encoded."""

    transcoder: Transcoder
    stored: Stored

    def target(self, accepted: Collection[str]) -> str | None:
        """As `Recoding`."""
        return self.transcoder.target(self.stored, accepted)

    def open(self, target: str) -> AbstractAsyncContextManager[Transcoded]:
        """As `Recoding`."""
        return self.transcoder.transcode(self.stored, target)


@dataclass(frozen=True, slots=True)
class Instance:
    """Something to send.

    Attributes:
        name: of the file, or other words for people.
        transfer_syntax_uid: in which the data set is stored.
        length: bytes of the data set as stored.
        open: gives the data set.
        recoding: gives it in other transfer syntaxes; None where that is not done.
        head: of a file whose preamble says something, what precedes the data set; else empty.
    """

    name: str
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    length: int
    open: Callable[[], AbstractContextManager[DataSet]]
    recoding: Recoding | None = None
    head: bytes = b""


Opener: TypeAlias = Callable[[int], Callable[[], AbstractContextManager[DataSet]]]
"""Gives, for the length of the meta information, what gives the data set behind it."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something that is not sent, and why."""

    name: str
    reason: str


def walk(paths: Iterable[Path]) -> Iterator[Path]:
    """The files that paths name: themselves, or all in their folders, in the order of their names.

    Links to folders are not followed; a path that does not exist is passed on, for `read_file` to say so.
    """
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for folder, folders, files in os.walk(path):
            folders.sort()
            for name in sorted(files):
                yield Path(folder, name)


def read_file(path: Path) -> Instance | Skipped:
    """What a file is; its data set is walked to the end, its values are not touched."""
    try:
        mapped = _map(path)
    except OSError as error:
        return Skipped(str(path), error.strerror or type(error).__name__)
    if isinstance(mapped, str):
        return Skipped(str(path), mapped)
    return _examine(str(path), memoryview(mapped), partial(partial, _open_file, path))


def read_bytes(data: bytes, name: str) -> Instance | Skipped:
    """What a Part 10 file in memory is."""
    return _examine(name, memoryview(data), partial(partial, _open_bytes, data))


def _map(path: Path) -> mmap | str:
    """A file's bytes, or why it has none."""
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # opening a named pipe would wait for a writer
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            return "not a regular file"
        if not status.st_size:
            return "empty file"
        return mmap(file, 0, access=ACCESS_READ)
    finally:
        os.close(file)


def _examine(name: str, view: memoryview, opener: Opener) -> Instance | Skipped:
    try:
        meta = read_file_meta(view, complete=True, accept_bare=True)
    except Part10Error as error:
        return Skipped(name, f"not a DICOM file: {error.what}")
    if meta is None:
        return Skipped(name, "not a DICOM file: it ends within its meta information")
    if meta.media_storage_sop_class_uid == MEDIA_STORAGE_DIRECTORY:
        return Skipped(name, "a DICOMDIR, which is no instance of a storage SOP class")
    data_set = view[meta.length :]
    try:
        found = scan(data_set, meta.transfer_syntax_uid)
    except DataSetError as error:
        return Skipped(name, f"data set cannot be read to its end: {error}")
    uids = [found.text(tag) for tag, _ in _NEEDED]
    missing = [name for (_, name), uid in zip(_NEEDED, uids, strict=True) if not uid]
    if missing:
        return Skipped(name, f"data set without {', '.join(missing)}")
    return Instance(
        name=name,
        sop_class_uid=uids[0],
        sop_instance_uid=uids[1],
        transfer_syntax_uid=meta.transfer_syntax_uid,
        length=len(data_set),
        open=opener(meta.length),
        head=bytes(view[: meta.length]) if any(view[: min(meta.length, PREAMBLE_LENGTH)]) else b"",
    )


def from_archive(archive: Archive, stored: Stored, transcoder: Transcoder | None = None) -> Instance:
    """An instance of the archive, which knows all about it.

    transcoder: makes other transfer syntaxes of it; None where only what needs no codec is done.
    """
    return Instance(
        name=stored.sop_instance_uid,
        sop_class_uid=stored.sop_class_uid,
        sop_instance_uid=stored.sop_instance_uid,
        transfer_syntax_uid=stored.transfer_syntax_uid,
        length=stored.length - stored.data_set_offset,
        open=partial(_open_stored, archive, stored),
        recoding=Transcoding(transcoder, stored) if transcoder is not None else None,
    )


@contextmanager
def _open_bytes(data: bytes, offset: int) -> Iterator[DataSet]:
    view = memoryview(data)[offset:]
    yield DataSet(view, lambda: iter((view,)))


@contextmanager
def _open_stored(archive: Archive, stored: Stored) -> Iterator[DataSet]:
    with archive.open_stored(stored) as opened:
        offset = stored.data_set_offset
        yield DataSet(opened.view[offset:], partial(opened.slices, offset))


@contextmanager
def _open_file(path: Path, offset: int) -> Iterator[DataSet]:
    """Map a file for as long as its bytes are needed; the mapping ends with the last view of it.

    Raises: OSError, when the file is no longer what it was.
    """
    mapped = _map(path)
    if isinstance(mapped, str) or len(mapped) < offset:
        raise OSError(f"{path} has changed since it was looked at")
    yield DataSet(memoryview(mapped)[offset:], partial(_pieces, mapped, offset))


def _pieces(mapped: mmap, offset: int) -> Iterator[Buffer]:
    """A mapped file from an offset on; read ahead of the reader, dropped from memory well behind it."""
    view = memoryview(mapped)
    large = len(view) > KEPT
    for start in range(offset, len(view), PIECE):
        if large:
            page = start // PAGESIZE * PAGESIZE
            mapped.madvise(MADV_WILLNEED, page, min(READ_AHEAD, len(view) - page))
            if page >= KEPT + PIECE:
                mapped.madvise(MADV_DONTNEED, (start - KEPT - PIECE) // PAGESIZE * PAGESIZE, PIECE)
        yield view[start : start + PIECE]
