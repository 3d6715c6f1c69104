"""WADO-RS: bulk data, the values that metadata leave out (PS3.18 10.4.1.1.5, 8.7.3.3).

Values are octets in little endian order. Encapsulated pixel data are answered frame by frame, or decoded, all
frames as one value; those of an item, as of an icon, are one codestream.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from dicomwire.archive.archive import Archive, Stored
from dicomwire.dicom.bulk_data import BulkData as Value
from dicomwire.dicom.bulk_data import Path, format_path, locate, parse_path
from dicomwire.dicom.byte_order import UNIT_SIZES, swapped
from dicomwire.dicom.deflate import inflate
from dicomwire.dicom.encoding import EXPLICIT_LITTLE, fragments
from dicomwire.uids import DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN
from dicomwire.web.conditional import entity_tag, not_modified
from dicomwire.web.frame_forms import FRAME_MEDIA_TYPES
from dicomwire.web.frames import Frames
from dicomwire.web.media_types import OCTET_STREAM, Accept, Wanted, accept_of, not_acceptable
from dicomwire.web.multipart import PartWriter
from dicomwire.web.options import WebOptions
from dicomwire.web.plans import instance_url_of, planned
from dicomwire.web.problems import Problem, shown
from dicomwire.web.ranges import ByteRange, ranged, requested_ranges
from dicomwire.web.resources import base_url
from dicomwire.web.responses import Chunks, StreamedResponse

_SLICE = 1 << 20  # bytes at a time; a multiple of every unit that is swapped


class BulkData:
    """Endpoint of GET on .../bulkdata/{path}."""

    def __init__(self, archive: Archive, options: WebOptions, frames: Frames) -> None:
        self._archive = archive
        self._options = options
        self._frames = frames

    async def __call__(self, request: Request) -> Response:
        text: str = request.path_params["path"]
        path = parse_path(text)
        if path is None:
            raise Problem(400, f"bulk data path is {shown(text)}; tags and item numbers, as 7FE00010, wanted")
        (stored,) = planned(request, self._archive)
        value = self._locate(stored, path)
        if value is None:
            raise Problem(404, f"the instance has no value {text}")
        return await self.answer(request, stored, value)

    async def answer(self, request: Request, stored: Stored, value: Value) -> Response:
        """One value, or the range of it that is asked for. Raises: Problem 406, 416."""
        accept = accept_of(request)
        if value.encapsulated and len(value.path) == 1:
            return await self._frames.all_frames(request, stored)
        if value.encapsulated:
            return self._codestream(request, stored, value)
        multipart = accept.choose(lambda wanted: _offer(wanted, accept))
        if multipart is None:
            raise not_acceptable(accept, [OCTET_STREAM, f'multipart/related; type="{OCTET_STREAM}"'])
        base = base_url(request, self._options)
        tag = entity_tag([stored], format_path(value.path), base if multipart else "")
        if (unchanged := not_modified(request, tag)) is not None:
            return unchanged
        if not multipart:
            return ranged(
                request,
                partial(self.octets, stored, value),
                length=value.length,
                content_type=OCTET_STREAM,
                headers={"ETag": tag},
            )
        location = bulk_data_url(instance_url_of(base, stored), value)
        response = self._parts(stored, value, requested_ranges(request, value.length, tag), location)
        response.headers["ETag"] = tag
        return response

    def _locate(self, stored: Stored, path: Path) -> Value | None:
        with self._archive.open_stored(stored) as opened:
            return locate(opened.view[stored.data_set_offset :], stored.transfer_syntax_uid, path)

    def _codestream(self, request: Request, stored: Stored, value: Value) -> Response:
        """Encapsulated pixel data within an item: as they are stored, whatever syntax is asked for."""
        accept = accept_of(request)
        media_type = FRAME_MEDIA_TYPES.get(stored.transfer_syntax_uid, OCTET_STREAM)
        chosen = accept.choose(
            lambda wanted: next(
                (
                    (each, multipart)
                    for each in (media_type, OCTET_STREAM)
                    if (multipart := _offer(wanted, accept, each)) is not None
                ),
                None,
            )
        )
        if chosen is None:
            raise not_acceptable(accept, [media_type, OCTET_STREAM])
        content_type = f"{chosen[0]}; transfer-syntax={stored.transfer_syntax_uid}"
        if not chosen[1]:
            return StreamedResponse(self.octets(stored, value), content_type=content_type)
        writer = PartWriter(chosen[0])
        location = bulk_data_url(instance_url_of(base_url(request, self._options), stored), value)

        def chunks() -> Chunks:
            yield writer.head(content_type, location=location)
            yield from self.octets(stored, value)
            yield writer.tail

        return StreamedResponse(chunks(), content_type=writer.content_type)

    def _parts(self, stored: Stored, value: Value, spans: Sequence[ByteRange], location: str) -> Response:
        """One part, or one a range, which is of the value in it, as dicomweb-client asks for it."""
        writer = PartWriter(OCTET_STREAM)
        wanted: Sequence[ByteRange | None] = spans or (None,)
        heads = [
            writer.head(
                OCTET_STREAM,
                length=len(span) if span else value.length,
                location=location,
                content_range=span.content_range if span else "",
            )
            for span in wanted
        ]

        def chunks() -> Chunks:
            for head, span in zip(heads, wanted, strict=True):
                yield head
                yield from self.octets(stored, value, span)
            yield writer.tail

        size = sum(map(len, spans)) if spans else value.length
        return StreamedResponse(
            chunks(),
            content_type=writer.content_type,
            length=sum(map(len, heads)) + size + len(writer.tail),
            status=206 if spans else 200,
        )

    def content_type(self, stored: Stored, value: Value) -> str:
        """Of a value that is answered as it is stored."""
        if not value.encapsulated:
            return OCTET_STREAM
        own = stored.transfer_syntax_uid
        return f"{FRAME_MEDIA_TYPES.get(own, OCTET_STREAM)}; transfer-syntax={own}"

    def octets(self, stored: Stored, value: Value, span: ByteRange | None = None) -> Chunks:
        """A value, or a range of it, in little endian order; an encapsulated one without its items' heads."""
        start, end = (span.start, span.end) if span else (0, value.length)
        with self._archive.open_stored(stored) as opened:
            if stored.transfer_syntax_uid == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
                data_set = memoryview(inflate(opened.view[stored.data_set_offset :]))
                yield data_set[value.offset + start : value.offset + end]
                return
            if value.encapsulated:
                data_set = opened.view[stored.data_set_offset :]
                end = value.offset + value.length
                for start, length in [*fragments(data_set, value.offset, end, EXPLICIT_LITTLE)][1:-1]:
                    yield data_set[start : start + length]
                return
            unit = 1 if value.little_endian else UNIT_SIZES.get(value.vr, 1)
            first = stored.data_set_offset + value.offset
            if unit == 1:
                yield from opened.pieces(first + start, first + end)
                return
            for position in range(start - start % unit, end, _SLICE):
                piece = swapped(
                    opened.view[first + position : first + min(position + _SLICE, value.length)], unit
                )
                yield piece[max(start - position, 0) : end - position]


def bulk_data_url(instance_url: str, value: Value) -> str:
    """Where a value of an instance is retrieved."""
    return f"{instance_url}/bulkdata/{format_path(value.path)}"


def _offer(wanted: Wanted, accept: Accept, media_type: str = OCTET_STREAM) -> bool | None:
    """Whether the answer is multipart; one value is answered as itself where the client leaves it open."""
    for multipart in (False, True):
        if accept.allows(wanted, media_type, multipart=multipart):
            return multipart
    return None
