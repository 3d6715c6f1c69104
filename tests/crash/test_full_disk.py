"""A full disk: stores are refused with A700 and 507, and taken again by themselves once there is room."""

from __future__ import annotations

import os

from tests.crash.disk import Disk
from tests.crash.traffic import Traffic, instances, lost
from tests.interop.support import Node, bundled_files

FULL = 507


def test_a_full_disk_refuses_and_recovers_by_itself(node_on_disk: Node, disk: Disk) -> None:
    node = node_on_disk
    node.start()
    traffic = Traffic(node, instances(31))
    traffic.start()
    traffic.wait_for(50)
    ballast = disk.folder / "ballast"
    _fill(ballast)
    traffic.wait_for_refusal()
    traffic.join()
    assert {status for status in traffic.refused if status > 0xFFF} <= set(range(0xA700, 0xA800))
    assert {status for status in traffic.refused if status <= 0xFFF} <= {FULL}
    assert lost(node, traffic.acknowledged) == []
    ballast.unlink()
    file = next(each for each in bundled_files() if each.path.name == "CT_small.dcm")
    assert node.c_store(file) == 0x0000
    mr = next(each for each in bundled_files() if each.path.name == "MR_small.dcm")
    assert node.stow([mr.path.read_bytes()]).status == 200
    assert node.stop() == 0
    node.start()
    assert lost(node, traffic.acknowledged) == []


def _fill(ballast: os.PathLike[str]) -> None:
    """Write until the file system has no room at all."""
    with open(ballast, "wb", buffering=0) as file:
        size = 1 << 24
        while size:
            try:
                os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, size)
            except OSError:
                size >>= 1
