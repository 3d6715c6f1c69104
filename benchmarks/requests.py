"""Metadata, stores and searches over DICOMweb, many at once, beside Orthanc's plug-in (PS3.18 10.4-10.6).

Eight processes, each with a connection that is kept alive, share the requests of a kind; the client only
moves bytes. Both receivers hold the same instances, stored over DIMSE before the clock starts. A kind counts
only if every answer has the status and at least the bytes that it has to.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import socket
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks import data, load, processes, queries
from benchmarks.load import LoadError
from benchmarks.receivers import RECEIVERS, Receiver
from benchmarks.webload import CLOSING, OPENING

CONNECTIONS = 8
RECEIVE = 1 << 18  # bytes of one read
TIMEOUT = 120.0  # seconds without a byte
OURS, THEIRS = "dicomwire", "orthanc"
PEAK = 250  # MB that a receiver may have at its peak


@dataclass(frozen=True, slots=True)
class Kind:
    """One transaction.

    Attributes:
        target: how many times the peer's rate is to be reached.
        store: instances of a data set are stored by it; else the study of 500 CT is read, or
        search: the archive of a setting of `queries` is searched.
        requests: how many of them.
        least: bytes that each answer has at least.
        alone: one after the other over one connection; the time to the first byte is kept.
    """

    name: str
    title: str
    target: float
    path: str = ""
    accept: str = ""
    store: str = ""
    search: str = ""
    requests: int = 0
    least: int = 0
    alone: bool = False


KINDS = (
    Kind("metadata", "instance metadata", 3, "/metadata", "application/dicom+json",
         requests=2000, least=2000),
    Kind("study-metadata", "study metadata of 500 instances", 8, "/metadata", "application/dicom+json",
         requests=5, least=500_000, alone=True),
    Kind("stow-small", "STOW-RS of 10 KB, one a request", 4, store="small", requests=2000),
    Kind("stow-ct", "STOW-RS of 525 KB, one a request", 2.5, store="ct", requests=600),
    Kind("qido-series", "QIDO-RS instances of a series of 100", 20, accept="application/dicom+json",
         search="series", requests=800, least=20_000),
    Kind("qido-id", "QIDO-RS studies by PatientID at 20,000 studies", 20, accept="application/dicom+json",
         search="20000", requests=800, least=1000),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Measured:
    """What one receiver did in one round. Times in seconds."""

    kind: str
    receiver: str
    round: int
    requests: int
    seconds: float
    first_byte: float
    cpu_seconds: float
    peak_bytes: int

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


def measure(
    names: Sequence[str], receivers: Sequence[str], rounds: int, folder: Path, tell: Callable[[str], None]
) -> list[Measured]:
    """Every kind, receiver by receiver, so many times."""
    found: list[Measured] = []
    for turn in range(rounds):
        for name in receivers:
            if RECEIVERS[name].missing():
                continue
            for one in _of_receiver(names, name, turn, folder):
                tell(
                    f"{one.kind} {one.receiver}: {one.rate:,.0f}/s, first byte {one.first_byte * 1e3:.0f} ms,"
                    f" {one.cpu_seconds / one.requests * 1e3:.2f} ms CPU each, {one.peak_bytes / 1e6:,.0f} MB"
                )
                found.append(one)
    return found


def _of_receiver(names: Sequence[str], name: str, turn: int, folder: Path) -> Iterator[Measured]:
    wanted = [kind for kind in KINDS if kind.name in names]
    for search, kinds in groupby(wanted, key=lambda kind: kind.search):
        with _running(name, folder) as receiver:
            study = data.load("ct", folder / "data")
            if search:
                queries.fill(receiver, queries.SETTINGS[search])
            elif not all(kind.store for kind in wanted if not kind.search):
                with load.send_raw(receiver.dimse_port, receiver.ae_title, study, associations=1):
                    pass
            for kind in kinds:
                yield _measured(kind, receiver, name, turn, study, folder)


@contextmanager
def _running(name: str, folder: Path) -> Iterator[Receiver]:
    """A receiver that holds nothing yet."""
    work = folder / f"requests-{os.getpid()}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, work, ignore_errors=True)
        receiver = RECEIVERS[name](work / name)
        stack.callback(receiver.stop)
        receiver.start()
        yield receiver


def _measured(
    kind: Kind, receiver: Receiver, name: str, turn: int, study: Sequence[data.Instance], folder: Path
) -> Measured:
    requests = list(_requests(kind, receiver, study, folder))
    os.sync()
    before = processes.usage(receiver.pid)
    processes.forget_peak(receiver.pid)
    seconds, first = _sent(receiver.url(""), requests, 1 if kind.alone else CONNECTIONS, kind.least)
    after = processes.usage(receiver.pid)
    cpu = after.cpu_seconds - before.cpu_seconds
    return Measured(kind.name, name, turn, len(requests), seconds, first, cpu, after.peak_bytes)


def _requests(
    kind: Kind, receiver: Receiver, study: Sequence[data.Instance], folder: Path
) -> Iterator[Callable[[], bytes]]:
    """What makes the bytes of each request."""
    root = receiver.url("")
    host, path = root.removeprefix("http://").split("/", 1)
    if kind.store:
        for number in range(kind.requests):
            yield partial(_store, kind.store, number, host, f"/{path}/studies")
        return
    for number in range(kind.requests):
        one = study[number % len(study)]
        resource = f"/{path}/studies/{one.study_instance_uid}"
        if kind.search:
            setting = queries.SETTINGS[kind.search]
            resource = f"/{path}{queries.of(number * 7 % setting.studies)[kind.name].path}"
        elif not kind.alone:
            resource += f"/series/{one.series_instance_uid}/instances/{one.sop_instance_uid}"
        head = f"GET {resource}{kind.path} HTTP/1.1\r\nHost: {host}\r\nAccept: {kind.accept}\r\n\r\n"
        yield partial(bytes, head.encode())


def _store(data_set: str, number: int, host: str, path: str) -> bytes:
    """A request that stores a new instance."""
    instance = data.make(data_set, 10_000 + number)
    body = OPENING + b"".join(instance.part10()) + CLOSING
    boundary = OPENING.split(b"\r\n")[1][2:].decode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nAccept: application/dicom+json\r\n"
        f'Content-Type: multipart/related; type="application/dicom"; boundary={boundary}\r\n'
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _sent(
    url: str, requests: Sequence[Callable[[], bytes]], connections: int, least: int
) -> tuple[float, float]:
    """Seconds for all requests, and the median of seconds to the first byte of an answer."""
    context = multiprocessing.get_context("fork")
    ends: list[Connection] = []
    with ExitStack() as stack:
        for number in range(connections):
            ours, theirs = context.Pipe()
            share = requests[number::connections]
            sender = context.Process(target=_send, args=(theirs, url, share, least), daemon=True)
            sender.start()
            theirs.close()
            stack.callback(sender.join, 30.0)
            ends.append(ours)
        for end in ends:
            _word(end)
        started = time.perf_counter()
        for end in ends:
            end.send("go")
        results = [_word(end) for end in ends]
    ended = max(result[0] for result in results)
    return ended - started, statistics.median(each for result in results for each in result[1])


def _word(end: Connection) -> tuple[float, list[float]]:
    said = end.recv()
    if isinstance(said, str):
        raise LoadError(said)
    return said  # type: ignore[no-any-return]


def _send(end: Connection, url: str, requests: Sequence[Callable[[], bytes]], least: int) -> None:
    host, port = url.removeprefix("http://").split("/", 1)[0].split(":")
    try:
        made = [request() for request in requests]
        with socket.create_connection((host, int(port)), TIMEOUT) as connected:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            buffer = bytearray(RECEIVE)
            end.send((0.0, []))
            end.recv()
            firsts = [_exchange(connected, request, buffer, least) for request in made]
        end.send((time.perf_counter(), firsts))
    except (LoadError, OSError) as error:
        end.send(str(error))


def _exchange(connected: socket.socket, request: bytes, buffer: bytearray, least: int) -> float:
    """Send one request and take its answer. Returns: seconds to the first byte."""
    started = time.perf_counter()
    connected.sendall(request)
    answer = bytearray()
    while b"\r\n\r\n" not in answer:
        length = connected.recv_into(buffer)
        if not length:
            raise LoadError(f"the connection was closed behind {bytes(answer[:200])!r}")
        answer += buffer[:length]
        if len(answer) == length:
            first = time.perf_counter() - started
    head, _, body = bytes(answer).partition(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    if status not in (200, 202):
        raise LoadError(f"answered {status}: {body[:300]!r}")
    fields = {
        line.split(b":", 1)[0].lower(): line.split(b":", 1)[1].strip() for line in head.split(b"\r\n")[1:]
    }
    if b"content-length" in fields:
        total = int(fields[b"content-length"])
        got = len(body)
        while got < total:
            got += (length := connected.recv_into(buffer))
            if not length:
                raise LoadError(f"the answer ends at {got} of {total} bytes")
    else:
        got = _chunked(connected, body, buffer)
    if got < least:
        raise LoadError(f"an answer has {got} bytes, at least {least} wanted: {body[:200]!r}")
    return first


def _chunked(connected: socket.socket, body: bytes, buffer: bytearray) -> int:
    """The length of a chunked body; its chunks are read to the last one's end (RFC 9112 7.1)."""
    total, waiting = 0, bytearray(body)
    while True:
        while (line := waiting.find(b"\r\n")) < 0:
            _more(connected, waiting, buffer)
        size = int(waiting[:line], 16)
        end = line + 2 + size + 2
        while len(waiting) < end:
            _more(connected, waiting, buffer)
        del waiting[:end]
        if not size:
            return total
        total += size


