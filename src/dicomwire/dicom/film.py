"""Frames as a film: H.264 in MP4, or MPEG-2 in a program stream (PS3.18 8.7.4)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from importlib.util import find_spec
from typing import IO, Final

import numpy

from dicomwire.dicom.grayscale import Gray
from dicomwire.dicom.rendering import MPEG, Rendering
from dicomwire.errors import TranscodingError

_FEW_FRAMES_HELD: Final = (
    "threads=1:rc-lookahead=4:sync-lookahead=0:bframes=0"  # of large frames, 40 otherwise
)
_BROADCAST: Final = (24, 25, 30, 50, 60)  # frames a second that MPEG-2 has (ISO 13818-2 Table 6-4)
_QSCALE: Final = 118  # what the coarseness of MPEG-2 counts in: FF_QP2LAMBDA of FFmpeg


@dataclass(frozen=True, slots=True)
class _Coding:
    """How a film is written.

    Attributes:
        rate: frames a second.
        times: how often each frame stands in the film.
    """

    codec: str
    container: str
    rate: Fraction
    times: int
    options: dict[str, object]


def film(pictures: Iterable[Gray], rate: float, rendering: Rendering, out: IO[bytes]) -> None:
    """A film; odd sizes lose their last row or column, which its colours cannot have.

    rate: frames a second; MPEG-2 repeats frames that come more slowly than it can say.
    out: can be sought in.
    Raises: TranscodingError, without PyAV, and for sizes that the codec has not.
    """
    if find_spec("av") is None:
        raise TranscodingError(f"{rendering.media_type} needs PyAV: pip install 'dicomwire[codecs]'")
    import av  # of the codecs extra, and loaded for films alone

    coding = (_mpeg_2 if rendering.media_type == MPEG else _h264)(rate, rendering.quality)
    try:
        with av.open(out, "w", format=coding.container) as container:
            stream: av.VideoStream | None = None
            for picture in pictures:
                height, width = picture.shape[0] // 2 * 2, picture.shape[1] // 2 * 2
                if stream is None:
                    if not height or not width:
                        raise TranscodingError("an image of one row or column makes no video")
                    added = container.add_stream(coding.codec, rate=coding.rate)
                    assert isinstance(added, av.VideoStream)
                    stream = added
                    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
                    stream.options = coding.options
                array = numpy.ascontiguousarray(picture[: stream.height, : stream.width])
                for _ in range(coding.times):
                    frame = av.VideoFrame.from_ndarray(array, format="gray" if array.ndim == 2 else "rgb24")
                    container.mux(stream.encode(frame))
            if stream is not None:
                container.mux(stream.encode())
    except av.error.ArgumentError as error:  # such as 4096 columns in MPEG-2
        raise TranscodingError(f"{rendering.media_type}: {error}") from None


def _h264(rate: float, quality: int) -> _Coding:
    options: dict[str, object] = {
        "crf": str(round(40 - quality * 0.24)),
        "preset": "veryfast",
        "x264-params": _FEW_FRAMES_HELD,
    }
    return _Coding("libx264", "mp4", Fraction(rate).limit_denominator(1000), 1, options)


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
