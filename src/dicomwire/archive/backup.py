"""Backup: the catalogue as it is at a moment, and the segments as far as that catalogue knows them.

A node may be running: SQLite copies its database as of one moment, segments only grow, and none is unlinked
meanwhile. So a second backup copies only what has come since. What is made is a data folder: to restore it,
serve a copy of it. A backup that is cut short leaves the catalogue of the one before, and all it needs.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dicomwire.archive.catalogue import DatabaseError
from dicomwire.archive.records import SEGMENT_HEADER
from dicomwire.archive.segments import name_of, numbers_in, sync_folder
from dicomwire.errors import ArchiveError

try:
    import pysqlite3 as sqlite
except ImportError:  # no wheel for this platform
    import sqlite3 as sqlite

CATALOGUE: Final = "catalogue.sqlite"
_MARK: Final = "backup.json"  # names the data folder that is backed up here
_GUARD: Final = "segments.lock"  # shared by who copies segments, exclusive to who unlinks them
_SUFFIX: Final = ".part"  # of what is not whole yet
_BLOCK: Final = 4 << 20  # bytes copied at a time


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup holds, and what of it was copied this time."""

    instances: int
    segments: int
    bytes_held: int
    bytes_copied: int


@contextmanager
def copying(data: Path) -> Iterator[None]:
    """No segment is unlinked inside. Raises: ArchiveError, when one is being compacted."""
    with _guarded(data, fcntl.LOCK_SH, "the archive is being compacted; try again when it is done"):
        yield


@contextmanager
def unlinking(data: Path) -> Iterator[None]:
    """Segments may be unlinked inside. Raises: ArchiveError, when a backup copies them."""
    with _guarded(data, fcntl.LOCK_EX, "a backup is being made; try again when it is done"):
        yield


@contextmanager
def _guarded(data: Path, kind: int, refusal: str) -> Iterator[None]:
    descriptor = os.open(data / _GUARD, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ArchiveError(f"{data}: {refusal}") from None
        yield
    finally:
        os.close(descriptor)


def backup(data: Path, destination: Path) -> Backup:
    """Copy a data folder, or what has come since the last time; a node may be running on it.

    destination: made when missing; otherwise empty, or an earlier backup of the same folder.
    Raises: ArchiveError, when there is no archive or the destination is something else; OSError.
    """
    if not (data / CATALOGUE).exists():
        raise ArchiveError(f"{data} holds no archive")
    _claim(data, destination)
    segments = destination / "segments"
    segments.mkdir(exist_ok=True)
    with copying(data):
        databases = sorted(data.glob("*.sqlite"), key=lambda path: path.name == CATALOGUE)
        for path in databases:  # the catalogue last: what others name is in it
            _snapshot(path, destination / (path.name + _SUFFIX))
        durable, instances = _known(destination / (CATALOGUE + _SUFFIX))
        copied = 0
        anew: list[Path] = []
        for number, end in durable.items():
            copied += _copy(data / "segments" / name_of(number), segments / name_of(number), end, anew)
    for path in data.glob("*.key"):  # such as the one on which the UIDs of files without identity hang
        shutil.copy(path, destination / path.name)  # with its mode: nobody else may read it
    for part in anew:
        part.rename(part.with_suffix(""))
    # before the catalogue: a segment that it does not know would be taken for new, and its dead would rise
    for number in set(numbers_in(segments)) - durable.keys():
        (segments / name_of(number)).unlink()
    sync_folder(segments)
    for path in databases:
        for suffix in ("-wal", "-shm"):
            (destination / (path.name + suffix)).unlink(missing_ok=True)
        (destination / (path.name + _SUFFIX)).rename(destination / path.name)
    sync_folder(destination)
    return Backup(instances, len(durable), sum(durable.values()), copied)


def _claim(data: Path, destination: Path) -> None:
    """Make sure that a folder is ours to write to."""
    source = str(data.resolve())
    if destination.resolve() == data.resolve():
        raise ArchiveError(f"{destination} is the data folder itself")
    destination.mkdir(parents=True, exist_ok=True)
    mark = destination / _MARK
    if not mark.exists():
        if any(destination.iterdir()):
            raise ArchiveError(f"{destination} is neither empty nor a backup")
        mark.write_text(json.dumps({"source": source}) + "\n")
        return
    try:
        found = json.loads(mark.read_text())["source"]
    except (ValueError, KeyError, TypeError):
        raise ArchiveError(f"{mark} does not say of what this is a backup") from None
    if found != source:
        raise ArchiveError(f"{destination} is a backup of {found}, not of {source}")


def _snapshot(path: Path, part: Path) -> None:
    """A database as of now. Raises: ArchiveError."""
    part.unlink(missing_ok=True)
    try:
        with closing(sqlite.connect(str(path))) as source, closing(sqlite.connect(str(part))) as target:
            source.backup(target)
    except DatabaseError as error:
        raise ArchiveError(f"{path}: {error}") from None
    _sync(part)


def _known(part: Path) -> tuple[dict[int, int], int]:
    """Durable end of each segment, and the number of instances and versions."""
    with closing(sqlite.connect(str(part))) as connection:
        durable = dict(connection.execute("SELECT id, durable FROM segment ORDER BY id"))
        (instances,) = connection.execute("SELECT count(*) FROM instance").fetchone()
    return durable, instances


def _copy(source: Path, target: Path, end: int, anew: list[Path]) -> int:
    """Have the target hold the first `end` bytes of a segment; returns how many were copied.

    anew: gets the file that will replace the target, when that is another segment of the same number.
    """
    with source.open("rb") as reading:
        header = reading.read(SEGMENT_HEADER.size)
        start = 0
        if target.exists():
            with target.open("rb") as held:
                same = held.read(SEGMENT_HEADER.size) == header
            start = target.stat().st_size if same else 0
            if start == end:
                return 0
            if not same or start > end:
                start, target = 0, target.with_name(target.name + _SUFFIX)
                target.unlink(missing_ok=True)
                anew.append(target)
        reading.seek(start)
        with target.open("ab") as writing:
            left = end - start
            while left:
                block = reading.read(min(_BLOCK, left))
                if not block:
                    raise ArchiveError(f"{source} ends {left} bytes early; verify the archive")
                writing.write(block)
                left -= len(block)
            writing.flush()
            os.fsync(writing.fileno())
    return end - start


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
