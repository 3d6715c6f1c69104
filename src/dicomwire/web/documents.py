"""Rendered forms of what is no image: reports, encapsulated documents, video (PS3.18 8.7.4)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from dicomwire.archive.archive import Archive, Stored
from dicomwire.dicom import json_model, xml_model
from dicomwire.dicom.attributes import read_attributes
from dicomwire.dicom.bulk_data import locate
from dicomwire.dicom.encoding import EXPLICIT_LITTLE, encoding_of
from dicomwire.dicom.report import as_html, as_text
from dicomwire.errors import DataSetError
from dicomwire.web.conditional import entity_tag, not_modified
from dicomwire.web.frame_forms import FRAME_MEDIA_TYPES
from dicomwire.web.layout import Layouts, inflated
from dicomwire.web.media_types import MULTIPART_RELATED, Accept, Wanted, accept_of, not_acceptable
from dicomwire.web.multipart import PartWriter
from dicomwire.web.pictures import STILLS, is_video
from dicomwire.web.plans import instance_url_of
from dicomwire.web.problems import Problem
from dicomwire.web.responses import Chunks, StreamedResponse

HTML: Final = "text/html"
PLAIN: Final = "text/plain"
XML: Final = "text/xml"
_TEXTS: Final = (HTML, PLAIN, XML)

_REPORTS: Final = "1.2.840.10008.5.1.4.1.1.88."  # the root of every structured report's SOP class
ENCAPSULATED: Final = {
    "1.2.840.10008.5.1.4.1.1.104.1": "application/pdf",
    "1.2.840.10008.5.1.4.1.1.104.2": "text/xml",
    "1.2.840.10008.5.1.4.1.1.104.3": "model/stl",
    "1.2.840.10008.5.1.4.1.1.104.4": "model/obj",
    "1.2.840.10008.5.1.4.1.1.104.5": "model/mtl",
}
SHOWN: Final = (*dict.fromkeys((*_TEXTS, *ENCAPSULATED.values())), "video/mp4", "video/mpeg", "video/h265")
"""Every media type of what is no image."""

_DOCUMENT: Final = 0x00420011
_DOCUMENT_LENGTH: Final = 0x00420015
# What a document or report says must not do anything in the viewer's name
_POLICY: Final = {"Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'"}


@dataclass(frozen=True, slots=True)
class Document:
    """One document in the media type that it leaves in."""

    stored: Stored
    media_type: str


def document_types(stored: Stored) -> tuple[str, ...]:
    """Media types in which an instance that is no image can be shown, the default first."""
    if _is_report(stored):
        return _TEXTS
    if media_type := ENCAPSULATED.get(stored.sop_class_uid):
        return tuple(dict.fromkeys((media_type, HTML, PLAIN, XML)))
    video = FRAME_MEDIA_TYPES.get(stored.transfer_syntax_uid, "")
    return (video,) if video.startswith("video/") else ()


def leaves_as_film(accept: Accept, stored: Stored, *, alone: bool) -> bool:
    """Whether a client likes a video better as it is than as a still; so it is where it takes neither.

    alone: the video is all that was asked for, and need not be a part.
    """

    def film(wanted: Wanted) -> bool | None:
        for form in (False, True) if alone else (True,):
            for kinds in (document_types(stored), STILLS):
                if any(accept.allows(wanted, kind, multipart=form) for kind in kinds):
                    return kinds is not STILLS
        return None

    return accept.choose(film) is not False


def in_parts(types: Iterable[str]) -> list[str]:
    """Media types as parts, in words for a 406."""
    return [f'{MULTIPART_RELATED}; type="{each}"' for each in types]


def _chosen(accept: Accept, stored: Stored, forms: Sequence[bool]) -> tuple[str, bool] | None:
    """The media type of one document, and whether it is a part. forms: those allowed, the better first."""

    def offer(wanted: Wanted) -> tuple[str, bool] | None:
        for media_type in document_types(stored):
            for multipart in forms:
                if accept.allows(wanted, media_type, multipart=multipart):
                    return media_type, multipart
        return None

    return accept.choose(offer)


def is_taken(accept: Accept, stored: Stored) -> bool:
    """The client takes a document as it is, without parts."""
    return _chosen(accept, stored, (False,)) is not None


def _content_type(media_type: str) -> str:
    return f"{media_type}; charset=utf-8" if media_type in (HTML, PLAIN) else media_type


def _is_report(stored: Stored) -> bool:
    return stored.sop_class_uid.startswith(_REPORTS)


class Documents:
    """Rendered documents of an archive."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._layouts = Layouts(archive)

    async def answer(self, request: Request, stored: Stored, base: str) -> Response:
        """One instance in a media type that the client takes.

        Raises: Problem 406, when there is none; 404, when the document cannot be found in it.
        """
        accept = accept_of(request)
        chosen = _chosen(accept, stored, (False, True))
        if chosen is None:
            types = (*document_types(stored), *(STILLS if is_video(stored) else ()))
            raise not_acceptable(accept, [*types, *in_parts(types)])
        media_type, multipart = chosen
        tag = entity_tag([stored], media_type, base if multipart else "")
        if (unchanged := not_modified(request, tag)) is not None:
            return unchanged
        body, length = await self._body(stored, media_type)
        content_type = _content_type(media_type)
        headers = {"ETag": tag, **(_POLICY if media_type.startswith("text/") else {})}
        if not multipart:
            return StreamedResponse(body, content_type=content_type, length=length, headers=headers)
        writer = PartWriter(media_type)
        location = f"{instance_url_of(base, stored)}/rendered"
        head = writer.head(content_type, length=length, location=location)
        return StreamedResponse(
            _in_part(head, body, writer.tail),
            content_type=writer.content_type,
            length=len(head) + length + len(writer.tail),
            headers=headers,
        )

    def accepted(self, accept: Accept, plan: Iterable[Stored]) -> list[Document]:
        """Those of a plan that the client takes as parts, each in the media type that it likes best."""
        chosen = ((stored, _chosen(accept, stored, (True,))) for stored in plan)
        return [Document(stored, choice[0]) for stored, choice in chosen if choice is not None]

    async def part(self, document: Document, writer: PartWriter, base: str) -> Chunks:
        """One document as a part of a larger answer. Raises: Problem 404, when it cannot be found."""
        body, length = await self._body(document.stored, document.media_type)
        location = f"{instance_url_of(base, document.stored)}/rendered"
        content_type = _content_type(document.media_type)
        return _in_part(writer.head(content_type, length=length, location=location), body, b"")

    async def _body(self, stored: Stored, media_type: str) -> tuple[Chunks, int]:
        if _is_report(stored) or (media_type in _TEXTS and media_type != document_types(stored)[0]):
            text = await asyncio.to_thread(self._report, stored, media_type)
            return _once(text), len(text)
        if media_type.startswith("video/"):
            return self._video(stored)
        return self._document(stored)

    def _report(self, stored: Stored, media_type: str) -> bytes:
        """As a page, as text, or, in text/xml, as the Native DICOM Model (PS3.19 A.1)."""
        syntax = stored.transfer_syntax_uid
        with self._archive.open_stored(stored) as opened:
            data = inflated(opened.view[stored.data_set_offset :], syntax)
            encoding = encoding_of(syntax)
            try:
                if media_type == XML:
                    data_set = opened.view[stored.data_set_offset :]
                    return xml_model.encode(json_model.encode(data_set, syntax, bulk_data_uri=None))
                report = read_attributes(data, EXPLICIT_LITTLE if encoding.deflated else encoding)
            except DataSetError as error:
                raise Problem(404, f"the report cannot be read: {error}") from None
        return (as_html(report) if media_type == HTML else as_text(report)).encode()

    def _video(self, stored: Stored) -> tuple[Chunks, int]:
        (span,) = self._layouts.spans(stored, [1])

        def chunks() -> Chunks:
            with self._archive.open_stored(stored) as opened:
                for offset, length in span.parts:
                    start = stored.data_set_offset + offset
                    yield from opened.pieces(start, start + length)

        return chunks(), span.length

    def _document(self, stored: Stored) -> tuple[Chunks, int]:
        syntax = stored.transfer_syntax_uid
        with self._archive.open_stored(stored) as opened:
            data_set = opened.view[stored.data_set_offset :]
            try:
                value = locate(data_set, syntax, (_DOCUMENT,))
                said = locate(data_set, syntax, (_DOCUMENT_LENGTH,))
            except DataSetError as error:
                raise Problem(404, f"the document cannot be found: {error}") from None
            if value is None or value.encapsulated:
                raise Problem(404, "the instance holds no document")
            data = memoryview(inflated(data_set, syntax))
        length = value.length
        if said is not None and said.length == 4:  # without the byte that pads it
            number = data[said.offset : said.offset + 4]
            exact = int.from_bytes(number, "little" if said.little_endian else "big")
            length = exact if length - 1 <= exact <= length else length
        return _once(data[value.offset : value.offset + length]), length


def _once(body: bytes | memoryview) -> Chunks:
    yield body


def _in_part(head: bytes, body: Chunks, tail: bytes) -> Chunks:
    yield head
    yield from body
    yield tail
