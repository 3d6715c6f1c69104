"""A folder of worklist files in the layout of DCMTK's wlmscpfs: AE/*.wl beside a `lockfile`.

Files are DICOM files, one item each. What changes in the folder changes in the worklist; a file that cannot
be read is logged and leaves what it said before. While somebody locks `lockfile`, its folder rests.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from time import time
from typing import Final, TypeAlias

import structlog

from dicomwire.dicom.data_set import DataSet, decode
from dicomwire.dicom.part10 import read_file_meta
from dicomwire.errors import DicomwireError
from dicomwire.work import worklist
from dicomwire.work.store import Store, Transaction

LOCK: Final = "lockfile"
LIMIT: Final = 1 << 20  # bytes of one file
_PREFIX: Final = "file:"

Seen: TypeAlias = dict[Path, tuple[int, int]]  # time of change and length of each file

log = structlog.get_logger()


class Folder:
    """Keeps the worklist as a folder says."""

    def __init__(self, store: Store, folder: Path, interval: float) -> None:
        """interval: seconds between two looks: files come by NFS and SMB, whose changes nothing announces."""
        self._store = store
        self._folder = folder
        self._interval = interval
        self._seen: Seen = {}
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read the folder, and look at it from now on."""
        await asyncio.to_thread(self.look)
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Look no more."""
        self._stopping.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        while not self._stopping.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(self._interval):
                    await self._stopping.wait()
            if not self._stopping.is_set():
                await asyncio.to_thread(self.look)

    def look(self) -> None:
        """Take over what has changed since the last look; blocking."""
        try:
            found = dict(_files(self._folder, self._seen))
        except OSError as error:
            log.warning("worklist.folder_unreadable", folder=str(self._folder), reason=str(error))
            return
        if not self._seen:
            self._forget_lost(found)
        for path, state in found.items():
            if self._seen.get(path) != state:
                self._take(path)
        for path in self._seen.keys() - found.keys():
            self._store.apply(partial(worklist.forget, source=_source(path)))
        self._seen = found

    def _take(self, path: Path) -> None:
        ae_title = path.parent.name if path.parent != self._folder else ""
        try:
            attributes = read(path)
            self._store.apply(lambda change: _replace(change, attributes, path, ae_title))
        except (OSError, DicomwireError) as error:
            log.warning("worklist.file_refused", file=str(path), reason=str(error)[:200])

    def _forget_lost(self, found: Mapping[Path, object]) -> None:
        """Forget items of files that went while nobody looked."""
        sources = {_source(path) for path in found}
        rows = self._store.rows("SELECT DISTINCT source FROM worklist WHERE source LIKE ?", (_PREFIX + "%",))
        for (source,) in rows:
            if str(source) not in sources:
                self._store.apply(partial(worklist.forget, source=str(source)))


def read(path: Path) -> DataSet:
    """The data set of a worklist file. Raises: OSError, DataSetError."""
    with path.open("rb") as file:
        content = file.read(LIMIT)
    meta = read_file_meta(content, complete=True, accept_bare=True)
    assert meta is not None  # all of the file is there
    return decode(memoryview(content)[meta.length :], meta.transfer_syntax_uid)


def _replace(change: Transaction, attributes: DataSet, path: Path, ae_title: str) -> None:
    source = _source(path)
    ids = worklist.put(change, attributes, source=source, ae_title=ae_title, now=time())
    marks = ", ".join("?" * len(ids))
    change.rows(f"DELETE FROM worklist WHERE source = ? AND id NOT IN ({marks})", (source, *ids))


def _source(path: Path) -> str:
    return _PREFIX + str(path)


def _files(folder: Path, seen: Seen) -> Iterator[tuple[Path, tuple[int, int]]]:
    """The files of a folder and of those right below it; of one that is locked those that were seen."""
    with os.scandir(folder) as entries:
        below = sorted(Path(entry.path) for entry in entries if entry.is_dir())
    for each in (folder, *below):
        with _lock(each) as locked:
            if not locked:
                yield from ((path, state) for path, state in seen.items() if path.parent == each)
                continue
            with os.scandir(each) as entries:
                for entry in entries:
                    if entry.name.lower().endswith(".wl") and entry.is_file():
                        status = entry.stat()
                        yield Path(entry.path), (status.st_mtime_ns, status.st_size)


@contextmanager
def _lock(folder: Path) -> Iterator[bool]:
    """Hold the folder's lock for reading, if it has one; whether that can be."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY)
    except OSError:
        yield True
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
