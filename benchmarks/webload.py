"""DICOMweb loads: STOW-RS and WADO-RS by a client that only moves bytes (PS3.18 10.4, 10.5)."""

from __future__ import annotations

import hashlib
import re
import selectors
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from urllib.parse import urlsplit

from benchmarks.data import Instance
from benchmarks.load import Load, LoadError

BOUNDARY = b"benchmark-7219042853"
RECEIVE = 1 << 20  # bytes of one read
TIMEOUT = 600.0  # seconds without a byte
OPENING = b"\r\n--" + BOUNDARY + b"\r\nContent-Type: application/dicom\r\n\r\n"
CLOSING = b"\r\n--" + BOUNDARY + b"--\r\n"


def store(url: str, instances: Sequence[Instance]) -> Load:
    """STOW-RS all `instances` in one request, encoded while it is sent."""
    length = sum(len(OPENING) + len(each.file_meta) + each.length for each in instances) + len(CLOSING)
    head = (
        f"POST {urlsplit(url).path} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\n"
        f'Content-Type: multipart/related; type="application/dicom"; boundary={BOUNDARY.decode()}\r\n'
        f"Accept: application/dicom+json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )
    with _connect(url) as connected:
        started = time.perf_counter()
        connected.sendall(head.encode())
        for instance in instances:
            connected.sendall(OPENING)
            for piece in instance.part10():
                connected.sendall(piece)
        connected.sendall(CLOSING)
        answer = b"".join(bytes(piece) for piece in _received(connected))
        seconds = time.perf_counter() - started
    status = _status(answer)
    if status != 200:
        raise LoadError(f"STOW-RS was answered with {status}: {answer[-300:]!r}")
    return Load(seconds, len(instances), sum(each.length for each in instances))


def retrieve(url: str) -> Load:
    """WADO-RS what `url` names as stored, counting bytes and parts but keeping nothing."""
    head = (
        f"GET {urlsplit(url).path} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\n"
        'Accept: multipart/related; type="application/dicom"; transfer-syntax=*\r\nConnection: close\r\n\r\n'
    )
    with _connect(url) as connected:
        started = time.perf_counter()
        connected.sendall(head.encode())
        first = connected.recv(65536)
        total = len(first) + sum(len(piece) for piece in _received(connected))
        seconds = time.perf_counter() - started
    if _status(first) != 200:
        raise LoadError(f"WADO-RS was answered with {_status(first)}: {first[:300]!r}")
    return Load(seconds, 0, total)


def fetch(urls: Sequence[str], accept: str, connections: int) -> Load:
    """Get each of `urls` once over so many connections that are kept open, keeping nothing."""
    waiting = iter(urls)
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        for _ in range(connections):
            fetching = _Fetching(stack.enter_context(_connect(urls[0])), accept)
            selector.register(fetching.socket, selectors.EVENT_READ, fetching)
        started = time.perf_counter()
        busy = sum(key.data.ask(next(waiting, None)) for key in list(selector.get_map().values()))
        latencies: list[float] = []
        total = 0
        while busy:
            ready = selector.select(TIMEOUT)
            if not ready:
                raise LoadError(f"no byte within {TIMEOUT} s")
            for key, _ in ready:
                length = key.data.receive()
                if length is None:
                    continue
                total += length
                latencies.append(time.perf_counter() - key.data.asked)
                busy -= not key.data.ask(next(waiting, None))
        seconds = time.perf_counter() - started
    return Load(seconds, len(urls), total, sorted(latencies))


class _Fetching:
    """One connection and the answer that comes over it."""

    def __init__(self, connected: socket.socket, accept: str) -> None:
        self.socket = connected
        self.asked = 0.0
        self._accept = accept
        self._buffer = memoryview(bytearray(RECEIVE))
        self._head = b""
        self._missing: int | None = None  # bytes of the body; None before the head is whole
        self._length = 0
        self._tail = b""

    def ask(self, url: str | None) -> bool:
        """Whether there was something to ask for."""
        if url is None:
            return False
        parts = urlsplit(url)
        self._head, self._missing, self._length, self._tail = b"", None, 0, b""
        self.asked = time.perf_counter()
        request = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAccept: {self._accept}\r\n\r\n"
        self.socket.sendall(request.encode())
        return True

    def receive(self) -> int | None:
        """Take what has come; the body's length when it is whole."""
        count = self.socket.recv_into(self._buffer)
        if not count:
            raise LoadError(f"the connection was closed within an answer: {self._head[:300]!r}")
        body = count
        if self._missing is None:
            self._head += bytes(self._buffer[:count])
            end = self._head.find(b"\r\n\r\n") + 4
            if end < 4:
                return None
            if _status(self._head) != 200:
                raise LoadError(f"answered with {_status(self._head)}: {self._head[:300]!r}")
            said = re.search(rb"(?i)content-length: *([0-9]+)", self._head[:end])
            self._missing = int(said[1]) if said is not None else -1
            body = len(self._head) - end
        self._length += body
        if self._missing < 0:  # chunked: it ends with an empty chunk
            self._tail = (self._tail + bytes(self._buffer[max(0, count - 5) : count]))[-5:]
            return self._length if self._tail == b"0\r\n\r\n" else None
        return self._length if self._length >= self._missing else None


def retrieved(url: str, instances: Sequence[Instance]) -> int:
    """How many of `instances` WADO-RS answers for `url`, their data sets bit for bit as they were made."""
    request = (
        f"GET {urlsplit(url).path} HTTP/1.0\r\nHost: {urlsplit(url).netloc}\r\n"
        'Accept: multipart/related; type="application/dicom"; transfer-syntax=*\r\n\r\n'
    )
    with _connect(url) as connected:
        connected.sendall(request.encode())
        answer = b"".join(bytes(piece) for piece in _received(connected))
    head, _, body = answer.partition(b"\r\n\r\n")
    boundary = re.search(rb'boundary="?([^"\r\n;]+)', head)
    if boundary is None:
        raise LoadError(f"WADO-RS was answered with {head[:300]!r}")
    expected = {hashlib.sha256(b"".join(each.data_set())).digest() for each in instances}
    found = {_data_set_digest(part) for part in body.split(b"--" + boundary[1])}
    return len(expected & found)


def _data_set_digest(part: bytes) -> bytes:
    """The digest of the data set in a part: what follows the preamble and the file meta (PS3.10 7.1)."""
    start = part.find(b"\r\n\r\n") + 4
    meta_length = int.from_bytes(part[start + 140 : start + 144], "little")
    return hashlib.sha256(part[start + 144 + meta_length : -2]).digest()


def _connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname or "", parts.port or 80), TIMEOUT)


def _received(connected: socket.socket) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(RECEIVE))
    while length := connected.recv_into(buffer):
        yield buffer[:length]


def _status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/") else 0
