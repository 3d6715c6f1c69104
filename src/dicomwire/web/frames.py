"""WADO-RS: frames of pixel data (PS3.18 10.4.1.1.6, 8.7.3.3).

The media type is chosen from the stored transfer syntax before any pixel is read. Native frames are octets in
Explicit VR Little Endian; encapsulated ones leave as they are stored, in the media type of their transfer
syntax.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from dicomwire.archive.archive import Archive, Stored
from dicomwire.dicom.encoding import encoding_of
from dicomwire.dicom.frames import FrameSpan, read_frame
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN, TRANSFER_SYNTAXES
from dicomwire.web.layout import Layouts, inflated
from dicomwire.web.media_types import (
    MULTIPART_RELATED,
    OCTET_STREAM,
    Accept,
    Wanted,
    accept_of,
    not_acceptable,
)
from dicomwire.web.multipart import PartWriter
from dicomwire.web.options import WebOptions
from dicomwire.web.plans import instance_url_of, planned
from dicomwire.web.problems import Problem, shown
from dicomwire.web.resources import base_url
from dicomwire.web.responses import Chunks, StreamedResponse

_LIST: Final = re.compile(r"[0-9]{1,10}(?:,[0-9]{1,10})*")
_SLICED_FROM: Final = 1 << 20  # bytes; larger frames are sent in slices

# PS3.18 Table 8.7.3-5; the retired JPEG processes are image/jpeg too
FRAME_MEDIA_TYPES: Final = {
    **{f"1.2.840.10008.1.2.4.{process}": "image/jpeg" for process in range(50, 67)},
    "1.2.840.10008.1.2.4.70": "image/jpeg",
    "1.2.840.10008.1.2.5": "image/dicom-rle",
    "1.2.840.10008.1.2.4.80": "image/jls",
    "1.2.840.10008.1.2.4.81": "image/jls",
    "1.2.840.10008.1.2.4.90": "image/jp2",
    "1.2.840.10008.1.2.4.91": "image/jp2",
    "1.2.840.10008.1.2.4.92": "image/jpx",
    "1.2.840.10008.1.2.4.93": "image/jpx",
    "1.2.840.10008.1.2.4.201": "image/jphc",
    "1.2.840.10008.1.2.4.202": "image/jphc",
    "1.2.840.10008.1.2.4.203": "image/jphc",
    "1.2.840.10008.1.2.4.110": "image/jxl",
    "1.2.840.10008.1.2.4.111": "image/jxl",
    "1.2.840.10008.1.2.4.112": "image/jxl",
    "1.2.840.10008.1.2.4.100": "video/mpeg",
    "1.2.840.10008.1.2.4.100.1": "video/mpeg",
    "1.2.840.10008.1.2.4.101": "video/mpeg",
    "1.2.840.10008.1.2.4.101.1": "video/mpeg",
    "1.2.840.10008.1.2.4.102": "video/mp4",
    "1.2.840.10008.1.2.4.102.1": "video/mp4",
    "1.2.840.10008.1.2.4.103": "video/mp4",
    "1.2.840.10008.1.2.4.103.1": "video/mp4",
    "1.2.840.10008.1.2.4.104": "video/mp4",
    "1.2.840.10008.1.2.4.104.1": "video/mp4",
    "1.2.840.10008.1.2.4.105": "video/mp4",
    "1.2.840.10008.1.2.4.105.1": "video/mp4",
    "1.2.840.10008.1.2.4.106": "video/mp4",
    "1.2.840.10008.1.2.4.106.1": "video/mp4",
    "1.2.840.10008.1.2.4.107": "video/h265",
    "1.2.840.10008.1.2.4.108": "video/h265",
}


@dataclass(frozen=True, slots=True)
class _Form:
    """How frames leave."""

    multipart: bool
    media_type: str
    transfer_syntax: str

    @property
    def content_type(self) -> str:
        return f"{self.media_type}; transfer-syntax={self.transfer_syntax}"


class Frames:
    """Endpoint of GET on .../frames/{frames}."""

    def __init__(self, archive: Archive, options: WebOptions) -> None:
        self._archive = archive
        self._options = options
        self._layouts = Layouts(archive)

    async def __call__(self, request: Request) -> Response:
        numbers = frame_numbers(request.path_params["frames"])
        (stored,) = planned(request, self._archive)
        return self._answer(request, stored, numbers)

    def all_frames(self, request: Request, stored: Stored) -> Response:
        """Every frame of an instance, for its pixel data as bulk data."""
        return self._answer(request, stored, None)

    def _answer(self, request: Request, stored: Stored, numbers: Sequence[int] | None) -> Response:
        accept = accept_of(request)
        count = stored.number_of_frames if numbers is None else len(numbers)
        form = accept.choose(lambda wanted: _offer(wanted, accept, stored.transfer_syntax_uid, count))
        if form is None:
            raise not_acceptable(accept, _offered(stored.transfer_syntax_uid, count))
        base = base_url(request, self._options)
        spans = self._layouts.spans(stored, numbers)
        if not form.multipart and len(spans) == 1:
            return StreamedResponse(
                self._octets(stored, spans), content_type=form.content_type, length=spans[0].length
            )
        url = instance_url_of(base, stored)
        writer = PartWriter(form.media_type)
        heads = [
            writer.head(form.content_type, location=f"{url}/frames/{number}")
            for number in numbers or range(1, len(spans) + 1)
        ]

        length = sum(map(len, heads)) + sum(span.length for span in spans) + len(writer.tail)
        return StreamedResponse(
            self._octets(stored, spans, heads, writer.tail), content_type=writer.content_type, length=length
        )

    def _octets(
        self, stored: Stored, spans: Sequence[FrameSpan], heads: Sequence[bytes] = (), tail: bytes = b""
    ) -> Chunks:
        deflated = encoding_of(stored.transfer_syntax_uid).deflated
        with self._archive.open_stored(stored) as opened:
            data = inflated(opened.view[stored.data_set_offset :], stored.transfer_syntax_uid)
            for index, span in enumerate(spans):
                if heads:
                    yield heads[index]
                if span.plain and span.length > _SLICED_FROM and not deflated:
                    start = stored.data_set_offset + span.parts[0][0]
                    yield from opened.slices(start, start + span.length)
                else:
                    frame = read_frame(data, span)
                    yield frame if isinstance(frame, bytes) else memoryview(frame)
            if tail:
                yield tail


def frame_numbers(text: str) -> list[int]:
    """Frame numbers of a path, from 1.

    Raises: Problem 400, when it is no list of such numbers.
    """
    if not _LIST.fullmatch(text):
        raise Problem(400, f"frame list is {shown(text)}; numbers from 1 with commas between them wanted")
    numbers = [int(number) for number in text.split(",")]
    if 0 in numbers:
        raise Problem(400, f"frame list is {shown(text)}; frames are counted from 1")
    return numbers


def _offer(wanted: Wanted, accept: Accept, stored_syntax: str, count: int) -> _Form | None:
    for media_type, syntax, asked in _representations(stored_syntax):
        if not wanted.part.matches(media_type) or wanted.transfer_syntax not in asked:
            continue
        if wanted.multipart and accept.allows(media_type, multipart=True):
            return _Form(True, media_type, syntax)
        if wanted.single and count == 1 and accept.allows(media_type, multipart=False):
            return _Form(False, media_type, syntax)
    return None


def _representations(stored_syntax: str) -> list[tuple[str, str, tuple[str | None, ...]]]:
    """Media type, transfer syntax and how that may be asked for, of what there is."""
    syntax = TRANSFER_SYNTAXES.get(stored_syntax)
    if syntax is None or not syntax.encapsulated:
        return [(OCTET_STREAM, EXPLICIT_VR_LITTLE_ENDIAN, (None, "*", EXPLICIT_VR_LITTLE_ENDIAN))]
    # Octets are uncompressed unless a transfer syntax is asked for; Cornerstone3D always asks for "*"
    octets = (OCTET_STREAM, stored_syntax, ("*", stored_syntax))
    media_type = FRAME_MEDIA_TYPES.get(stored_syntax)
    return [(media_type, stored_syntax, (None, "*", stored_syntax)), octets] if media_type else [octets]


def _offered(stored_syntax: str, count: int) -> list[str]:
    offered = []
    for media_type, syntax, asked in _representations(stored_syntax):
        parameter = "" if None in asked else f"; transfer-syntax={syntax}"
        offered.append(f'{MULTIPART_RELATED}; type="{media_type}"{parameter}')
        if count == 1:
            offered.append(media_type + parameter)
    return offered
