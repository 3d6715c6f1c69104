"""The disk that an archive is on: whether there is room on it, and whether it can be trusted."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from dicomwire.archive.segments import SegmentWriter

log = structlog.get_logger()

OUT_OF_SPACE: Final = "Out of disk space"
_FRESH: Final = 0.1  # seconds that the free space of the disk is taken as known
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class Disk:
    """The disk as one of the archive's sides knows it.

    Attributes:
        broken: why nothing more can be stored; "" while it can.
    """

    def __init__(self, folder: Path, floor: int, on_broken: Callable[[str], None]) -> None:
        """floor: bytes that are kept free. on_broken: told when it fails, in the thread that notices."""
        self.broken = ""
        self._folder = folder
        self._floor = floor
        self._on_broken = on_broken
        self._asked = -_FRESH
        self._free = 0

    def room(self, size: int) -> str:
        """Why there is no room for `size` bytes more; "" when there is.

        The disk is asked a few times a second only; what comes between is far below the floor.
        """
        if self.broken:
            return self.broken
        now = time.monotonic()
        if now - self._asked > _FRESH or self._free - size < self._floor:
            try:
                disk = os.statvfs(self._folder)
            except OSError as error:
                return words_for(error)
            self._asked, self._free = now, disk.f_bavail * disk.f_frsize
        return "" if self._free - size >= self._floor else OUT_OF_SPACE

    def sync(self, writer: SegmentWriter) -> None:
        """Make a segment durable; any thread.

        Raises: OSError. But for a full disk nothing more is stored after it: the kernel may have dropped what
            it could not write, and the next sync would say nothing of that.
        """
        try:
            writer.sync()
        except OSError as error:
            if error.errno not in _FULL:
                self.broken = f"Disk failed to sync: {error.strerror}; restart after repair"
                log.critical("archive.sync_failed", segment=writer.path.name, error=str(error))
                self._on_broken(self.broken)
            raise


def words_for(error: OSError) -> str:
    """Why nothing could be written, for the one who sent it."""
    if error.errno in _FULL:
        return OUT_OF_SPACE
    return f"Archive: {error.strerror}"
