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
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import astuple
from functools import cached_property, partial
from io import BytesIO
from mmap import ACCESS_READ, ALLOCATIONGRANULARITY, mmap
from struct import pack
from typing import IO, Final, NoReturn

from dicomwire.archive.jobs import (
    ANSWER,
    FAILED,
    GONE,
    LAST,
    MISSING,
    OK,
    PROGRESS,
    RASTER,
    REQUEST,
    FrameJob,
    Job,
    ProbeJob,
    RasterJob,
    RenderJob,
    Source,
    TranscodeJob,
)
from dicomwire.dicom.attributes import Attributes, read_attributes
from dicomwire.dicom.codecs import NATIVE, VIDEO
from dicomwire.dicom.convert import to_transfer_syntax
from dicomwire.dicom.deflate import inflate
from dicomwire.dicom.ebb import Ebb, trim_heap
from dicomwire.dicom.encoding import EXPLICIT_LITTLE, Buffer, Encoding, encoding_of
from dicomwire.errors import DicomwireError, TranscodingError
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN

try:
    from dicomwire.dicom import probe, raster_decode
    from dicomwire.dicom.pixels import Pixels
    from dicomwire.dicom.render import render, render_animation
    from dicomwire.dicom.scratch import Scratch
    from dicomwire.dicom.transcode import transcode
    from dicomwire.dicom.video import Video
except ImportError as error:
    _MISSING: str | None = f"{error.name} is not installed: pip install 'dicomwire[codecs]'"
else:
    _MISSING = None

_RESIDENT: Final = 4 << 20  # bytes; a larger map does not stay in memory
_GATHERED: Final = 1 << 20  # bytes written at once
_PROGRESS_INTERVAL: Final = 1.0  # seconds
_REMEMBERED: Final = 8  # instances
_DESCRIPTORS: Final = 2  # that come with one job at most
_KEPT: Final = 4 << 20  # bytes of an inflated data set that is remembered
_HELD: Final = 72 << 20  # bytes of memory; a worker that held more makes place for a new one


