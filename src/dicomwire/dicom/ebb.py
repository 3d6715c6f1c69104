"""Memory given back to the system: pages of mapped files while somebody works on them, and a heap with holes.

What a process has mapped and touched counts as its memory. Pages of files need not stay in it: who wants them
again gets them from the system's cache or from the disk.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from ctypes import CDLL
from mmap import MADV_DONTNEED, mmap
from typing import Final

from dicomwire.dicom.encoding import Buffer

_RESIDENT: Final = 16 << 20  # bytes read from a map before its pages are given back
_M_TRIM_THRESHOLD: Final = -1  # of malloc.h
_M_MMAP_THRESHOLD: Final = -3
_INTERVAL: Final = 0.005  # seconds, in which a fast codec touches about 4 MB


class Ebb:
    """The maps of one process whose pages are given back."""

    def __init__(self) -> None:
        self._maps: weakref.WeakSet[mmap] = weakref.WeakSet()
        self._lock = threading.Lock()

    def watch(self, mapped: mmap) -> None:
        """Give back the pages of a map of a file, as long as there is one."""
        with self._lock:
            self._maps.add(mapped)

    def forget(self) -> None:
        """Give back all pages now."""
        with self._lock:
            maps = list(self._maps)
        for mapped in maps:
            mapped.madvise(MADV_DONTNEED)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Pages are given back all the time, also while a codec is at work, until this is left."""
        done = threading.Event()

        def ebb() -> None:
            while not done.wait(_INTERVAL):
                self.forget()

        thread = threading.Thread(target=ebb, name="ebb", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            self.forget()


def ebbing(mapped: mmap, pieces: Iterable[Buffer]) -> Generator[Buffer, None, None]:
    """Pieces read from a map of a file, whose pages are given back behind every few of them."""
    read = 0
    for piece in pieces:
        yield piece
        read += len(piece)
        if read > _RESIDENT:
            mapped.madvise(MADV_DONTNEED)
            read = 0


def keep_heap(blocks: int, kept: int) -> None:
    """Have the heap hold blocks of up to so many bytes, and keep some of what is free for the next ones.

    Else each piece of a body is mapped, filled with zeros page by page, and given back. glibc alone can.
    """
    with suppress(AttributeError, OSError):
        heap = CDLL(None)
        heap.mallopt(_M_MMAP_THRESHOLD, blocks)
        heap.mallopt(_M_TRIM_THRESHOLD, kept)


def trim_heap() -> None:
    """Give the system back what is free in the heap between blocks that are not; glibc alone can."""
    with suppress(AttributeError, OSError):
        CDLL(None).malloc_trim(0)
