"""Peers as fixtures, each started on free ports and stopped by its process id.

A peer that is not installed skips its tests, unless the environment says CI=true: then they fail.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from benchmarks.receivers import DcmQRSCP, Orthanc, Receiver, StoreSCP
from tests.interop.support import Node

StartNode = Callable[..., Node]
Peer = TypeVar("Peer", bound=Receiver)


@dataclass
class BitPreservingStoreSCP(StoreSCP):
    """DCMTK's storescp that takes every transfer syntax it knows and writes data sets exactly as read."""

    name = "storescp +B"

    def command(self) -> list[str]:
        *command, port = super().command()
        return [*command, "+B", "+xa", "--promiscuous", port]

    def received(self) -> dict[str, bytes]:
        """The Part 10 files it wrote, by SOP instance UID."""
        return {each.name.split(".", 1)[1]: each.read_bytes() for each in self.folder.iterdir()}


def require(receiver: type[Receiver]) -> None:
    """Skip, or fail on the build machine, where the receiver is not installed."""
    missing = receiver.missing()
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"missing {missing}")
    if missing:
        pytest.skip(f"missing {missing}")


@pytest.fixture
def start_node(tmp_path: Path) -> Iterator[StartNode]:
    """Start nodes, each in a folder of its own: `start_node(*flags, **environment)`."""
    require(Node)
    with ExitStack() as stack:
        started: list[Node] = []

        def start(*flags: str, **variables: str) -> Node:
            node = Node(tmp_path / f"node-{len(started)}", flags=flags, variables=variables)
            started.append(node)
            stack.callback(node.stop)
            node.start()
            return node

        yield start


@pytest.fixture
def node(start_node: StartNode) -> Node:
    """One node with its default settings."""
    return start_node()


@pytest.fixture
def node_with_peers(start_node: StartNode, tmp_path: Path) -> Callable[..., Node]:
    """Start a node that knows peers by title and port, with more settings."""

    def start(peers: dict[str, int], settings: str = "") -> Node:
        entries = [
            f'[[peers]]\nae_title = "{title}"\nhost = "127.0.0.1"\nport = {port}\n'
            for title, port in peers.items()
        ]
        configuration = tmp_path / "peers.toml"
        configuration.write_text(settings + "\n" + "".join(entries))
        return start_node("--config", str(configuration))

    return start


@pytest.fixture
def storescp(tmp_path: Path) -> Iterator[BitPreservingStoreSCP]:
    """DCMTK's storescp, writing as read."""
    yield from _running(BitPreservingStoreSCP, tmp_path / "storescp")


@pytest.fixture
def dcmqrscp(tmp_path: Path) -> Iterator[DcmQRSCP]:
    """DCMTK's archive."""
    yield from _running(DcmQRSCP, tmp_path / "dcmqrscp")


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[Orthanc]:
    """Orthanc with Debian's configuration."""
    yield from _running(Orthanc, tmp_path / "orthanc")


@pytest.fixture
def dcmtk() -> None:
    """DCMTK's clients are installed."""
    require(StoreSCP)


def _running(peer: type[Peer], folder: Path) -> Iterator[Peer]:
    require(peer)
    started = peer(folder)
    started.start()
    try:
        yield started
    finally:
        started.stop()
