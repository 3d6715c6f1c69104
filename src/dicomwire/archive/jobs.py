"""What a worker process is asked to do with the pixels of one instance.

Values only, and how they are framed on the socket: a job is made in the node, which loads no codec, and done
in the worker, which loads no event loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final

from dicomwire.dicom.rendering import Rendering

REQUEST: Final = Struct("<I")  # bytes of the pickled job
ANSWER: Final = Struct("<BQ")  # what came of it, bytes that follow
RASTER: Final = Struct("<6I")  # the fields of a `Raster`
OK, PROGRESS, FAILED, GONE, MISSING = range(5)
"""What came of a job: done, still at it, words why not, the file is gone, the codecs are not installed."""
LAST: Final = 0x80
"""Beside what came of a job: the worker ends, to give back its memory."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where an instance's data set lies and how it is written.

    Attributes:
        path: of the segment.
        offset, length: bytes of the data set in it.
        record_id: of the instance; what a worker remembers of a record stays true.
    """

    path: str
    offset: int
    length: int
    transfer_syntax_uid: str
    record_id: int


@dataclass(frozen=True, slots=True)
class TranscodeJob:
    """The data set in another transfer syntax, written to the file descriptor that comes with the job.

    Attributes:
        quality: 1 to 100 to compress with loss, None to lose nothing.
    """

    source: Source
    target: str
    quality: int | None = None


@dataclass(frozen=True, slots=True)
class FrameJob:
    """A frame, counted from 1, decoded or encoded; answered as what a RenderJob makes."""

    source: Source
    number: int
    target: str
    quality: int | None = None


@dataclass(frozen=True, slots=True)
class RenderJob:
    """Frames, counted from 1, as one picture or animation; the answer is the file.

    With a file descriptor it is written there, and the answer is its length.

    Attributes:
        state: a presentation state to apply, None for none.
    """

    source: Source
    numbers: tuple[int, ...]
    rendering: Rendering
    state: Source | None = None


@dataclass(frozen=True, slots=True)
class RasterJob:
    """PNG or GIF images within the first file that comes with the job, as native frames in the second.

    The answer is their `RASTER`.

    Attributes:
        spans: offset and length of each image.
        samples: wanted a pixel; None for what the images have.
    """

    media_type: str
    spans: tuple[tuple[int, int], ...]
    samples: int | None = None


@dataclass(frozen=True, slots=True)
class ProbeJob:
    """What a video or a JPEG XL image within the file that comes with the job says of itself, as a `RASTER`.

    Attributes:
        span: its offset and length.
    """

    media_type: str
    span: tuple[int, int]


Job = TranscodeJob | FrameJob | RenderJob | RasterJob | ProbeJob


def format_of(job: Job) -> str:
    """What a job reads: a transfer syntax or a media type, for the log."""
    return job.media_type if isinstance(job, RasterJob | ProbeJob) else job.source.transfer_syntax_uid
