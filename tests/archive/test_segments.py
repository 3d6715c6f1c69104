"""How far a segment is reserved ahead, on disks with much and with little room."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from dicomwire.archive.records import SEGMENT_HEADER
from dicomwire.archive.segments import EXTENT, SegmentWriter

MIB = 1 << 20
FLOOR = 256 * MIB


@pytest.mark.parametrize(
    ("free", "reserved"),
    [
        (FLOOR + 4 * EXTENT, EXTENT),
        (FLOOR + 8 * MIB, 2 * MIB),  # most of what is left is for the catalogue
        (FLOOR, SEGMENT_HEADER.size),
        (0, SEGMENT_HEADER.size),
    ],
)
def test_what_is_reserved_ahead_leaves_the_catalogue_room_to_grow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, reserved: int
) -> None:
    monkeypatch.setattr(os, "fstatvfs", lambda _: SimpleNamespace(f_bavail=free // 4096, f_frsize=4096))
    writer = SegmentWriter(tmp_path, 1, preallocate=True, floor=FLOOR)
    assert writer.path.stat().st_size == reserved
    writer.discard()