class _Channel:
    """The socket to the node and the clock of the job."""

    def __init__(self, descriptor: int, processor_time: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._processor_time = processor_time
        self._told = 0.0
        self._large = False
        self.last = False
        """The answer to this job says that the worker ends."""

    def receive(self) -> tuple[Job, list[int]] | None:
        """The next job and what came with it; None when the node is gone."""
        head, descriptors, _, _ = socket.recv_fds(self._socket, REQUEST.size, _DESCRIPTORS)
        head += self._exactly(REQUEST.size - len(head)) if head else b""
        if len(head) < REQUEST.size:
            return None
        body = self._exactly(REQUEST.unpack(head)[0])
        job: Job = pickle.loads(body)
        self._told = time.monotonic()
        self._large = bool(descriptors)
        self.renew()
        return job, list(descriptors)

    def answer(self, kind: int, *pieces: Buffer) -> None:
        if self._large and kind != PROGRESS and _peak() > _HELD:
            self.last = True
            kind |= LAST
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


def _peak() -> int:
    """Bytes of memory that this process has held at most; 0 where the system does not tell.

    Not ru_maxrss: that begins with what the node had when it started this process.
    """
    try:
        with open("/proc/self/status", "rb") as status:
            return next((int(line.split()[1]) << 10 for line in status if line.startswith(b"VmHWM:")), 0)
    except OSError:
        return 0


def main(descriptor: int, memory: int, processor_time: int) -> NoReturn:
    """Do jobs until the node closes its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _limit(memory)
    channel = _Channel(descriptor, processor_time)
    gc.freeze()
    while not channel.last and (received := channel.receive()) is not None:
        _run(*received, channel)
    sys.exit(0)


def _run(job: Job, descriptors: list[int], channel: _Channel) -> None:
    """Do a job and answer, whatever becomes of it."""
    try:
        with _ebb.running() if descriptors or _of_a_video(job) else nullcontext():
            _do(job, descriptors, channel)
    except FileNotFoundError as error:
        channel.answer(GONE, str(error).encode())
    except MemoryError:
        memory = resource.getrlimit(resource.RLIMIT_DATA)[0]
        channel.answer(FAILED, f"it takes more than the {memory} bytes of memory allowed".encode())
    except (DicomwireError, OSError) as error:
        channel.answer(FAILED, str(error).encode())
    except Exception as error:  # a fault of ours or of a codec's, told by its kind alone
        channel.answer(FAILED, f"an unexpected {type(error).__name__}".encode())
    finally:
        _ebb.forget()
        if descriptors:
            trim_heap()
        for held in descriptors:
            os.close(held)


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
    if isinstance(job, RasterJob):
        _raster(job, descriptors, channel)
        return
    if isinstance(job, ProbeJob):
        channel.answer(OK, _probed(job, descriptors[0], channel))
        return
    if isinstance(job, TranscodeJob):
        _transcode(job, _mapped(job.source), descriptors[0], channel)
        return
    if isinstance(job, RenderJob) and job.rendering.animated and descriptors:
        with os.fdopen(os.dup(descriptors[0]), "w+b") as file:
            _animate(job, file, channel)
            length = file.seek(0, os.SEEK_END)
    else:
        made = _frame(job) if isinstance(job, FrameJob) else _rendered(job, channel)
        length = len(made)
        if not descriptors:
            channel.answer(OK, made)
            return
        _write(descriptors[0], made)
    channel.answer(OK, pack("<Q", length))


def _of_a_video(job: Job) -> bool:
    """It reads a long way through what is stored."""
    return isinstance(job, RenderJob) and job.source.transfer_syntax_uid in VIDEO


def _without_codecs(job: Job) -> bool:
    return isinstance(job, TranscodeJob) and {job.source.transfer_syntax_uid, job.target} <= set(NATIVE)


def _transcode(job: TranscodeJob, data: memoryview, descriptor: int, channel: _Channel) -> None:
    length = 0
    gathered = bytearray()
    syntax = job.source.transfer_syntax_uid
    pieces = (
        to_transfer_syntax(data, syntax, job.target)
        if _without_codecs(job)
        else transcode(data, syntax, job.target, quality=job.quality, scratch=Scratch(_ebb))
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


def _raster(job: RasterJob, descriptors: list[int], channel: _Channel) -> None:
    images, frames = descriptors

    mapped = memoryview(mmap(images, 0, access=ACCESS_READ))
    parts = [mapped[start : start + length] for start, length in job.spans]
    write = partial(_write, frames)
    raster = raster_decode.decode(parts, job.media_type, job.samples, write, channel.renew)
    channel.answer(OK, RASTER.pack(*astuple(raster)))


def _probed(job: ProbeJob, descriptor: int, channel: _Channel) -> bytes:
    with open(descriptor, "rb", closefd=False) as file:
        return RASTER.pack(*astuple(probe.probe(file, job.span, job.media_type, channel.renew)))


def _frame(job: FrameJob) -> Buffer:
    pixels = _opened(job.source).pixels
    if isinstance(pixels, Video):
        raise TranscodingError("a frame of a video becomes a picture, and nothing else")
    if job.target in NATIVE:
        return pixels.native(job.number)
    return pixels.encoded(job.number, job.target, job.quality).data


def _rendered(job: RenderJob, channel: _Channel) -> Buffer:
    if job.rendering.animated:
        out = BytesIO()
        _animate(job, out, channel)
        return out.getbuffer()
    image = _opened(job.source)
    numbers = _renewing(job.numbers, channel)
    return render(image.pixels, image.attributes, numbers, job.rendering, state=_state(job))


def _animate(job: RenderJob, out: IO[bytes], channel: _Channel) -> None:
    image = _opened(job.source)
    numbers = _renewing(job.numbers, channel)
    render_animation(image.pixels, image.attributes, numbers, job.rendering, out, state=_state(job))


def _state(job: RenderJob) -> Attributes | None:
    return read_attributes(*_readable(job.state)) if job.state is not None else None


def _renewing(numbers: Iterable[int], channel: _Channel) -> Iterator[int]:
    """Numbers of frames; each one taken gives time for it, and memory for more."""
    for number in numbers:
        channel.renew()
        yield number
        _ebb.forget()


class _Opened:
    """An instance that was asked for lately: what was read of it, and the map that this is a view of."""

    def __init__(self, source: Source) -> None:
        data, self._encoding = _readable(source)
        self._data = data
        syntax = source.transfer_syntax_uid
        deflated = encoding_of(syntax).deflated
        self.light = not (deflated and len(data) > _KEPT) and syntax not in VIDEO
        """Remembering it takes little memory; a video keeps its decoder."""
        syntax = EXPLICIT_VR_LITTLE_ENDIAN if deflated else syntax
        self.pixels = (Video if syntax in VIDEO else Pixels)(data, syntax, scratch=Scratch(_ebb))
        _ebb.forget()  # every page with the head of a fragment

    @cached_property
    def attributes(self) -> Attributes:
        return read_attributes(self._data, self._encoding)


_ebb: Final = Ebb()
_remembered: Final[OrderedDict[int, _Opened]] = OrderedDict()


def _opened(source: Source) -> _Opened:
    """A record never changes, wherever compaction puts it: what is remembered of it stays true."""
    found = _remembered.get(source.record_id)
    if found is None:
        found = _Opened(source)
        if not found.light:
            return found
        _remembered[source.record_id] = found
        if len(_remembered) > _REMEMBERED:
            _remembered.popitem(last=False)
    else:
        _remembered.move_to_end(source.record_id)
    return found


def _readable(source: Source) -> tuple[Buffer, Encoding]:
    """A data set, inflated, and how it is written."""
    encoding = encoding_of(source.transfer_syntax_uid)
    data = _mapped(source)
    return (inflate(data), EXPLICIT_LITTLE) if encoding.deflated else (data, encoding)


def _mapped(source: Source) -> memoryview:
    """A data set mapped from its segment; the map ends with the last view of it."""
    page = source.offset // ALLOCATIONGRANULARITY * ALLOCATIONGRANULARITY
    with open(source.path, "rb") as file:
        length = source.offset - page + source.length
        mapped = mmap(file.fileno(), length, access=ACCESS_READ, offset=page)
    if length > _RESIDENT:
        _ebb.watch(mapped)
    return memoryview(mapped)[source.offset - page :]


def _write(descriptor: int, data: Buffer) -> None:
    view = memoryview(data)
    while len(view):
        view = view[os.write(descriptor, view) :]
