"""A file system of its own whose power can be cut (Linux, ext4, root)."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

EXT4_IOC_SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32)
NO_LOG_FLUSH = 2  # EXT4_GOING_FLAGS_NOLOGFLUSH: what the journal has not written yet is lost


@dataclass
class Disk:
    """An ext4 file system in the file `image`, mounted on `folder`."""

    image: Path
    folder: Path
    size: int = 1 << 30  # bytes; the file is sparse
    mounted: bool = False

    def make(self) -> None:
        """Make the file system and mount it."""
        self.folder.mkdir()
        with self.image.open("wb") as file:
            file.truncate(self.size)
        _run("mkfs.ext4", "-q", "-E", "lazy_itable_init=1", str(self.image))
        self.mount()

    def mount(self) -> None:
        """Mount it, which replays the journal after a cut."""
        _run("mount", "-o", "loop", str(self.image), str(self.folder))
        self.mounted = True

    def unmount(self) -> None:
        """Unmount it if it is mounted. The writer of a node that was killed ends a moment after it."""
        if self.mounted:
            given_up = time.monotonic() + 10
            while subprocess.run(["umount", str(self.folder)], check=False, capture_output=True).returncode:
                assert time.monotonic() < given_up, f"{self.folder} stays busy"
                time.sleep(0.02)
            self.mounted = False

    def cut_power(self) -> None:
        """From now on nothing reaches the disk: unsynced pages and the journal's unwritten part are lost."""
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(folder)

    def power_up(self) -> None:
        """Mount again what the disk holds."""
        self.unmount()
        self.mount()


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
