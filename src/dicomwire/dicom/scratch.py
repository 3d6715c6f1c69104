"""Room for large frames: arrays in files without a name, whose pages do not stay in memory.

A frame of 4096 x 4096 colours is held several times over on its way from one codestream to another; a node
has less memory for it than that.
"""

from __future__ import annotations

import errno
import os
import tempfile
from math import prod
from mmap import mmap
from typing import Final, TypeVar

import numpy
from numpy.typing import NDArray

from dicomwire.dicom.ebb import Ebb

OCTET: Final = numpy.dtype(numpy.uint8)
LARGE: Final = 4 << 20  # bytes; what is smaller stays in memory

Kind = TypeVar("Kind", bound=numpy.integer)


class Scratch:
    """Where arrays lie: in memory, or in files as long as they are used.

    Attributes:
        large: bytes from which an array lies in a file, in the folder for temporary ones.
    """

    def __init__(self, ebb: Ebb | None = None, large: int = LARGE) -> None:
        """ebb: gives back the pages of arrays in files; None: none lies in a file."""
        self.large = large if ebb is not None else 1 << 62
        self._ebb = ebb

    def empty(self, shape: tuple[int, ...], kind: numpy.dtype[Kind]) -> NDArray[Kind]:
        """An array with any values.

        Raises: OSError, when there is too little room on the disk.
        """
        length = prod(shape) * kind.itemsize
        if self._ebb is None or length < self.large or not length:
            return numpy.empty(shape, kind)
        with tempfile.TemporaryFile() as file:
            _allocate(file.fileno(), length)
            mapped = mmap(file.fileno(), length)
        self._ebb.watch(mapped)
        return numpy.frombuffer(mapped, kind).reshape(shape)


def _allocate(descriptor: int, length: int) -> None:
    """Blocks for a file: a hole that cannot be filled when it is touched ends the process (SIGBUS)."""
    disk = os.fstatvfs(descriptor)
    if length > disk.f_bavail * disk.f_frsize // 2:  # the rest is for what is stored meanwhile
        raise OSError(errno.ENOSPC, f"no room on the disk for {length} bytes of an image on their way")
    os.posix_fallocate(descriptor, 0, length)


IN_MEMORY: Final = Scratch()
"""No array lies in a file."""
