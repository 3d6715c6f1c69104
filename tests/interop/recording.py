"""Recordings of an interface by dumpcap, of which no packet is missing at either end."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MARKS = 9  # the port of the discard service (RFC 863), to which marks are sent
READY_WITHIN = 20.0  # seconds


def require_recording(*programs: str) -> None:
    """Skip, or fail on the build machine, where nothing can be recorded."""
    missing = [program for program in ("dumpcap", *programs) if shutil.which(program) is None]
    if os.geteuid() != 0:
        missing.append("root, who may capture")
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"missing {', '.join(missing)}")
    if missing:
        pytest.skip(f"missing {', '.join(missing)}")


@contextmanager
def recorded(
    file: Path, interface: str, address: str, *options: str, wanted: str = "tcp or udp or icmp or icmp6"
) -> Iterator[None]:
    """Records an interface.

    Args:
        file: is written.
        interface: in the network namespace of this thread.
        address: whose packets pass the interface; marks are sent to it.
        options: further ones of dumpcap.
        wanted: capture filter.
    """
    command = ["dumpcap", "-i", interface, "-q", "-B", "64", *options]
    command += ["-f", f"udp port {MARKS} or ({wanted})", "-w", str(file)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as capture:
        assert capture.stderr is not None
        try:
            assert any(line.startswith("File:") for line in capture.stderr), "dumpcap does not record"
            _mark(file, address)
            yield
            _mark(file, address)
        finally:
            capture.send_signal(signal.SIGINT)
            capture.wait(READY_WITHIN)


def _mark(file: Path, address: str) -> None:
    """Until a datagram that is sent now is in the file: then everything before it is, too."""
    mark = uuid.uuid4().bytes
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    give_up = time.monotonic() + READY_WITHIN
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        while time.monotonic() < give_up:
            sender.sendto(mark, (address, MARKS))
            threading.Event().wait(0.05)
            if file.exists() and mark in file.read_bytes():
                return
    raise AssertionError(f"{file.name}: a datagram to {address} was not recorded")
