"""kill -9 under load: whatever a client saw acknowledged is found by a query and read back bit for bit."""

from __future__ import annotations

import random
import signal

import pytest

from tests.crash.traffic import Traffic, instances, lost
from tests.interop.support import Node, run

ROUNDS = 5


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_acknowledged_is_lost_by_kill_9(node: Node, seed: int) -> None:
    """Round after round on the same folder, killed after a random number of acknowledgements."""
    when = random.Random(seed)
    node.start()
    traffic = Traffic(node, instances(seed))
    for _ in range(ROUNDS):
        traffic.start()
        traffic.wait_for(when.randrange(1, 150))
        assert node.stop(signal.SIGKILL) == -signal.SIGKILL
        traffic.join()
        node.start()
        assert lost(node, traffic.acknowledged) == []
    assert traffic.refused == []


def test_a_node_killed_while_it_recovers_recovers_later(node: Node) -> None:
    traffic = Traffic(node, instances(3))
    node.start()
    traffic.start()
    traffic.wait_for(200)
    node.stop(signal.SIGKILL)
    traffic.join()
    for _ in range(3):
        node.launch()
        node.stop(signal.SIGKILL)
    node.start()
    assert lost(node, traffic.acknowledged) == []


def test_a_killed_node_s_archive_verifies(node: Node) -> None:
    traffic = Traffic(node, instances(4))
    node.start()
    traffic.start()
    traffic.wait_for(100)
    node.stop(signal.SIGKILL)
    traffic.join()
    node.start()
    assert node.stop() == 0
    verified = run("dicomwire", "archive", "verify", "--data", node.data)
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_the_catalogue_can_be_thrown_away(node: Node) -> None:
    """It is derived from the segments: `archive rebuild` makes it again."""
    traffic = Traffic(node, instances(5))
    node.start()
    traffic.start()
    traffic.wait_for(100)
    node.stop(signal.SIGKILL)
    traffic.join()
    rebuilt = run("dicomwire", "archive", "rebuild", "--data", node.data)
    assert rebuilt.returncode == 0, rebuilt.stdout + rebuilt.stderr
    node.start()
    assert lost(node, traffic.acknowledged) == []
