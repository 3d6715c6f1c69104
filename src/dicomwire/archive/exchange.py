"""Instances out of the archive as files, and files into it; the lists that are DICOMDIRs (PS3.10 7, 8).

What is exported is the stored file, byte for byte. A file is complete or not there under its name, and none
is ever replaced by another.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from dicomwire.archive.archive import Archive
from dicomwire.archive.checksum import crc32
from dicomwire.archive.dicomdir import MEDIA_STORAGE_DIRECTORY, Dicomdir
from dicomwire.archive.values import Origin, Outcome, Stored, Verdict
from dicomwire.dicom.elements import Kind, elements
from dicomwire.dicom.encoding import Buffer, encoding_of
from dicomwire.dicom.part10 import PREAMBLE_LENGTH, read_file_meta
from dicomwire.errors import ArchiveError, DicomwireError
from dicomwire.uids import is_valid_uid

DICOMDIR: Final = "DICOMDIR"
UNDER_WAY: Final = 64  # instances that wait for one sync together
_REFERENCED_FILE_ID: Final = 0x00041500
_LETTERS: Final = ("ST", "SE", "IM")
_MOST_NAMES: Final = 999_999  # that fit behind two letters
_SUFFIX: Final = ".part"  # of a file that is being written


class Fate(Enum):
    """What became of an instance that was to be exported."""

    EXPORTED = "exported"
    PRESENT = "already there"  # with the same bytes
    FAILED = "not exported"


@dataclass(frozen=True, slots=True)
class Exported:
    """One instance and its file.

    Attributes:
        path: under the destination.
        length: bytes of the file.
        reason: why it was not exported, else empty.
    """

    sop_instance_uid: str
    path: Path
    length: int
    fate: Fate
    reason: str = ""


class DataSet(Protocol):
    """A data set that is open for reading."""

    @property
    def pieces(self) -> Callable[[], Iterator[Buffer]]:
        """The bytes, from begin to end."""


class Source(Protocol):
    """An instance that is to be stored, and how its data set is opened."""

    @property
    def sop_class_uid(self) -> str: ...

    @property
    def sop_instance_uid(self) -> str: ...

    @property
    def transfer_syntax_uid(self) -> str: ...

    @property
    def head(self) -> bytes: ...

    @property
    def open(self) -> Callable[[], AbstractContextManager[DataSet]]: ...


def current(archive: Archive) -> Iterator[Stored]:
    """Every instance in the order of arrival, without conflict versions."""
    others = {row[0] for row in archive.catalogue.rows("SELECT id FROM instance WHERE current = 0")}
    return (stored for stored in archive.plan_all() if stored.record_id not in others)


PathOf: TypeAlias = Callable[[Stored], Path]


def by_uids(stored: Stored) -> Path:
    """`<study>/<series>/<instance>.dcm`. Raises: ArchiveError, when a UID is none that may name a file."""
    uids = stored.study_instance_uid, stored.series_instance_uid, stored.sop_instance_uid
    if not all(map(is_valid_uid, uids)):
        raise ArchiveError("its UIDs are none that may name a file")
    return Path(uids[0], uids[1], f"{uids[2]}.dcm")


def export(
    archive: Archive, destination: Path, instances: Iterable[Stored], path_of: PathOf = by_uids
) -> Iterator[Exported]:
    """Write each instance to a file of its own below a folder, which is made when missing.

    A file that is there already stays as it is: with the same bytes all is well, otherwise the instance
    fails. What is damaged fails alone; a destination that takes no more ends it all.
    path_of: names the files.
    Raises: OSError, when the destination takes no more.
    """
    for stored in instances:
        relative = Path(stored.sop_instance_uid)
        failed = partial(Exported, stored.sop_instance_uid, fate=Fate.FAILED, length=stored.length)
        try:
            relative = path_of(stored)
            written = _export(archive, stored, destination / relative)
        except FileExistsError:
            yield failed(relative, reason="another file has its name; it was left as it is")
        except DicomwireError as error:
            yield failed(relative, reason=str(error))
        else:
            fate = Fate.EXPORTED if written else Fate.PRESENT
            yield Exported(stored.sop_instance_uid, relative, stored.length, fate)


def export_file_set(
    archive: Archive, destination: Path, instances: Iterable[Stored], sop_instance_uid: str
) -> Iterator[Exported]:
    """Write a file-set: instances as `DICOM/ST000001/SE000001/IM000001`, then the DICOMDIR that lists them.

    destination: an empty folder, or none yet.
    sop_instance_uid: a new one, for the DICOMDIR.
    Raises: ArchiveError, when there are too many; OSError, when the destination takes no more.
    Source: PS3.10 8.
    """
    directory = Dicomdir()
    names = FileIds()
    chosen: dict[str, Stored] = {}

    def named(stored: Stored) -> Path:
        chosen[stored.sop_instance_uid] = stored
        return names.path(stored)

    for exported in export(archive, destination, instances, named):
        stored = chosen.pop(exported.sop_instance_uid)
        if exported.fate is not Fate.FAILED:
            try:
                with archive.open_stored(stored) as opened:
                    directory.add(stored, opened.view[stored.data_set_offset :], exported.path)
            except DicomwireError as error:
                (destination / exported.path).unlink()
                exported = replace(exported, fate=Fate.FAILED, reason=str(error))
        yield exported
    destination.mkdir(parents=True, exist_ok=True)
    with (destination / DICOMDIR).open("xb") as file:
        file.writelines(directory.encoded(sop_instance_uid))


class FileIds:
    """File IDs of a file-set: components of at most 8 of A-Z, 0-9 and _ (PS3.10 8.2, 8.5)."""

    def __init__(self) -> None:
        self._studies: dict[str, int] = {}
        self._series: dict[tuple[str, str], tuple[int, int]] = {}  # numbers of the study and the series
        self._of_study: Counter[str] = Counter()  # its series
        self._of_series: Counter[tuple[str, str]] = Counter()  # its instances

    def path(self, stored: Stored) -> Path:
        """The next file ID. Raises: ArchiveError, when a folder is full."""
        uid = stored.study_instance_uid
        study = self._studies.setdefault(uid, len(self._studies) + 1)
        key = uid, stored.series_instance_uid
        if key not in self._series:
            self._of_study[uid] += 1
            self._series[key] = study, self._of_study[uid]
        self._of_series[key] += 1
        numbers = (*self._series[key], self._of_series[key])
        if max(numbers) > _MOST_NAMES:
            raise ArchiveError(f"more than {_MOST_NAMES} files or folders in one folder")
        names = (f"{letters}{number:06d}" for letters, number in zip(_LETTERS, numbers, strict=True))
        return Path("DICOM", *names)


def _export(archive: Archive, stored: Stored, path: Path) -> bool:
    """Returns: False, when the file is there already. Raises: FileExistsError, when it is another one."""
    with archive.open_stored(stored) as opened:
        if os.path.lexists(path):
            if not _same(path, opened.slices()):
                raise FileExistsError(path)
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + _SUFFIX)
        try:
            checksum = 0
            with part.open("wb") as file:
                for piece in opened.slices():
                    checksum = crc32(piece, checksum)
                    file.write(piece)
            if checksum != stored.crc:
                raise ArchiveError("what is stored is damaged: its checksum differs")
            part.rename(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    return True


def _same(path: Path, pieces: Iterator[memoryview]) -> bool:
    """Whether a file holds these bytes and no others."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return all(file.read(len(piece)) == piece for piece in pieces) and not file.read(1)


