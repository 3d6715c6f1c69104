"""Stored instances and frames in transfer syntaxes other than their own (PS3.5 8.2, 10, A.4).

Both doors come here. What an instance can become is a matter of a table; the work is done in worker
processes, and its result is spooled, so that memory stays bounded whatever the size.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from mmap import ACCESS_READ, mmap
from struct import unpack
from typing import IO, Final

from dicomwire.archive import footprint
from dicomwire.archive.archive import Archive, Stored
from dicomwire.archive.jobs import RASTER, FrameJob, Job, ProbeJob, RasterJob, RenderJob, Source, TranscodeJob
from dicomwire.archive.workers import WorkerOptions, WorkerPool
from dicomwire.dicom.codecs import LOSSY, NATIVE, lossless_targets
from dicomwire.dicom.part10 import write_file_meta
from dicomwire.dicom.raster import LONGEST, MOST_FRAMES, Header, Raster, read_header
from dicomwire.dicom.rendering import Rendering
from dicomwire.errors import ArchiveError, InstanceRemoved, TranscodingError
from dicomwire.uids import name_of

__all__ = ["Spooled", "Transcoded", "Transcoder", "WorkerOptions"]

_IN_MEMORY: Final = 8 << 20  # bytes of a result that need no file on disk
_SPOOL: Final = "spool"  # folder of files without a name
_PIECE: Final = 1 << 20  # bytes handed out at once
_MOVES: Final = 3  # times that compaction may move an instance while it is asked for
_LIBRARIES: Final = ("imagecodecs", "numpy")


@dataclass(frozen=True, slots=True)
class Transcoded:
    """An instance in another transfer syntax, readable while it is open.

    Attributes:
        transfer_syntax_uid: the one it is in now.
        head: preamble and file meta information of a Part 10 file of it.
        length: bytes of the data set, `head` not included.
    """

    transfer_syntax_uid: str
    head: bytes
    length: int
    _file: int

    def slices(self) -> Iterator[bytes]:
        """The data set from begin to end, at most 1 MiB at once."""
        return _slices(self._file, self.length)

    def mapped(self) -> mmap:
        """The data set as a map of its file, for who does not read it from begin to end."""
        return mmap(self._file, self.length, access=ACCESS_READ)


class Spooled:
    """A large result, in a file that is gone when this is dropped."""

    def __init__(self, file: int, length: int) -> None:
        """file: a descriptor; it is closed by this."""
        self._file = file
        self._length = length
        weakref.finalize(self, os.close, file)

    def __len__(self) -> int:
        return self._length

    def slices(self) -> Iterator[bytes]:
        """All of it, at most 1 MiB at once."""
        yield from _slices(self._file, self._length)


def _slices(descriptor: int, length: int) -> Iterator[bytes]:
    for start in range(0, length, _PIECE):
        yield os.pread(descriptor, min(_PIECE, length - start), start)


class Transcoder:
    """Transcodes what an archive holds; of one event loop."""

    def __init__(self, archive: Archive, options: WorkerOptions | None = None) -> None:
        self._archive = archive
        self._pool = WorkerPool(options, archive.data / _SPOOL)
        self.available = all(find_spec(name) is not None for name in _LIBRARIES)
        """The libraries are installed; without them only uncompressed transfer syntaxes become each other."""

    async def close(self) -> None:
        await self._pool.close()

    def targets(self, stored: Stored) -> list[str]:
        """The transfer syntaxes that an instance can become without loss, its own first."""
        return lossless_targets(
            stored.transfer_syntax_uid,
            bits_allocated=stored.bits_allocated,
            has_pixel_data=stored.pixel_data_offset is not None,
        )

    def target(self, stored: Stored, accepted: Collection[str]) -> str | None:
        """The accepted transfer syntax that suits an instance best; None when it would lose something in any.

        accepted: UIDs, in any order.
        """
        for uid in self.targets(stored):
            if uid in accepted and (self.available or self._simple(stored, uid)):
                return uid
        return None

    @asynccontextmanager
    async def transcode(
        self, stored: Stored, target: str, *, quality: int | None = None
    ) -> AsyncIterator[Transcoded]:
        """An instance in another transfer syntax.

        quality: 1 to 100 to compress with loss; None to lose nothing, and to refuse what would.
        Raises: TranscodingError, in words; ArchiveError, when the instance was removed; WorkersBusy.
        """
        self._check(stored, target, quality)
        with self._spool(_length(stored)) as file:
            descriptor = file.fileno()
            answer = await self._run(
                stored,
                lambda source: TranscodeJob(source, target, quality),
                footprint.of_frames(stored, target, quality),
                descriptor,
            )
            (length,) = unpack("<Q", answer)
            head = write_file_meta(stored.sop_class_uid, stored.sop_instance_uid, target)
            yield Transcoded(target, head, length, descriptor)

    async def frame(
        self, stored: Stored, number: int, target: str, *, quality: int | None = None
    ) -> bytearray | Spooled:
        """A frame decoded, for a native transfer syntax, or encoded in the target's.

        number: from 1.
        Raises: TranscodingError, in words; ArchiveError, when the instance was removed; WorkersBusy.
        """
        self._check(stored, target, quality)
        return await self._result(
            stored,
            1,
            lambda source: FrameJob(source, number, target, quality),
            footprint.of_frames(stored, target, quality),
        )

    async def render(
        self,
        stored: Stored,
        numbers: Sequence[int],
        rendering: Rendering,
        *,
        state: Stored | None = None,
    ) -> bytearray | Spooled:
        """Frames as one picture, or as an animation.

        numbers: from 1.
        state: a presentation state to apply.
        Raises: as `frame`.
        """
        applied = self._source(state) if state is not None else None
        return await self._result(
            stored,
            len(numbers),
            lambda source: RenderJob(source, tuple(numbers), rendering, applied),
            footprint.of_rendering(stored, rendering),
        )

    async def raster(
        self, file: int, media_type: str, spans: Sequence[tuple[int, int]], samples: int | None
    ) -> tuple[Raster, Spooled]:
        """PNG or GIF images as native frames.

        file: a descriptor of what the images are in; spans: offset and length of each.
        samples: wanted a pixel, 1 or 3; None for what the images have.
        Raises: TranscodingError, in words, also where colours would be lost; WorkersBusy.
        """
        headers = [_header(file, media_type, span) for span in spans]
        if (length := sum(header.length for header in headers)) > LONGEST:
            raise TranscodingError(f"{length} bytes of pixels; at most {LONGEST} are made of {media_type}")
        if (frames := sum(header.frames for header in headers)) > MOST_FRAMES:
            raise TranscodingError(f"{frames} frames; at most {MOST_FRAMES} are made of {media_type}")
        expected = max(map(footprint.of_raster, headers, (length for _, length in spans)))
        job = RasterJob(media_type, tuple(spans), samples)
        with self._spool(length) as spool:
            answer = await self._pool.run(job, (file, spool.fileno()), footprint=expected)
            written = spool.seek(0, os.SEEK_END)
            return Raster(*RASTER.unpack(answer)), Spooled(os.dup(spool.fileno()), written)

    async def probe(self, file: int, media_type: str, span: tuple[int, int]) -> Raster:
        """The size and depth of a video or a JPEG XL image, and of how many frames it is.

        file: a descriptor of what it is in; span: its offset and length.
        Raises: TranscodingError, when it cannot be read; WorkersBusy.
        """
        return Raster(*RASTER.unpack(await self._pool.run(ProbeJob(media_type, span), (file,))))

    async def _result(
        self, stored: Stored, frames: int, job: Callable[[Source], Job], expected: int
    ) -> bytearray | Spooled:
        """What a job makes of some frames: on disk where it may be large.

        expected: bytes of memory that it takes.
        """
        if _native_length(stored, frames) <= _IN_MEMORY:
            return await self._run(stored, job, expected)
        with self._spool(_length(stored)) as file:
            (length,) = unpack("<Q", await self._run(stored, job, expected, file.fileno()))
            return Spooled(os.dup(file.fileno()), length)

    def _check(self, stored: Stored, target: str, quality: int | None) -> None:
        allowed = self.targets(stored) if quality is None else LOSSY
        if target not in allowed:
            loss = "without loss" if quality is None else "with loss"
            raise TranscodingError(
                f"{name_of(stored.transfer_syntax_uid)} of {stored.bits_allocated} bits cannot become"
                f" {name_of(target)} {loss}"
            )

    def _simple(self, stored: Stored, target: str) -> bool:
        source = stored.transfer_syntax_uid
        return source == target or (source in NATIVE and target in NATIVE)

    async def _run(
        self, stored: Stored, job: Callable[[Source], Job], expected: int, descriptor: int | None = None
    ) -> bytearray:
        """Do a job; again where compaction moved the instance meanwhile."""
        descriptors = () if descriptor is None else (descriptor,)
        for _ in range(_MOVES):
            try:
                return await self._pool.run(job(self._source(stored)), descriptors, footprint=expected)
            except FileNotFoundError:
                moved = self._archive.catalogue.stored(stored.record_id)
                if moved is None:
                    raise InstanceRemoved from None
                stored = moved
        raise ArchiveError(f"segment {stored.segment} is gone")

    def _source(self, stored: Stored) -> Source:
        return Source(
            path=str(self._archive.path_of(stored)),
            offset=stored.offset + stored.data_set_offset,
            length=stored.length - stored.data_set_offset,
            transfer_syntax_uid=stored.transfer_syntax_uid,
            record_id=stored.record_id,
        )

    def _spool(self, length: int) -> IO[bytes]:
        """A file without a name, in memory where it is small. length: bytes of it, at most."""
        if hasattr(os, "memfd_create") and length <= _IN_MEMORY:
            return os.fdopen(os.memfd_create("transcoded", os.MFD_CLOEXEC), "w+b")
        folder = self._archive.data / _SPOOL
        try:
            folder.mkdir(exist_ok=True)
            return tempfile.TemporaryFile(dir=folder)
        except OSError as error:
            raise TranscodingError(f"{folder}: {error.strerror}") from None


def _length(stored: Stored) -> int:
    """Bytes of an instance, stored or decoded, whichever is more."""
    return max(stored.length, _native_length(stored, stored.number_of_frames))


def _header(file: int, media_type: str, span: tuple[int, int]) -> Header:
    """What an image says of itself. Raises: TranscodingError, where it is none."""
    start, length = span
    if not length:
        raise TranscodingError(f"{media_type}: 0 bytes; an image wanted")
    mapped = memoryview(mmap(file, 0, access=ACCESS_READ))  # ends with the last view of it
    return read_header(mapped[start : start + length], media_type)


def _native_length(stored: Stored, frames: int) -> int:
    """Bytes of the pixels of some frames when decoded."""
    samples = stored.samples_per_pixel or 1
    bits = (stored.rows or 0) * (stored.columns or 0) * samples * (stored.bits_allocated or 0)
    return bits // 8 * frames
