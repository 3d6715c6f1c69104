"""Nodes that are killed, and a disk whose power can be cut."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.disk import Disk
from tests.interop.conftest import require
from tests.interop.support import Node


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """A node that is not started yet; tests kill it and start it again on the same folder."""
    require(Node)
    node = Node(tmp_path / "node")
    yield node
    node.stop()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """An ext4 file system in a file: needs root, mkfs.ext4 and a loop device."""
    missing = "root" if os.geteuid() else "mkfs.ext4" if not shutil.which("mkfs.ext4") else ""
    if missing:
        pytest.skip(f"needs {missing}")
    disk = Disk(tmp_path / "disk.image", tmp_path / "disk")
    disk.make()
    yield disk
    disk.unmount()


@pytest.fixture
def node_on_disk(tmp_path: Path, disk: Disk) -> Iterator[Node]:
    """A node whose data folder lies on the disk; it is stopped before the disk is unmounted."""
    require(Node)
    node = Node(tmp_path / "node", data_folder=disk.folder / "data")
    yield node
    node.stop()
