"""One frame of a video as a picture: MPEG-2, H.264 and H.265 as they are stored (PS3.5 8.2.5 to 8.2.8).

All frames of a video are one stream, of which each needs others. No more of it is decoded than from the key
frame before the one that is wanted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

import numpy

from dicomwire.dicom.arrays import Array
from dicomwire.dicom.encoding import Buffer
from dicomwire.dicom.frames import encapsulated_spans
from dicomwire.dicom.pixel_description import describe
from dicomwire.dicom.scan import scan
from dicomwire.dicom.scratch import IN_MEMORY, OCTET, Scratch
from dicomwire.errors import CodecsMissing, TranscodingError
from dicomwire.uids import name_of

if TYPE_CHECKING:
    import av

# No playlist among them: those make a reader open other files, beside the process or elsewhere
_CONTAINERS: Final = "mov,mp4,m4a,3gp,3g2,mj2,mpegts,mpeg,mpegvideo,h264,hevc,matroska,webm"
_REORDERED: Final = 32  # packets, fields each, that may come before one that is shown earlier
_NEAR: Final = 32  # frames ahead that are decoded on the way, not looked for
_PADDED: Final = 128  # pixels that a codec may add to a side
_HIGH_DEFINITION: Final = 720  # rows from which colours that are not told are those of BT.709
_UNSPECIFIED: Final = 2  # AVCOL_SPC_UNSPECIFIED
_BT_709: Final = 1


class Stream:
    """The pieces of a stream, wherever they lie, as one file."""

    def __init__(self, read: Callable[[int, int], bytes], parts: Sequence[tuple[int, int]]) -> None:
        """read: the bytes at an offset, a length of them. parts: offset and length of each piece."""
        self._read = read
        self._parts = parts
        self._length = sum(length for _, length in parts)
        self._position = 0

    def read(self, size: int = -1) -> bytes:
        left = max(self._length - self._position, 0)
        wanted = left if size < 0 else min(size, left)
        found = b""
        before = 0
        for start, length in self._parts:
            within = self._position + len(found) - before
            if wanted <= len(found):
                break
            if within < length:
                found += self._read(start + within, min(length - within, wanted - len(found)))
            before += length
        self._position += len(found)
        return found

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._length}[whence]
        self._position = max(base + offset, 0)
        return self._position

    def tell(self) -> int:
        return self._position


class Video:
    """The frames of a video, decoded.

    Attributes:
        description: its Image Pixel module once decoded: RGB of 8 bits.
        scratch: where large pictures lie on their way.
    """

    def __init__(self, data: Buffer, transfer_syntax_uid: str, *, scratch: Scratch = IN_MEMORY) -> None:
        """data: the data set. Raises: FrameError, DataSetError."""
        found = scan(data, transfer_syntax_uid)
        self._stored = describe(found)
        self.description = replace(
            self._stored,
            samples_per_pixel=3,
            photometric_interpretation="RGB",
            planar_configuration=0,
            bits_allocated=8,
            bits_stored=8,
            high_bit=7,
            pixel_representation=0,
        )
        self.scratch = scratch
        assert found.pixel_data is not None  # `describe` has seen to it
        (span,) = encapsulated_spans(data, found.pixel_data, 1)
        view = memoryview(data)
        self._film = _Film(
            Stream(lambda start, length: bytes(view[start : start + length]), span.parts),
            name_of(transfer_syntax_uid),
            self.description.rows,
            self.description.columns,
        )
        self._coming: Iterator[tuple[int, av.VideoFrame]] = iter(())
        self._next = 0  # number of the frame that comes; 0 for none

    def cells(self, number: int) -> tuple[Array, str]:
        """RGB of a frame, counted from 1 as they are shown, and "RGB". Those that follow it cost least.

        Raises: TranscodingError, when there is no such frame that can be decoded; CodecsMissing.
        """
        if not 0 < self._next <= number < self._next + _NEAR:
            self._coming = self._film.frames(number)
        for reached, frame in self._coming:
            self._next = reached + 1
            if reached == number:
                picture = self.scratch.empty((self.description.rows, self.description.columns, 3), OCTET)
                picture[:] = self._film.colours(frame)
                return picture, "RGB"
        self._next = 0
        raise TranscodingError(f"{self._film.name}: there is no frame {number} that can be decoded")

    def reduced(self, number: int, _: int) -> tuple[Array, str, int]:
        """As `cells`: films are decoded whole."""
        return *self.cells(number), 0


@dataclass(frozen=True, slots=True)
class _Place:
    """Where decoding begins.

    Attributes:
        packets: before the key frame.
        time: at which the wanted frame is shown, in the stream's time base.
    """

    packets: int
    time: int


@dataclass(frozen=True, slots=True)
class _Film:
    """A stream of frames.

    Attributes:
        name: of how it is compressed, for errors.
        rows, columns: of a frame, as the data set has them.
    """

    stream: Stream
    name: str
    rows: int
    columns: int

    def frames(self, number: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """Frames and their numbers, at the latest from that one on."""
        found = False
        if number > 1 and (place := self._place(number)) is not None:
            for frame in self._decoded(place.packets):
                if not found and (frame.pts is None or frame.pts > place.time or frame.is_corrupt):
                    break
                if found or frame.pts == place.time:
                    yield number, frame
                    found, number = True, number + 1
        if not found:
            yield from enumerate(self._decoded(0), 1)

    def colours(self, frame: av.VideoFrame) -> Array:
        """RGB of a frame. Raises: TranscodingError, when it is not as large as the data set says."""
        self._check(frame.height, frame.width)
        told = int(frame.colorspace)
        if told == _UNSPECIFIED and frame.height >= _HIGH_DEFINITION:
            told = _BT_709
        return numpy.asarray(frame.to_ndarray(format="rgb24", src_colorspace=told, threads=1), numpy.uint8)

    def _place(self, number: int) -> _Place | None:
        """Where a frame is found in a film of one rate; None where it has to be counted."""
        times: list[int] = []
        keys: list[tuple[int, int]] = []
        with opened(self.stream, self.name) as (container, video):
            for index, packet in enumerate(container.demux(video)):
                if not packet.size or len(times) >= number + _REORDERED:
                    break
                if packet.pts is None:
                    return None
                if packet.is_keyframe:
                    keys.append((packet.pts, index))
                if not packet.is_discard:
                    times.append(packet.pts)
            rate, unit = video.average_rate, video.time_base
        if len(times) < number or not rate or not unit:
            return None
        times.sort()
        time = times[number - 1]
        # Fields that come apart, frames that are left out: a packet is no frame then
        if abs((time - times[0]) * unit * rate - (number - 1)) > Fraction(1, 2):
            return None
        before = [index for shown, index in keys if shown <= time]
        return _Place(before[-1], time) if before else None

    def _decoded(self, packets: int) -> Iterator[av.VideoFrame]:
        """Frames in the order in which they are shown. packets: that are passed over."""
        with opened(self.stream, self.name) as (container, video):
            context = video.codec_context
            if context.height and context.width:
                self._check(context.height, context.width)
            context.options = {"max_pixels": str((self.rows + _PADDED) * (self.columns + _PADDED))}
            for index, packet in enumerate(container.demux(video)):
                if index >= packets or not packet.size:
                    yield from packet.decode()

    def _check(self, rows: int, columns: int) -> None:
        if (rows, columns) != (self.rows, self.columns):
            raise TranscodingError(
                f"{self.name}: {rows} rows, {columns} columns; the data set says {self.rows}, {self.columns}"
            )


@contextmanager
def opened(stream: Stream, what: str) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """The container of a stream and the first video in it.

    what: it is, in words for errors.
    Raises: TranscodingError, when it cannot be read, also while it is open; CodecsMissing.
    """
    if find_spec("av") is None:
        raise CodecsMissing("av is not installed: pip install 'dicomwire[codecs]'")
    import av  # of the codecs extra, and loaded for films alone

    stream.seek(0)
    try:
        with av.open(stream, "r", container_options={"format_whitelist": _CONTAINERS}) as container:
            if not container.streams.video:
                raise TranscodingError(f"{what}: there is no video in it")
            video = container.streams.video[0]
            if video.codec_context is None:
                raise TranscodingError(f"{what}: nothing here decodes it")
            video.codec_context.thread_count = 1
            yield container, video
    except (av.error.FFmpegError, ValueError, IndexError) as error:  # IndexError: a stream came up late
        raise TranscodingError(f"{what}: {error}") from None
