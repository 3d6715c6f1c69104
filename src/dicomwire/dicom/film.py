"""Frames as a film: H.264 or H.265 in MP4, or MPEG-2 in a program stream (PS3.18 8.7.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from importlib.util import find_spec
from typing import IO, TYPE_CHECKING, Final, cast

import numpy

from dicomwire.dicom.grayscale import Gray
from dicomwire.dicom.rendering import H265, MP4, MPEG, Rendering
from dicomwire.errors import TranscodingError

if TYPE_CHECKING:
    import av

_FEW_FRAMES_HELD: Final = (
    "threads=1:rc-lookahead=4:sync-lookahead=0:bframes=0"  # of large frames, 40 otherwise
)
_ONE_REFERENCE: Final = "log-level=none:pools=none:frame-threads=1:rc-lookahead=4:bframes=0:ref=1"
_CODING_TREE: Final = 64  # pixels of a side of its unit; x265 4.2 writes beside its memory for less
_BROADCAST: Final = (24, 25, 30, 50, 60)  # frames a second that MPEG-2 has (ISO 13818-2 Table 6-4)
_QSCALE: Final = 118  # what the coarseness of MPEG-2 counts in: FF_QP2LAMBDA of FFmpeg


@dataclass(frozen=True, slots=True)
class _Coding:
    """How a film is written.

    Attributes:
        rate: frames a second.
        times: how often each frame stands in the film.
        least: pixels of a side.
    """

    codec: str
    container: str
    rate: Fraction
    times: int
    options: dict[str, object]
    least: int = 2


def film(pictures: Iterable[Gray], rate: float, rendering: Rendering, out: IO[bytes]) -> None:
    """A film; odd sizes lose their last row or column, which its colours cannot have.

    rate: frames a second; MPEG-2 repeats frames that come more slowly than it can say.
    out: can be sought in.
    Raises: TranscodingError, without PyAV, and for sizes that the codec has not.
    """
    if find_spec("av") is None:
        raise TranscodingError(f"{rendering.media_type} needs PyAV: pip install 'dicomwire[codecs]'")
    import av  # of the codecs extra, and loaded for films alone

    coding = _CODINGS[rendering.media_type](rate, rendering.quality)
    try:
        with av.open(out, "w", format=coding.container) as container:
            stream: av.VideoStream | None = None
            for picture in pictures:
                if stream is None:
                    stream = _stream(container, coding, picture, rendering.media_type)
                array = numpy.ascontiguousarray(picture[: stream.height, : stream.width])
                for _ in range(coding.times):
                    frame = av.VideoFrame.from_ndarray(array, format="gray" if array.ndim == 2 else "rgb24")
                    container.mux(stream.encode(frame))
            if stream is not None:
                container.mux(stream.encode())
    except av.error.FFmpegError as error:  # such as 4096 columns in MPEG-2
        raise TranscodingError(f"{rendering.media_type}: {error}") from None


def _stream(
    container: av.container.OutputContainer, coding: _Coding, picture: Gray, media_type: str
) -> av.VideoStream:
    """The stream of a film whose first picture this is."""
    height, width = picture.shape[0] // 2 * 2, picture.shape[1] // 2 * 2
    if not height or not width:
        raise TranscodingError("an image of one row or column makes no video")
    if min(height, width) < coding.least:
        raise TranscodingError(f"{media_type} of {width} by {height} pixels; {coding.least} a side wanted")
    stream = cast("av.VideoStream", container.add_stream(coding.codec, rate=coding.rate))
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    stream.options = coding.options
    return stream


def _h264(rate: float, quality: int) -> _Coding:
    options: dict[str, object] = {
        "crf": str(round(40 - quality * 0.24)),
        "preset": "veryfast",
        "x264-params": _FEW_FRAMES_HELD,
    }
    return _Coding("libx264", "mp4", Fraction(rate).limit_denominator(1000), 1, options)


def _h265(rate: float, quality: int) -> _Coding:
    options: dict[str, object] = {
        "crf": str(round(42 - quality * 0.24)),
        "preset": "superfast",
        "x265-params": _ONE_REFERENCE,
    }
    return _Coding("libx265", "mp4", Fraction(rate).limit_denominator(1000), 1, options, _CODING_TREE)


def _mpeg_2(rate: float, quality: int) -> _Coding:
    choices = [(each, max(1, round(each / rate))) for each in _BROADCAST]
    best, times = min(choices, key=lambda choice: abs(choice[0] / choice[1] - rate))
    coarseness = round(31 - quality * 0.29)  # 2 to 31
    options: dict[str, object] = {
        "flags": "+qscale",
        "global_quality": str(coarseness * _QSCALE),
        "threads": "1",
    }
    return _Coding("mpeg2video", "vob", Fraction(best), times, options)


_CODINGS: Final[Mapping[str, Callable[[float, int], _Coding]]] = {MP4: _h264, MPEG: _mpeg_2, H265: _h265}
