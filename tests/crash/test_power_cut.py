"""A power cut under load: the file system is shut down without flushing, and mounted again."""

from __future__ import annotations

import random
import signal

import pytest

from tests.crash.disk import Disk
from tests.crash.traffic import Traffic, instances, lost
from tests.interop.support import Node

ROUNDS = 3


@pytest.mark.parametrize("seed", [11, 12])
def test_nothing_acknowledged_is_lost_by_a_power_cut(node_on_disk: Node, disk: Disk, seed: int) -> None:
    """The cut comes first and the process dies after it, so nothing it still does can reach the disk."""
    when = random.Random(seed)
    node = node_on_disk
    node.start()
    traffic = Traffic(node, instances(seed))
    for _ in range(ROUNDS):
        traffic.start()
        traffic.wait_for(when.randrange(1, 150))
        disk.cut_power()
        node.stop(signal.SIGKILL)
        traffic.join()
        disk.power_up()
        node.start()
        assert lost(node, traffic.acknowledged) == []


def test_an_empty_archive_survives_a_power_cut_right_after_the_first_instance(
    node_on_disk: Node, disk: Disk
) -> None:
    """Folder, segment and catalogue were all made moments ago: their names must be durable too."""
    node = node_on_disk
    node.start()
    traffic = Traffic(node, instances(21))
    traffic.start()
    traffic.wait_for(1)
    disk.cut_power()
    node.stop(signal.SIGKILL)
    traffic.join()
    disk.power_up()
    node.start()
    assert lost(node, traffic.acknowledged) == []


def test_a_disk_that_fails_is_never_acknowledged(node_on_disk: Node, disk: Disk) -> None:
    """After the disk is gone every store is refused, none hangs, and the node still answers."""
    node = node_on_disk
    node.start()
    traffic = Traffic(node, instances(22))
    traffic.start()
    traffic.wait_for(20)
    disk.cut_power()
    traffic.wait_for_refusal()
    node.stop(signal.SIGKILL)
    traffic.join()
    assert all(0xA700 <= status < 0xA800 or status in (500, 503, 507, 409) for status in traffic.refused)
    disk.power_up()
    node.start()
    assert lost(node, traffic.acknowledged) == []
