"""WADO-RS: all bulk data, or all pixel data, of studies, series and instances (PS3.18 10.4.1.1.5, 8.7.3.3).

A part a value, or a frame of compressed pixel data: uncompressed in little endian order, or as it is stored
where `transfer-syntax=*` asks for that or nothing here can decode it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import aclosing
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from dicomwire.archive.archive import Archive, Stored
from dicomwire.dicom.bulk_data import BulkData as Value
from dicomwire.dicom.encoding import PIXEL_DATA
from dicomwire.dicom.json_model import encode
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN
from dicomwire.web.awaited import AsyncChunks, AwaitedResponse
from dicomwire.web.bulkdata import BulkData, bulk_data_url
from dicomwire.web.frames import Frames
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
from dicomwire.web.problems import Problem
from dicomwire.web.resources import base_url

_DECODED: Final = (None, EXPLICIT_VR_LITTLE_ENDIAN)


class BulkResources:
    """Endpoint of GET on .../bulkdata and .../pixeldata."""

    def __init__(
        self, archive: Archive, options: WebOptions, values: BulkData, frames: Frames, *, pixels_only: bool
    ) -> None:
        self._archive = archive
        self._options = options
        self._values = values
        self._frames = frames
        self._pixels_only = pixels_only

    async def __call__(self, request: Request) -> Response:
        accept = accept_of(request)
        as_stored = accept.choose(lambda wanted: _offer(wanted, accept))
        if as_stored is None:
            parts = f'{MULTIPART_RELATED}; type="{OCTET_STREAM}"'
            raise not_acceptable(accept, [parts, f"{parts}; transfer-syntax=*"])
        plan = planned(request, self._archive)
        writer = PartWriter(OCTET_STREAM)
        chunks = self._chunks(plan, writer, base_url(request, self._options), as_stored=as_stored)
        return AwaitedResponse(chunks, content_type=writer.content_type)

    async def _chunks(
        self, plan: list[Stored], writer: PartWriter, base: str, *, as_stored: bool
    ) -> AsyncChunks:
        any_there = False
        for stored in plan:
            for value in self._wanted(stored):
                any_there = True
                if value.encapsulated:
                    parts = self._frames.parts(stored, writer, base, as_stored=as_stored)
                    async with aclosing(parts) as chunks:
                        async for chunk in chunks:
                            yield chunk
                    continue
                yield writer.head(OCTET_STREAM, location=bulk_data_url(instance_url_of(base, stored), value))
                for chunk in self._values.octets(stored, value):
                    yield chunk
        if not any_there:
            raise Problem(404, f"there {'are no pixel data' if self._pixels_only else 'is no bulk data'}")
        yield writer.tail

    def _wanted(self, stored: Stored) -> Iterator[Value]:
        found: list[Value] = []

        def noted(value: Value) -> str:
            found.append(value)
            return ""

        with self._archive.open_stored(stored) as opened:
            encode(opened.view[stored.data_set_offset :], stored.transfer_syntax_uid, bulk_data_uri=noted)
        return (value for value in found if not self._pixels_only or value.path[0] in PIXEL_DATA)


def _offer(wanted: Wanted, accept: Accept) -> bool | None:
    """Whether frames stay as they are stored."""
    if not (
        wanted.multipart and wanted.part.matches(OCTET_STREAM) and accept.allows(OCTET_STREAM, multipart=True)
    ):
        return None
    if wanted.transfer_syntax == "*":
        return True
    return False if wanted.transfer_syntax in _DECODED else None
