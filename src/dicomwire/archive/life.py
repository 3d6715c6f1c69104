"""What runs an archive's writer: a process of its own, or a thread."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, Literal, Protocol

_COMMAND: Final = "import sys; from dicomwire.archive.writer import main; main(int(sys.argv[1]))"
_spare: list[tuple[_Process, socket.socket]] = []


class Life(Protocol):
    """What runs a writer."""

    def end(self) -> str:
        """Wait until it has ended, which it does when its socket is closed. Returns: how."""


def begin(kind: Literal["process", "thread"], memory: int) -> tuple[Life, socket.socket]:
    """Have a writer run.

    memory: descriptor of the memory in which instances arrive.
    Returns: what runs it, and our end of its socket.
    """
    if kind == "thread":
        return _thread(memory)
    life, ours = _spare.pop() if _spare else _process()
    with suppress(OSError):  # it has ended, which the line will tell
        socket.send_fds(ours, [b"\0"], [memory])
    return life, ours


@contextmanager
def begun_early() -> Iterator[None]:
    """A process for the next writer: it starts while this one does, which knows no settings yet."""
    _spare.append(_process())
    try:
        yield
    finally:
        while _spare:  # nobody wanted it
            life, ours = _spare.pop()
            ours.close()
            life.kill()


def _thread(memory: int) -> tuple[Life, socket.socket]:
    from dicomwire.archive.writer import Writer  # not before a process is begun early

    ours, theirs = socket.socketpair()
    return _Thread(threading.Thread(target=Writer(theirs, os.dup(memory)).run, name="writer")), ours


def _process() -> tuple[_Process, socket.socket]:
    ours, theirs = socket.socketpair()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-c", _COMMAND, str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            env=environment,
            start_new_session=True,  # a terminal's interrupt is for the node, which ends its writer
        )
    return _Process(process), ours


class _Thread:
    def __init__(self, thread: threading.Thread) -> None:
        self._thread = thread
        thread.daemon = True
        thread.start()

    def end(self) -> str:
        self._thread.join()
        return "its thread ended; the log says why"


class _Process:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def kill(self) -> None:
        """End it before it has been given an archive."""
        self._process.kill()
        self._process.wait()

    def end(self) -> str:
        status = self._process.wait()
        if status >= 0:
            return f"exit status {status}"
        try:
            return f"ended by {signal.Signals(-status).name}"
        except ValueError:
            return f"ended by signal {-status}"
