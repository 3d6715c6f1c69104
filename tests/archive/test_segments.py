"""How far a segment is reserved ahead, and what readers leave of it in memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy
import pytest

from dicomwire.archive.records import SEGMENT_HEADER
from dicomwire.archive.segments import EXTENT, OpenStored, SegmentReader, SegmentWriter, name_of
from tests.dicom.test_scratch import resident

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


def sent(opened: OpenStored) -> None:
    assert all(map(bytes, opened.slices()))


def looked_at(opened: OpenStored) -> None:
    assert bytes(opened.view[::4096])


@pytest.mark.parametrize("read", [sent, looked_at])
def test_a_large_instance_leaves_no_pages_and_a_small_one_does(
    tmp_path: Path, read: Callable[[OpenStored], None]
) -> None:
    (tmp_path / name_of(1)).write_bytes(bytes(6 * MIB))
    mapping = SegmentReader(tmp_path).open(1, 6 * MIB)
    address = numpy.frombuffer(mapping.view, numpy.uint8).ctypes.data
    with OpenStored(mapping, 0, 6 * MIB) as large:
        read(large)
        assert resident(address) > 0
    assert resident(address) == 0
    with OpenStored(mapping, 0, MIB) as small:
        read(small)
    assert resident(address) >= MIB
