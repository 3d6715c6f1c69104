"""Studies, series and instances as one ZIP file: a file-set with its DICOMDIR (PS3.10 8, PS3.18 8.6.1.3).

Files are in it as they are stored. It is written as it is sent, so that its size is bounded by nothing; pixel
data rarely shrink, so nothing is compressed.
"""

from __future__ import annotations

from collections.abc import Iterable
from io import RawIOBase
from typing import Final
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from dicomwire.archive.archive import Archive, Stored
from dicomwire.archive.dicomdir import Dicomdir
from dicomwire.archive.exchange import DICOMDIR, FileIds
from dicomwire.web.responses import Buffer, Chunks

ZIP: Final = "application/zip"
_WRITTEN: Final = (1980, 1, 1, 0, 0, 0)  # the same content gives the same bytes


class _Outlet(RawIOBase):
    """A file that only grows; what was written to it is taken away."""

    def __init__(self) -> None:
        self._written: list[Buffer] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer) -> int:  # type: ignore[override]
        """data: kept as it is until it is taken, so it must not change."""
        self._written.append(data)
        return len(data)

    def taken(self) -> list[Buffer]:
        written, self._written = self._written, []
        return written


def packaged(archive: Archive, plan: Iterable[Stored], file_set_uid: str) -> Chunks:
    """A ZIP file of instances.

    file_set_uid: a new UID, of the DICOMDIR as an instance.
    Raises: ArchiveError, when an instance was removed since the plan was made.
    """
    outlet, directory, names = _Outlet(), Dicomdir(), FileIds()
    with ZipFile(outlet, "w", ZIP_STORED) as package:
        for stored in plan:
            path = names.path(stored)
            with archive.open_stored(stored) as opened:
                directory.add(stored, opened.view[stored.data_set_offset :], path)
                with package.open(ZipInfo(path.as_posix(), _WRITTEN), "w", force_zip64=True) as member:
                    for piece in opened.slices():
                        member.write(piece)
                        yield from outlet.taken()
        with package.open(ZipInfo(DICOMDIR, _WRITTEN), "w", force_zip64=True) as member:
            for record in directory.encoded(file_set_uid):
                member.write(record)
    yield from outlet.taken()
