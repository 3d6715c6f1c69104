"""WADO-RS: frames of pixel data (PS3.18 10.4.1.1.6, 8.7.3.3).

What lies as it is wanted is sent from where it lies; the rest is decoded or encoded by worker processes, a
few frames ahead of the client.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import aclosing
from functools import partial
from itertools import pairwise, repeat
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from dicomwire.archive.archive import Archive, Stored
from dicomwire.archive.transcoder import Spooled, Transcoder
from dicomwire.dicom.deflate import ranges_of
from dicomwire.dicom.encoding import encoding_of
from dicomwire.dicom.frames import FrameSpan, read_frame
from dicomwire.dicom.pixel_description import PIXEL_DATA
from dicomwire.errors import TranscodingError, WorkersBusy
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN
from dicomwire.web import frame_forms
from dicomwire.web.awaited import AsyncChunks, AwaitedResponse, ahead, pieces_of
from dicomwire.web.conditional import entity_tag, not_modified
from dicomwire.web.frame_forms import FramesForm, kind_of, syntax_of_frames
from dicomwire.web.layout import Layouts, inflated
from dicomwire.web.media_types import OCTET_STREAM, Wanted, accept_of, not_acceptable
from dicomwire.web.multipart import PartWriter
from dicomwire.web.options import WebOptions
from dicomwire.web.plans import instance_url_of, planned
from dicomwire.web.problems import Problem, shown
from dicomwire.web.ranges import cut, ranged
from dicomwire.web.resources import base_url
from dicomwire.web.responses import Chunks, StreamedResponse

_LIST: Final = re.compile(r"[0-9]{1,10}(?:,[0-9]{1,10})*")
_AHEAD: Final = 4  # frames under way at once for one client
_LOSSY_QUALITY: Final = 90  # of frames that were asked for in a transfer syntax that loses something


class Frames:
    """Endpoint of GET on .../frames/{frames}, and on .../frames, which are all."""

    def __init__(self, archive: Archive, options: WebOptions, transcoder: Transcoder) -> None:
        self._archive = archive
        self._options = options
        self._transcoder = transcoder
        self._layouts = Layouts(archive)

    async def __call__(self, request: Request) -> Response:
        listed = request.path_params.get("frames")
        numbers = None if listed is None else frame_numbers(listed)
        (stored,) = planned(request, self._archive)
        return await self._answer(request, stored, numbers)

    async def all_frames(self, request: Request, stored: Stored) -> Response:
        """Every frame of an instance, for its pixel data as bulk data."""
        return await self._answer(request, stored, None, joined=True)

    def offer(self, wanted: Wanted, stored: Stored) -> list[FramesForm]:
        """The compressed forms that a range of Accept leaves for the frames of an instance."""
        return frame_forms.compressed(wanted, kind_of(stored, self._transcoder))

    def decoded(self, stored: Stored) -> FramesForm:
        """How the frames of an instance leave as octets: as they are stored where they cannot be decoded."""
        if self._transcoder.available and EXPLICIT_VR_LITTLE_ENDIAN in self._transcoder.targets(stored):
            return FramesForm(True, OCTET_STREAM, EXPLICIT_VR_LITTLE_ENDIAN, joined=True)
        return frame_forms.as_stored(stored)

    async def parts(self, stored: Stored, writer: PartWriter, base: str, form: FramesForm) -> AsyncChunks:
        """The frames of an instance as parts of a larger answer: one each, or one."""
        spans = self._layouts.spans(stored, None)
        numbers = range(1, len(spans) + 1)
        url = instance_url_of(base, stored)
        as_stored = form.transfer_syntax == syntax_of_frames(stored)
        lengths = [span.length for span in spans] if as_stored else None
        heads = _heads(writer, form, url, numbers, lengths)
        if as_stored:
            for chunk in self._octets(stored, spans, heads):
                yield chunk
            return
        async with aclosing(self._transcoded(stored, numbers, form.transfer_syntax, heads, b"")) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _answer(
        self, request: Request, stored: Stored, numbers: Sequence[int] | None, *, joined: bool = False
    ) -> Response:
        """joined: uncompressed frames are one value."""
        accept = accept_of(request)
        single = (stored.number_of_frames if numbers is None else len(numbers)) == 1
        kind = kind_of(stored, self._transcoder)
        form = frame_forms.chosen(accept, kind, single=single, joined=joined)
        if form is None:
            raise not_acceptable(accept, frame_forms.offered(kind, single=single, joined=joined))
        return await self.answer(request, stored, numbers, form)

    async def answer(
        self, request: Request, stored: Stored, numbers: Sequence[int] | None, form: FramesForm
    ) -> Response:
        """Frames of an instance, all of them for None, in a form that was chosen."""
        base = base_url(request, self._options)
        tag = entity_tag([stored], str(numbers), form.content_type, base if form.multipart else "")
        if (unchanged := not_modified(request, tag)) is not None:
            return unchanged
        spans = self._layouts.spans(stored, numbers)
        wanted = numbers or range(1, len(spans) + 1)
        as_stored = form.transfer_syntax == syntax_of_frames(stored)
        heads: list[bytes] = []
        tail, content_type = b"", form.content_type
        if form.multipart or (len(spans) != 1 and not form.joined):
            writer = PartWriter(form.media_type)
            url = instance_url_of(base, stored)
            lengths = [span.length for span in spans] if as_stored else None
            heads = _heads(writer, form, url, wanted, lengths)
            tail, content_type = writer.tail, writer.content_type
        in_ranges = not heads and len(spans) == 1
        headers = {"ETag": tag, "Accept-Ranges": "bytes"} if in_ranges else {"ETag": tag}
        if in_ranges and "range" in request.headers:
            whole: Callable[[], Chunks]
            if as_stored:
                whole, length = partial(self._octets, stored, spans), spans[0].length
            else:
                frame = await self._frame(stored, wanted[0], form.transfer_syntax)
                whole, length = partial(pieces_of, frame), len(frame)
            return ranged(
                request,
                lambda span: cut(whole(), span),
                length=length,
                content_type=content_type,
                headers=headers,
            )
        if as_stored:
            length = sum(map(len, heads)) + sum(span.length for span in spans) + len(tail)
            octets = self._octets(stored, spans, heads, tail)
            return StreamedResponse(octets, content_type=content_type, length=length, headers=headers)
        chunks = self._transcoded(stored, wanted, form.transfer_syntax, heads, tail)
        return AwaitedResponse(chunks, content_type=content_type, headers=headers)

    async def _transcoded(
        self, stored: Stored, numbers: Sequence[int], syntax: str, heads: Sequence[bytes], tail: bytes
    ) -> AsyncChunks:
        """Frames that are decoded or encoded on their way. Raises: as `_frame`."""

        async def one(number: int) -> bytearray | Spooled:
            return await self._frame(stored, number, syntax)

        async with aclosing(ahead(one, numbers, _AHEAD if len(numbers) > 1 else 1)) as frames:
            index = 0
            async for frame in frames:
                if index < len(heads):
                    yield heads[index]
                    index += 1
                for piece in pieces_of(frame):
                    yield piece
        if tail:
            yield tail

    async def _frame(self, stored: Stored, number: int, syntax: str) -> bytearray | Spooled:
        """A frame decoded or encoded.

        Raises: Problem 406, when it cannot be: there is the stored one still; 503, when too many wait.
        """
        lossy = syntax not in self._transcoder.targets(stored)
        try:
            return await self._transcoder.frame(
                stored, number, syntax, quality=_LOSSY_QUALITY if lossy else None
            )
        except TranscodingError as error:
            raise _untranscodable(stored, error) from None
        except WorkersBusy as error:
            raise Problem(503, str(error), {"Retry-After": "5"}) from None

    def _octets(
        self, stored: Stored, spans: Sequence[FrameSpan], heads: Sequence[bytes] = (), tail: bytes = b""
    ) -> Chunks:
        deflated = encoding_of(stored.transfer_syntax_uid).deflated
        with self._archive.open_stored(stored) as opened:
            data_set = opened.view[stored.data_set_offset :]
            if deflated and _ascend(spans):
                yield from _inflated(data_set, spans, heads)
            else:
                data = inflated(data_set, stored.transfer_syntax_uid)
                for index, span in enumerate(spans):
                    if heads:
                        yield heads[index]
                    if span.plain and not deflated:
                        start = stored.data_set_offset + span.parts[0][0]
                        yield from opened.pieces(start, start + span.length)
                    else:
                        frame = read_frame(data, span)
                        yield frame if isinstance(frame, bytes) else memoryview(frame)
            if tail:
                yield tail


def _heads(
    writer: PartWriter, form: FramesForm, url: str, numbers: Sequence[int], lengths: Sequence[int] | None
) -> list[bytes]:
    """What stands before each frame, or before all of them, which are what metadata name.

    lengths: in bytes, None where they are not known yet.
    """
    if form.joined:
        return [writer.head(form.content_type, location=f"{url}/bulkdata/{PIXEL_DATA:08X}")]
    return [
        writer.head(form.content_type, length=length, location=f"{url}/frames/{number}")
        for number, length in zip(numbers, lengths or repeat(None), strict=False)
    ]


def _ascend(spans: Sequence[FrameSpan]) -> bool:
    """Each is one slice of the data set, behind the one before."""
    return all(span.plain and span.length for span in spans) and all(
        sum(before.parts[0]) <= after.parts[0][0] for before, after in pairwise(spans)
    )


def _inflated(data_set: memoryview, spans: Sequence[FrameSpan], heads: Sequence[bytes]) -> Chunks:
    """Frames of a deflated data set, which is not held whole."""
    begun = -1
    for index, piece in ranges_of(data_set, [span.parts[0] for span in spans]):
        if index != begun and heads:
            yield heads[index]
        begun = index
        yield piece


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


def _untranscodable(stored: Stored, error: TranscodingError) -> Problem:
    kept = frame_forms.as_stored(stored).content_type
    return Problem(406, f"{error}; the frames are available as they are stored, {kept}")
