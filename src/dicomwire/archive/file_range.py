"""Bytes of a file that nobody needs to look at: whoever sends them has the kernel take them from there."""

from __future__ import annotations

import os
from typing import Protocol


class OpenFile(Protocol):
    """A file that is open for as long as this lives."""

    def fileno(self) -> int: ...


class FileRange:
    """Bytes of an open file.

    Attributes:
        file: what they are in; it stays open for as long as this lives.
        offset: of the first one.
    """

    __slots__ = ("_length", "file", "offset")

    def __init__(self, file: OpenFile, offset: int, length: int) -> None:
        self.file = file
        self.offset = offset
        self._length = length

    def __len__(self) -> int:
        return self._length

    def cut(self, start: int, end: int) -> FileRange:
        """Its bytes from `start` to before `end`, which are in it."""
        return FileRange(self.file, self.offset + start, end - start)

    def read(self) -> bytes:
        """A copy, for who cannot take it from the file. Raises: OSError, when the file ends before."""
        return read_exactly(self.file.fileno(), self.offset, self._length)


def read_exactly(descriptor: int, offset: int, length: int) -> bytes:
    """Bytes of a file. Raises: OSError, when they cannot be read or the file ends before."""
    data = os.pread(descriptor, length, offset)
    while len(data) < length:  # Linux gives at most 2 GiB, and less behind a signal
        more = os.pread(descriptor, length - len(data), offset + len(data))
        if not more:
            raise OSError(f"the file ends at byte {offset + len(data)}; {offset + length} bytes are wanted")
        data += more
    return data
