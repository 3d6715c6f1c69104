"""Small films of one gray level a frame, as DICOM stores them, made with a real encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from io import BytesIO
from struct import pack

import av
import numpy

ROWS, COLUMNS, FRAMES = 48, 64, 60
MPEG_2, H264, H265, H265_10 = (f"1.2.840.10008.1.2.4.{number}" for number in (101, 102, 107, 108))
ENDOSCOPY = "1.2.840.10008.5.1.4.1.1.77.1.1.1"


def level(number: int) -> int:
    """The gray level of a frame, counted from 1."""
    return 4 * number


def gray(number: int) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(numpy.full((ROWS, COLUMNS), level(number), "u1"), format="gray")


def film(
    codec: str = "libx264",
    container: str = "mp4",
    pixels: str = "yuv420p",
    *,
    count: int = FRAMES,
    rate: Fraction | int = 25,
    picture: Callable[[int], av.VideoFrame] = gray,
    times: Iterable[int] = (),
    **options: str,
) -> bytes:
    """A film with a key frame every 25 frames.

    times: when each frame is shown, in frames of the rate; all of them one after the other without.
    """
    out = BytesIO()
    quiet = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    with av.open(out, "w", format=container) as written:
        stream = written.add_stream(codec, rate=rate)
        first = picture(1)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = first.width, first.height, pixels, 25
        stream.options = quiet | options
        for number, time in enumerate(times or range(count), 1):
            frame = picture(number)
            frame.pts, frame.time_base = time, 1 / Fraction(rate)
            written.mux(stream.encode(frame))
        written.mux(stream.encode(None))
    return out.getvalue()


def fragments(*parts: bytes) -> bytes:
    """Encapsulated pixel data in Explicit VR Little Endian, with an empty offset table."""
    items = b"".join(
        pack("<HHI", 0xFFFE, 0xE000, len(part) + len(part) % 2) + part + b"\0" * (len(part) % 2)
        for part in (b"", *parts)
    )
    head = pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF)
    return head + items + pack("<HHI", 0xFFFE, 0xE0DD, 0)


def image(
    *, rows: int = ROWS, columns: int = COLUMNS, frames: int = FRAMES, representative: int | None = None
) -> bytes:
    """The Image Pixel module of such a film."""
    words = [
        (0x0002, 3),
        (0x0010, rows),
        (0x0011, columns),
        (0x0100, 8),
        (0x0101, 8),
        (0x0102, 7),
        (0x0103, 0),
    ]
    values = {0x0028_0000 + tag: (b"US", pack("<H", value)) for tag, value in words}
    values[0x00280004] = b"CS", b"YBR_PARTIAL_420 "
    values[0x00280008] = b"IS", str(frames).encode().ljust(6)
    if representative is not None:
        values[0x00286010] = b"US", pack("<H", representative)
    return b"".join(
        pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value
        for tag, (vr, value) in sorted(values.items())
    )
