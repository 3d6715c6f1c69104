"""What scenes are made of: DCMTK's programs, pynetdicom's peers, raw sockets; and the list of scenes."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pynetdicom import AE, build_context
from pynetdicom.sop_class import (
    CTImageStorage,
    Verification,
)

from benchmarks.receivers import free_port, system_program
from tests.interop.network import Network

LOOPBACK = "127.77.0.1"  # an address of this test alone, so that nothing else is recorded
CT = str(get_testdata_file("CT_small.dcm"))
ILE = "1.2.840.10008.1.2"
ELE = "1.2.840.10008.1.2.1"
PLAIN = [ELE, ILE]
DESTINATION = {"contexts": [build_context(CTImageStorage, PLAIN)], "bind_address": (LOOPBACK, 0)}


@dataclass
class Scene:
    """One fault.

    Attributes:
        code: which cause must be found.
        play: makes it happen; returns the port whose stories are to be looked at.
        verdict: the cause is the verdict, else one of the findings.
    """

    code: str
    play: Callable[[ExitStack, Path], int]
    verdict: bool = True


@dataclass
class NetworkScene:
    """One fault of the network, or of the recording itself, on machines of its own.

    Attributes:
        code: which cause must be found; "" for clean traffic.
        play: makes it happen, and records it.
        verdict: the cause is the verdict, else one of the findings.
    """

    code: str
    play: Callable[[Network, ExitStack, Path], None]
    verdict: bool = True


ALONE = ("move-destination-unknown", "move-destination-unreachable")
"""Scenes that play one after the other: a connection that is refused names nobody it belongs to."""

SCENES: dict[str, Scene] = {}
NETWORK_SCENES: dict[str, NetworkScene] = {}


def scene(code: str, name: str = "", *, verdict: bool = True) -> Callable[..., Callable[..., int]]:
    def keep(play: Callable[[ExitStack, Path], int]) -> Callable[[ExitStack, Path], int]:
        SCENES[name or code] = Scene(code, play, verdict)
        return play

    return keep


def network_scene(code: str, name: str = "", *, verdict: bool = True) -> Callable[..., Callable[..., None]]:
    def keep(
        play: Callable[[Network, ExitStack, Path], None],
    ) -> Callable[[Network, ExitStack, Path], None]:
        NETWORK_SCENES[name or code] = NetworkScene(code, play, verdict)
        return play

    return keep


def run(*command: str, timeout: float = 20) -> int:
    """A program of DCMTK; its exit status is its own affair."""
    program, *arguments = command
    path = system_program(program) or program
    done = subprocess.run([path, *arguments], capture_output=True, timeout=timeout, check=False)
    return done.returncode


def echoscu(port: int, *flags: str, host: str = LOOPBACK) -> int:
    return run("echoscu", "-to", "2", "-ta", "2", "-td", "2", *flags, host, str(port))


@contextmanager
def program(*command: str, port: int) -> Iterator[int]:
    """A server of DCMTK, from when it listens until the end."""
    path = system_program(command[0]) or command[0]
    process = subprocess.Popen(
        [path, *command[1:]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
    )
    try:
        await_listening(port)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def await_listening(port: int) -> None:
    """Until the kernel lists the port; a connection would be seen in the capture."""
    wanted = f":{port:04X} 00000000:0000 0A"
    give_up = time.monotonic() + 10
    while wanted not in Path("/proc/thread-self/net/tcp").read_text() and time.monotonic() < give_up:
        threading.Event().wait(0.02)


def storescp(stack: ExitStack, folder: Path, *flags: str) -> int:
    port = free_port()
    out = folder / f"storescp-{port}"
    out.mkdir()
    return stack.enter_context(program("storescp", "-od", str(out), *flags, str(port), port=port))


def raw_server(
    stack: ExitStack, answer: Callable[[socket.socket], None], times: int = 1, *, host: str = LOOPBACK
) -> int:
    """A socket that is handled by a function, connection by connection."""
    listener = socket.create_server((host, 0))
    listener.settimeout(15)

    def serve() -> None:
        with suppress(OSError):
            for _ in range(times):
                connection, _ = listener.accept()
                connection.settimeout(10)
                with connection, suppress(OSError):
                    answer(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    stack.callback(listener.close)
    return int(listener.getsockname()[1])


def raw_client(port: int, *sent: bytes, wait: float = 1.0, host: str = LOOPBACK) -> bytes:
    """Bytes to a port, and what comes back."""
    received = b""
    with socket.create_connection((host, port), timeout=wait) as connection, suppress(OSError):
        for data in sent:
            connection.sendall(data)
            with suppress(TimeoutError):
                received += connection.recv(65_536)
    return received


def scp(
    stack: ExitStack,
    *classes: str,
    title: str = "PNSCP",
    handlers: list[Any] | None = None,
    host: str = LOOPBACK,
    **settings: Any,
) -> int:
    """A pynetdicom SCP."""
    ae = AE(title)
    for sop_class in (Verification, *classes):
        ae.add_supported_context(sop_class, PLAIN)
    for name, value in settings.items():
        setattr(ae, name, value)
    server = ae.start_server((host, 0), block=False, evt_handlers=handlers or [])
    stack.callback(server.shutdown)
    return int(server.server_address[1])


@contextmanager
def association(
    port: int,
    *classes: str,
    syntax: Any = PLAIN,
    called: str = "PNSCP",
    host: str = LOOPBACK,
    **settings: Any,
) -> Iterator[Any]:
    """A pynetdicom SCU's association."""
    ae = AE("PNSCU")
    ae.acse_timeout = ae.dimse_timeout = 5
    for sop_class in classes or (Verification,):
        ae.add_requested_context(sop_class, syntax)
    found = ae.associate(host, port, ae_title=called, **settings)
    try:
        yield found
    finally:
        if found.is_established:
            found.release()


def identifier(level: str | None = "STUDY", **keys: str) -> Dataset:
    data_set = Dataset()
    if level:
        data_set.QueryRetrieveLevel = level
    data_set.PatientID = "4711"
    for keyword, value in keys.items():
        setattr(data_set, keyword, value)
    return data_set


def image() -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dcmread(CT)


CLEAN: dict[str, Callable[[ExitStack, Path], int]] = {}


def clean(play: Callable[[ExitStack, Path], int]) -> Callable[[ExitStack, Path], int]:
    CLEAN[play.__name__.replace("_", " ")] = play
    return play
