"""The process in which pixels are decoded and encoded: one job after the other, within limits.

It reads segments, writes to the file descriptors that it is given, and answers over one socket. Of what it
was asked it keeps nothing but decoded frames.
"""

from __future__ import annotations

import gc
import os
import pickle
import resource
import signal
import socket
import sys
import time
from mmap import ACCESS_READ, ALLOCATIONGRANULARITY, mmap
from struct import pack
from typing import Final, NoReturn

from dicomwire.archive.jobs import FramesJob, Job, Source, TranscodeJob
from dicomwire.archive.workers import ANSWER, FAILED, GONE, MISSING, OK, PROGRESS, REQUEST
from dicomwire.dicom.codecs import NATIVE
from dicomwire.dicom.convert import to_transfer_syntax
from dicomwire.dicom.deflate import inflate
from dicomwire.dicom.encoding import Buffer, encoding_of
from dicomwire.errors import DecodeError, DicomwireError
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN

try:
    from dicomwire.dicom.pixels import Pixels
    from dicomwire.dicom.transcode import transcode
except ImportError as error:
    _MISSING: str | None = f"{error.name} is not installed: pip install 'dicomwire[codecs]'"
else:
    _MISSING = None

_GATHERED: Final = 1 << 20  # bytes written at once
_PROGRESS_INTERVAL: Final = 1.0  # seconds
_DESCRIPTORS: Final = 1  # that come with one job at most


class _Channel:
    """The socket to the node and the clock of the job."""

    def __init__(self, descriptor: int, processor_time: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._processor_time = processor_time
        self._told = 0.0

    def receive(self) -> tuple[Job, list[int]] | None:
        """The next job and what came with it; None when the node is gone."""
        head, descriptors, _, _ = socket.recv_fds(self._socket, REQUEST.size, _DESCRIPTORS)
        head += self._exactly(REQUEST.size - len(head)) if head else b""
        if len(head) < REQUEST.size:
            return None
        body = self._exactly(REQUEST.unpack(head)[0])
        job: Job = pickle.loads(body)
        self._told = time.monotonic()
        self.renew()
        return job, list(descriptors)

    def answer(self, kind: int, *pieces: Buffer) -> None:
        self._socket.sendall(ANSWER.pack(kind, sum(map(len, pieces))))
        for piece in pieces:
            self._socket.sendall(piece)

    def renew(self) -> None:
        """Time for the next frame."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        used = int(usage.ru_utime + usage.ru_stime)
        resource.setrlimit(resource.RLIMIT_CPU, (used + self._processor_time + 1, resource.RLIM_INFINITY))
        now = time.monotonic()
        if now - self._told > _PROGRESS_INTERVAL:
            self._told = now
            self.answer(PROGRESS)

    def _exactly(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            piece = self._socket.recv(length - len(data))
            if not piece:
                return b""
            data += piece
        return data


def main(descriptor: int, memory: int, processor_time: int) -> NoReturn:
    """Do jobs until the node closes its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _limit(memory)
    channel = _Channel(descriptor, processor_time)
    gc.freeze()
    while (received := channel.receive()) is not None:
        job, descriptors = received
        try:
            _do(job, descriptors, channel)
        except FileNotFoundError as error:
            channel.answer(GONE, str(error).encode())
        except MemoryError:
            channel.answer(FAILED, f"it takes more than the {memory} bytes of memory allowed".encode())
        except DecodeError as error:
            channel.answer(FAILED, str(error).encode())
        except (DicomwireError, OSError) as error:
            channel.answer(FAILED, str(error).encode())
        finally:
            for held in descriptors:
                os.close(held)
    sys.exit(0)


def _limit(memory: int) -> None:
    """RLIMIT_DATA and not RLIMIT_AS, which counts mapped segments of any size and libraries too."""
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    limit = memory if hard == resource.RLIM_INFINITY else min(memory, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _do(job: Job, descriptors: list[int], channel: _Channel) -> None:
    if _MISSING is not None and not _without_codecs(job):
        channel.answer(MISSING, _MISSING.encode())
        return
    with _open(job.source) as data:
        if isinstance(job, TranscodeJob):
            _transcode(job, data, descriptors[0], channel)
        else:
            _frames(job, data, channel)


def _without_codecs(job: Job) -> bool:
    return isinstance(job, TranscodeJob) and {job.source.transfer_syntax_uid, job.target} <= set(NATIVE)


def _transcode(job: TranscodeJob, data: memoryview, descriptor: int, channel: _Channel) -> None:
    length = 0
    gathered = bytearray()
    syntax = job.source.transfer_syntax_uid
    pieces = (
        to_transfer_syntax(data, syntax, job.target)
        if _without_codecs(job)
        else transcode(data, syntax, job.target, quality=job.quality)
    )
    for piece in pieces:
        length += len(piece)
        if len(gathered) + len(piece) > _GATHERED:
            _write(descriptor, gathered)
            gathered.clear()
        if len(piece) > _GATHERED:
            _write(descriptor, piece)
        else:
            gathered += piece
        channel.renew()
    _write(descriptor, gathered)
    channel.answer(OK, pack("<Q", length))


def _frames(job: FramesJob, data: memoryview, channel: _Channel) -> None:
    pixels = _pixels(job.source, data)
    frames: list[Buffer] = []
    for number in job.numbers:
        frame: Buffer
        if job.target in NATIVE:
            frame = pixels.native(number)
        else:
            frame = pixels.encoded(number, job.target, job.quality).data
        frames += (pack("<Q", len(frame)), frame)
        channel.renew()
    channel.answer(OK, *frames)


def _pixels(source: Source, data: memoryview) -> Pixels:
    syntax = source.transfer_syntax_uid
    if encoding_of(syntax).deflated:
        return Pixels(inflate(data), EXPLICIT_VR_LITTLE_ENDIAN)
    return Pixels(data, syntax)


def _write(descriptor: int, data: Buffer) -> None:
    view = memoryview(data)
    while len(view):
        view = view[os.write(descriptor, view) :]


class _open:
    """A data set mapped from its segment while a job needs it."""

    def __init__(self, source: Source) -> None:
        page = source.offset // ALLOCATIONGRANULARITY * ALLOCATIONGRANULARITY
        with open(source.path, "rb") as file:
            self._map = mmap(
                file.fileno(), source.offset - page + source.length, access=ACCESS_READ, offset=page
            )
        self._start = source.offset - page

    def __enter__(self) -> memoryview:
        return memoryview(self._map)[self._start :]

    def __exit__(self, *_: object) -> None:
        self._map = None  # type: ignore[assignment]
