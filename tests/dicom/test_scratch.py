"""Arrays in files, and what keeps their pages out of memory."""

from __future__ import annotations

import gc
import os
import re
import tempfile
from collections.abc import Iterator
from mmap import ACCESS_READ, mmap
from pathlib import Path

import numpy
import pytest

from dicomwire.dicom import ebb
from dicomwire.dicom.ebb import Ebb
from dicomwire.dicom.scratch import IN_MEMORY, OCTET, Scratch

LENGTH = 8 << 20


def resident(start: int) -> int:
    """Bytes of memory of the map that begins at an address."""
    text = Path("/proc/self/smaps").read_text()
    found = re.search(rf"^0*{start:x}-.*?^Rss: +([0-9]+) kB", text, re.MULTILINE | re.DOTALL)
    assert found is not None
    return int(found[1]) << 10


def test_small_arrays_stay_in_memory() -> None:
    assert Scratch(Ebb(), large=100).empty((99,), OCTET).base is None
    assert IN_MEMORY.empty((10, 10), OCTET).base is None


def test_large_arrays_keep_what_they_hold_when_their_pages_are_given_back() -> None:
    pages = Ebb()
    array = Scratch(pages).empty((LENGTH // 4, 2), numpy.dtype("<u2"))
    array[:] = numpy.arange(LENGTH // 4).reshape(-1, 1) & 0xFFFF
    assert resident(array.ctypes.data) == LENGTH
    pages.forget()
    assert resident(array.ctypes.data) == 0
    assert numpy.array_equal(array[:, 1], numpy.arange(LENGTH // 4) & 0xFFFF)


def test_pages_go_while_somebody_works_and_come_when_he_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ebb, "_INTERVAL", 0.0001)
    pages = Ebb()
    array = Scratch(pages).empty((LENGTH,), OCTET)
    array[:] = 7
    with pages.running():
        while resident(array.ctypes.data):
            pass
        assert (array == 7).all()


def test_maps_of_others_are_given_back_too(tmp_path: Path) -> None:
    path = tmp_path / "segment"
    path.write_bytes(bytes(LENGTH))
    pages = Ebb()
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as mapped:
        pages.watch(mapped)
        view = numpy.frombuffer(mapped, numpy.uint8)
        assert not view.any()
        assert resident(view.ctypes.data) > 0
        pages.forget()
        assert resident(view.ctypes.data) == 0
        del view


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_files_have_no_name_and_go_with_their_arrays(folder: Path) -> None:
    def open_files() -> list[str]:
        found = []
        for line in Path("/proc/self/maps").read_text().splitlines():
            if str(folder) in line:
                found.append(line)
        return found

    array = Scratch(Ebb()).empty((LENGTH,), OCTET)
    assert os.listdir(folder) == []
    assert len(open_files()) == 1
    del array
    gc.collect()
    assert open_files() == []


def test_an_array_that_the_disk_has_no_room_for_is_refused(folder: Path) -> None:
    disk = os.statvfs(folder)
    with pytest.raises(OSError, match="no room"):
        Scratch(Ebb()).empty((disk.f_bavail * disk.f_frsize // 2 + 1,), OCTET)
    assert os.listdir(folder) == []