def _more(connected: socket.socket, waiting: bytearray, buffer: bytearray) -> None:
    length = connected.recv_into(buffer)
    if not length:
        raise LoadError("a chunked answer ends before its last chunk")
    waiting += buffer[:length]


def markdown(found: Sequence[Measured]) -> str:
    """The goals and the medians as tables."""
    lines = ["| goal | to reach | reached | |", "|---|--:|--:|---|", *_goals(found), ""]
    lines += [
        "| transaction | receiver | requests/s | first byte | CPU each | peak MB |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for kind in KINDS:
        for name in (OURS, THEIRS):
            if some := [each for each in found if each.kind == kind.name and each.receiver == name]:
                cpu = statistics.median(each.cpu_seconds / each.requests for each in some)
                lines.append(
                    f"| {kind.title} | {name} | {statistics.median(each.rate for each in some):,.0f}"
                    f" | {statistics.median(each.first_byte for each in some) * 1e3:.1f} ms"
                    f" | {cpu * 1e3:.2f} ms | {max(each.peak_bytes for each in some) / 1e6:,.0f} |"
                )
    return "\n".join(lines) + "\n"


def _goals(found: Sequence[Measured]) -> Iterator[str]:
    for kind in KINDS:
        rates = {(each.receiver, each.round): each for each in found if each.kind == kind.name}
        ratios = [
            rates[OURS, turn].rate / rates[THEIRS, turn].rate
            for name, turn in rates
            if name == OURS and (THEIRS, turn) in rates
        ]
        if ratios:
            ratio = statistics.median(ratios)
            met = "yes" if ratio >= kind.target else "**no**"
            yield f"| {kind.title}, against Orthanc | {kind.target:g}x | {ratio:.1f}x | {met} |"
        peaks = [each.peak_bytes / 1e6 for each in rates.values() if each.receiver == OURS]
        if peaks:
            met = "yes" if max(peaks) < PEAK else "**no**"
            yield f"| {kind.title}, peak memory | below {PEAK} MB | {max(peaks):,.0f} MB | {met} |"
