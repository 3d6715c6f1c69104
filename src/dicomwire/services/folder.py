"""Received instances as files in folders of study and series (PS3.10 7).

Paths are made of UIDs that have been checked to be some, never of other text of a peer. A data set that
cannot be read to its end, or that is not what its C-STORE said, is refused.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from filecmp import cmp
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import IO, Final

from dicomwire.dicom.dictionary import TAGS
from dicomwire.dicom.scan import scan
from dicomwire.dimse import status
from dicomwire.errors import DataSetError
from dicomwire.services.receiving import Arrival, NotTaken
from dicomwire.uids import is_valid_uid

PART: Final = ".part"  # end of the name of a file that is not whole

_UIDS: Final = {
    TAGS["SOPClassUID"]: "SOP Class UID",
    TAGS["SOPInstanceUID"]: "SOP Instance UID",
    TAGS["StudyInstanceUID"]: "Study Instance UID",
    TAGS["SeriesInstanceUID"]: "Series Instance UID",
}


@dataclass(frozen=True, slots=True)
class Written:
    """An instance in a folder.

    Attributes:
        length: bytes of the file.
        there: a file with the same content was there already.
    """

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    length: int
    there: bool = False


class Folder:
    """Instances as files: `study UID/series UID/instance UID.dcm`.

    A file is there whole or not at all. Another instance with the same UID never takes its place: it gets a
    number.
    """

    def __init__(self, folder: Path | str, report: Callable[[Written], None] = lambda written: None) -> None:
        """Prepare.

        Args:
            folder: made when missing.
            report: told of each instance, in the loop's thread, before it is answered.

        Raises: OSError, when it cannot be made.
        """
        self._folder = Path(folder)
        self._parts: set[Path] = set()
        self._report = report
        self._folder.mkdir(parents=True, exist_ok=True)

    def open(self, arrival: Arrival) -> IO[bytes]:
        """A file whose name says that it is not whole."""
        part = self._folder / f".{secrets.token_hex(8)}{PART}"
        try:
            spool = part.open("x+b")
        except OSError as error:
            raise NotTaken(f"Cannot be written: {error.strerror}", status.OUT_OF_RESOURCES) from error
        self._parts.add(part)
        return spool

    async def keep(self, arrival: Arrival, spool: IO[bytes]) -> None:
        """Check, sync and name the file."""
        written = await asyncio.to_thread(self._named, arrival, spool)
        self._parts.discard(Path(spool.name))
        self._report(written)

    def drop(self, spool: IO[bytes]) -> None:
        """Remove the file."""
        with suppress(OSError):  # what a full disk did not take yet
            spool.close()
        part = Path(spool.name)
        part.unlink(missing_ok=True)
        self._parts.discard(part)

    def close(self) -> None:
        """Remove what is not whole: nothing more will come."""
        while self._parts:
            self._parts.pop().unlink(missing_ok=True)

    def _named(self, arrival: Arrival, spool: IO[bytes]) -> Written:
        spool.flush()
        length = spool.tell()
        study, series = _examine(arrival, spool)
        os.fsync(spool.fileno())
        spool.close()
        whole = Path(spool.name)
        folder = self._folder / study / series
        new = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        path, there = _place(whole, folder, arrival.sop_instance_uid)
        for each in (folder, folder.parent, self._folder) if new else (folder,):
            _sync(each)
        return Written(
            path,
            arrival.sop_class_uid,
            arrival.sop_instance_uid,
            arrival.transfer_syntax_uid,
            length,
            there=there,
        )


def _examine(arrival: Arrival, spool: IO[bytes]) -> tuple[str, str]:
    """Study and Series Instance UID of a spooled file, both of them UIDs.

    Raises: NotTaken, when its data set cannot be read to its end, or is not what the command said.
    """
    whole = memoryview(mmap(spool.fileno(), 0, access=ACCESS_READ))
    try:
        found = scan(whole[len(arrival.file_meta) :], arrival.transfer_syntax_uid)
    except DataSetError as error:
        raise NotTaken(f"Data set unreadable: {error.what}", status.CANNOT_UNDERSTAND) from error
    uids = {tag: found.text(tag) for tag in _UIDS}
    sop_class_uid, sop_instance_uid, study, series = uids.values()
    if (sop_class_uid, sop_instance_uid) != (arrival.sop_class_uid, arrival.sop_instance_uid):
        what = "The data set's SOP class or instance is not the command's"
        raise NotTaken(what, status.DOES_NOT_MATCH_SOP_CLASS)
    bad = [name for (tag, name) in _UIDS.items() if not is_valid_uid(uids[tag])]
    if bad:
        raise NotTaken(f"{bad[0]} is missing or no UID", status.CANNOT_UNDERSTAND)
    return study, series


def _place(whole: Path, folder: Path, sop_instance_uid: str) -> tuple[Path, bool]:
    """Name a file that is whole; whether one with its content was there already."""
    number = 1
    while True:
        path = folder / (f"{sop_instance_uid}.dcm" if number == 1 else f"{sop_instance_uid}.{number}.dcm")
        try:
            os.link(whole, path)
        except FileExistsError:
            if cmp(whole, path, shallow=False):
                whole.unlink()
                return path, True
            number += 1
        except OSError:
            if path.exists():
                raise
            whole.replace(path)  # a file system without hard links
            return path, False
        else:
            whole.unlink()
            return path, False


def _sync(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
