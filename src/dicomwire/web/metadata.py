"""WADO-RS: metadata of studies, series and instances in JSON and XML (PS3.18 10.4.1.1.2, 8.7.3.2, F).

One object, or one part, per instance, sent as it is made; bulk values are URIs of the bulk data resource.
"""

from __future__ import annotations

from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from dicomwire.archive.archive import Archive, Stored
from dicomwire.dicom import xml_model
from dicomwire.dicom.json_memo import JsonMemo
from dicomwire.web.bulkdata import bulk_data_url
from dicomwire.web.conditional import entity_tag, not_modified
from dicomwire.web.media_types import DICOM_XML, metadata_type_of
from dicomwire.web.multipart import PartWriter
from dicomwire.web.options import WebOptions
from dicomwire.web.plans import instance_url_of, planned
from dicomwire.web.resources import base_url
from dicomwire.web.responses import Chunks, StreamedResponse, gathered


class Metadata:
    """Endpoint of GET on .../metadata."""

    def __init__(self, archive: Archive, options: WebOptions) -> None:
        self._archive = archive
        self._options = options
        self._memo = JsonMemo()

    async def __call__(self, request: Request) -> Response:
        content_type = metadata_type_of(request)
        base = base_url(request, self._options)
        plan = planned(request, self._archive)
        tag = entity_tag(plan, content_type, base)
        if (unchanged := not_modified(request, tag)) is not None:
            return unchanged
        chunks = self._objects(plan, base)
        if content_type == DICOM_XML:
            writer = PartWriter(DICOM_XML)
            content_type, chunks = writer.content_type, self._parts(plan, base, writer)
        return StreamedResponse(gathered(chunks), content_type=content_type, headers={"ETag": tag})

    def _objects(self, plan: list[Stored], base: str) -> Chunks:
        separator = b"["
        for stored in plan:
            yield separator + self._object(stored, base)
            separator = b",\n"
        yield b"]"

    def _parts(self, plan: list[Stored], base: str, writer: PartWriter) -> Chunks:
        for stored in plan:
            location = f"{instance_url_of(base, stored)}/metadata"
            yield writer.part(DICOM_XML, xml_model.encode(self._object(stored, base)), location=location)
        yield writer.tail

    def _object(self, stored: Stored, base: str) -> bytes:
        url = instance_url_of(base, stored)
        with self._archive.open_stored(stored) as opened:
            return self._memo.encode(
                opened.view[stored.data_set_offset :],
                stored.transfer_syntax_uid,
                bulk_data_uri=partial(bulk_data_url, url),
            )
