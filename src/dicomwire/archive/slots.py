"""Memory in which instances arrive, shared with the process that writes them.

A slot takes one instance from its first byte until it is answered, so its bytes are copied once and never
sent. Slots are used again last in, first out: their pages are there and warm. The file behind them is sparse,
and what many slots once needed goes back to the system.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from typing import Final

_TOTAL: Final = 8 << 30  # bytes of address space; pages take memory only once they are written
_MOST: Final = 8192
_KEPT: Final = 16 << 20  # bytes that free slots keep


class Slot:
    """Room for one instance.

    Attributes:
        number: by which the other side knows it.
        view: its bytes.
        used: how many of them were ever written since they were last given back.
    """

    __slots__ = ("number", "used", "view")

    def __init__(self, number: int, view: memoryview) -> None:
        self.number = number
        self.view = view
        self.used = 0


class Slots:
    """The slots of an archive; those that take and give are one thread."""

    def __init__(self, size: int, descriptor: int | None = None) -> None:
        """size: bytes of a slot. descriptor: of the file, when the other side has made it."""
        self.size = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        self._count = max(1, min(_MOST, _TOTAL // self.size))
        self.descriptor = _file(self.size * self._count) if descriptor is None else descriptor
        self._map = mmap.mmap(self.descriptor, self.size * self._count)
        self._view = memoryview(self._map)
        self._made = 0
        self._free: list[Slot] = []
        self._kept = 0

    def take(self) -> Slot | None:
        """One that is free; None when none is."""
        if self._free:
            slot = self._free.pop()
            self._kept -= slot.used
            return slot
        if self._made == self._count:
            return None
        slot = Slot(self._made, self.view(self._made, self.size))
        self._made += 1
        return slot

    def give(self, slot: Slot, used: int) -> None:
        """It is free again. used: bytes that were written to it."""
        slot.used = max(slot.used, used)
        if self._kept + slot.used > _KEPT:
            self._map.madvise(mmap.MADV_REMOVE, slot.number * self.size, self.size)
            slot.used = 0
        self._kept += slot.used
        self._free.append(slot)

    def view(self, number: int, length: int) -> memoryview:
        """The first bytes of a slot."""
        start = number * self.size
        return self._view[start : start + length]

    def close(self) -> None:
        """Give up the file; the memory stays for as long as somebody looks at it."""
        os.close(self.descriptor)
        self._free.clear()


def _file(size: int) -> int:
    """A file without a name, in memory where the system has such."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("dicomwire-arrivals")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    return descriptor