async def take(
    archive: Archive, sources: Iterable[Source], report: Callable[[int, Outcome], None], *, peer: str = ""
) -> None:
    """Store instances; many wait for one sync together, the archive's budget bounds memory.

    archive: started.
    report: called with each one's number, counted from 0, and outcome, in the order in which they end.
    peer: where they are from, for the record.
    """
    room = asyncio.Semaphore(UNDER_WAY)

    def done(number: int, outcome: Outcome) -> None:
        report(number, outcome)
        room.release()

    for number, source in enumerate(sources):
        await room.acquire()
        try:
            await _take(archive, source, Origin(door="import", peer=peer), partial(done, number))
        except (ArchiveError, OSError) as error:
            words = (error.strerror if isinstance(error, OSError) else None) or str(error)
            done(number, _failure(source, words))
    for _ in range(UNDER_WAY):
        await room.acquire()


async def _take(archive: Archive, source: Source, origin: Origin, done: Callable[[Outcome], None]) -> None:
    reception = archive.receive(
        sop_class_uid=source.sop_class_uid,
        sop_instance_uid=source.sop_instance_uid,
        transfer_syntax_uid=source.transfer_syntax_uid,
        origin=origin,
        head=source.head,
    )
    try:
        with source.open() as data_set:
            for piece in data_set.pieces():
                reception.write(piece)
                if reception.congested:
                    await reception.drain()
    except BaseException:
        reception.abort()
        raise
    reception.finish(done)


def _failure(source: Source, words: str) -> Outcome:
    return Outcome(Verdict.OUT_OF_RESOURCES, words, source.sop_class_uid, source.sop_instance_uid)


def listed(path: Path) -> list[Path] | None:
    """The files that a DICOMDIR refers to, in its order; None when the file is no DICOMDIR.

    Names are looked up without regard to case, as discs are mounted in either. A file that is not there is
    named all the same, for the reader to say so; a file ID that leads out of the DICOMDIR's folder is not
    followed.
    Raises: DecodeError, when the DICOMDIR cannot be read to its end.
    Source: PS3.10 8.5, PS3.3 F.3.
    """
    if not path.is_file() or not path.stat().st_size:
        return None
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        if data[PREAMBLE_LENGTH : PREAMBLE_LENGTH + 4] != b"DICM":
            return None
        meta = read_file_meta(data, complete=True)
        if meta is None or meta.media_storage_sop_class_uid != MEDIA_STORAGE_DIRECTORY:
            return None
        data_set = data[meta.length :]
    names = [
        data_set[element.start : element.end].decode("latin_1")
        for element in elements(data_set, encoding_of(meta.transfer_syntax_uid))
        if element.kind is Kind.VALUE and element.tag == _REFERENCED_FILE_ID
    ]
    components = [[part.strip(" \0") for part in name.split("\\")] for name in names]
    folders: dict[Path, dict[str, str]] = {}
    return [_find(path.parent, parts, folders) for parts in components if _inside(parts)]


def _inside(parts: list[str]) -> bool:
    """Whether the components of a file ID stay in the folder they start from."""
    return all(part not in ("", ".", "..") and "/" not in part and "\0" not in part for part in parts)


def _find(folder: Path, parts: list[str], folders: dict[Path, dict[str, str]]) -> Path:
    """A file by the components of its file ID; `folders` remembers what is in each folder."""
    for part in parts:
        if folder not in folders:
            names = os.listdir(folder) if folder.is_dir() else []
            folders[folder] = {name.upper(): name for name in names}
        folder /= folders[folder].get(part.upper(), part)
    return folder
