"""WADO-RS: all bulk data, or all pixel data, of studies, series and instances (PS3.18 10.4.1.1.5, 8.7.3.3).

A part a value, or a frame of compressed pixel data: uncompressed in little endian order, or as it is stored
where `transfer-syntax=*` asks for that or nothing here can decode it. A compressed media type is of frames:
then every frame comes in it and values that are no pixels are left out. The only value of an instance comes
as itself to who takes octets and no parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from dicomwire.archive.archive import Archive, Stored
from dicomwire.dicom.bulk_data import BulkData as Value
from dicomwire.dicom.encoding import PIXEL_DATA
from dicomwire.dicom.json_model import encode
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN
from dicomwire.web import frame_forms
from dicomwire.web.awaited import AsyncChunks, AwaitedResponse
from dicomwire.web.bulkdata import BulkData, bulk_data_url
from dicomwire.web.conditional import entity_tag, not_modified
from dicomwire.web.frame_forms import FramesForm
from dicomwire.web.frames import Frames
from dicomwire.web.media_types import (
    MULTIPART_RELATED,
    OCTET_STREAM,
    Accept,
    Wanted,
    accept_of,
    not_acceptable,
    parse_accept,
)
from dicomwire.web.multipart import PartWriter
from dicomwire.web.options import WebOptions
from dicomwire.web.plans import instance_url_of, planned
from dicomwire.web.problems import Problem
from dicomwire.web.resources import base_url

_DECODED: Final = (None, EXPLICIT_VR_LITTLE_ENDIAN)


@dataclass(frozen=True, slots=True)
class BulkForm:
    """How bulk data leave.

    Attributes:
        media_type: of the whole answer.
        frames: how the frames of each instance leave, where they are compressed or are to be.
        only: the instances whose frames are answered, in a compressed media type; None for all values.
    """

    media_type: str
    frames: tuple[FramesForm, ...]
    only: tuple[Stored, ...] | None = None


class BulkResources:
    """Endpoint of GET on .../bulkdata and .../pixeldata; instances as bulk data."""

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
        plan = planned(request, self._archive)
        form = accept.choose(lambda wanted: self.offer(wanted, accept, plan))
        if form is not None:
            return await self.answer(request, plan, form)
        alone = self._alone(plan)
        if alone is None:
            raise not_acceptable(accept, self.offered(plan))
        if not _takes_octets(accept):
            raise not_acceptable(accept, [*self.offered(plan), OCTET_STREAM])
        return await self._values.answer(request, plan[0], alone)

    def offer(self, wanted: Wanted, accept: Accept, plan: list[Stored]) -> BulkForm | None:
        """What a range of Accept makes of the bulk data of instances."""
        octets = _offer(wanted, accept)
        if octets is not None:
            choose = frame_forms.as_stored if octets else self._frames.decoded
            return BulkForm(OCTET_STREAM, tuple(map(choose, plan)))
        with_pixels = [stored for stored in plan if stored.pixel_data_offset is not None]
        forms = [self._frames.offer(wanted, stored) for stored in with_pixels]
        for one in forms[0] if forms else ():
            multipart = accept.allows(wanted, one.media_type, multipart=True)
            single = len(plan) == 1 and plan[0].number_of_frames == 1
            if not multipart and not (single and accept.allows(wanted, one.media_type, multipart=False)):
                continue
            alike = [
                next((form for form in each if form.media_type == one.media_type), None) for each in forms
            ]
            found = tuple(replace(form, multipart=multipart) for form in alike if form is not None)
            if len(found) == len(forms):
                return BulkForm(one.media_type, found, tuple(with_pixels))
        return None

    def offered(self, plan: list[Stored]) -> list[str]:
        """What there is, for a 406; a compressed media type where all frames can leave in it."""
        anything = replace(parse_accept([]).wanted[0], single=False)
        frames = [
            [form.media_type for form in self._frames.offer(anything, stored)]
            for stored in plan
            if stored.pixel_data_offset is not None
        ]
        common = set.intersection(*map(set, frames)) if frames else set()
        compressed = [each for each in dict.fromkeys(chain(*frames)) if each in common]
        parts = [f'{MULTIPART_RELATED}; type="{each}"' for each in (OCTET_STREAM, *compressed)]
        return [*parts, f"{parts[0]}; transfer-syntax=*"]

    def _alone(self, plan: list[Stored]) -> Value | None:
        """The only value that there is: it comes as itself, and ranges of it."""
        values = list(self._wanted(plan[0])) if len(plan) == 1 else []
        return values[0] if len(values) == 1 else None

    async def answer(self, request: Request, plan: list[Stored], form: BulkForm) -> Response:
        """The bulk data of instances in a form that was chosen."""
        base = base_url(request, self._options)
        if form.only is not None and not form.frames[0].multipart:
            return await self._frames.answer(request, plan[0], None, form.frames[0])
        tag = entity_tag(plan, form.media_type, repr(form.frames), str(self._pixels_only), base)
        if (unchanged := not_modified(request, tag)) is not None:
            return unchanged
        writer = PartWriter(form.media_type)
        chunks = (
            self._octets(plan, writer, base, form)
            if form.only is None
            else self._compressed(writer, base, form)
        )
        return AwaitedResponse(chunks, content_type=writer.content_type, headers={"ETag": tag})

    async def _octets(self, plan: list[Stored], writer: PartWriter, base: str, form: BulkForm) -> AsyncChunks:
        any_there = False
        for stored, frames in zip(plan, form.frames, strict=True):
            for value in sorted(self._wanted(stored), key=_is_read_as_it_stands):
                any_there = True
                if not _is_read_as_it_stands(value):
                    async with aclosing(self._frames.parts(stored, writer, base, frames)) as chunks:
                        async for chunk in chunks:
                            yield chunk
                    continue
                content_type = self._values.content_type(stored, value)
                yield writer.head(content_type, location=bulk_data_url(instance_url_of(base, stored), value))
                for chunk in self._values.octets(stored, value):
                    yield chunk
        if not any_there:
            raise Problem(404, f"there {'are no pixel data' if self._pixels_only else 'is no bulk data'}")
        yield writer.tail

    async def _compressed(self, writer: PartWriter, base: str, form: BulkForm) -> AsyncChunks:
        for stored, frames in zip(form.only or (), form.frames, strict=True):
            async with aclosing(self._frames.parts(stored, writer, base, frames)) as chunks:
                async for chunk in chunks:
                    yield chunk
        yield writer.tail

    def _wanted(self, stored: Stored) -> Iterator[Value]:
        found: list[Value] = []

        def noted(value: Value) -> str:
            found.append(value)
            return ""

        with self._archive.open_stored(stored) as opened:
            encode(opened.view[stored.data_set_offset :], stored.transfer_syntax_uid, bulk_data_uri=noted)
        return (value for value in found if not self._pixels_only or value.path[0] in PIXEL_DATA)


def _is_read_as_it_stands(value: Value) -> bool:
    """What is not, frames that may be decoded, goes first: failures are told before the first part only."""
    return not value.encapsulated or len(value.path) > 1


def _takes_octets(accept: Accept) -> bool:
    """Whether a single value may be octets."""
    return any(accept.allows(wanted, OCTET_STREAM, multipart=False) for wanted in accept.wanted)


def _offer(wanted: Wanted, accept: Accept) -> bool | None:
    """Whether frames stay as they are stored."""
    if not accept.allows(wanted, OCTET_STREAM, multipart=True):
        return None
    if wanted.transfer_syntax == "*":
        return True
    return False if wanted.transfer_syntax in _DECODED else None
