"""WADO-RS: studies, series and instances as DICOM files (PS3.18 10.4, 8.7.3.1).

Their bulk data leave instead where a client takes octets or a compressed media type only (PS3.18 Table
10.4.4-1).

What leaves as it is stored goes from the archive's mapped files to the socket, uncopied and with a
Content-Length. Implicit VR Little Endian and Explicit VR Big Endian never leave (PS3.18 8.7.3): they are
converted while sent. Pixel data are decoded or encoded by worker processes, an instance or two ahead of the
client; what they cannot read leaves as it is stored, under its own transfer syntax, rather than not at all.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

import structlog
from starlette.requests import Request
from starlette.responses import Response

from dicomwire.archive.archive import Archive, Stored
from dicomwire.archive.transcoder import Transcoded, Transcoder
from dicomwire.dicom.codecs import NATIVE
from dicomwire.dicom.convert import to_explicit_vr_little_endian
from dicomwire.dicom.part10 import write_file_meta
from dicomwire.errors import TranscodingError, WorkersBusy
from dicomwire.uids import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)
from dicomwire.web.awaited import AsyncChunks, AwaitedResponse, ahead
from dicomwire.web.bulk_resources import BulkForm, BulkResources
from dicomwire.web.conditional import entity_tag, not_modified
from dicomwire.web.media_types import DICOM, MULTIPART_RELATED, Accept, Wanted, accept_of, not_acceptable
from dicomwire.web.multipart import PartWriter
from dicomwire.web.options import WebOptions
from dicomwire.web.packaging import ZIP, packaged
from dicomwire.web.plans import instance_url_of, planned
from dicomwire.web.problems import Problem
from dicomwire.web.ranges import ByteRange, ranged
from dicomwire.web.resources import base_url
from dicomwire.web.responses import Chunks, StreamedResponse

log = structlog.get_logger()

_NEVER_SENT: Final = frozenset({IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN})
_AHEAD: Final = 2  # instances that are transcoded at once for one client


@dataclass(frozen=True, slots=True)
class _Form:
    """How instances leave.

    Attributes:
        multipart: in parts, not as one.
        transfer_syntaxes: of each.
        strict: the client named the transfer syntax: what cannot be in it is no answer.
        packaged: as one ZIP file, as they are stored.
        bulk: not as files, as their bulk data.
    """

    multipart: bool
    transfer_syntaxes: tuple[str, ...]
    strict: bool
    packaged: bool = False
    bulk: BulkForm | None = None


class Retrieve:
    """Endpoint of GET on a study, a series and an instance."""

    def __init__(
        self, archive: Archive, options: WebOptions, transcoder: Transcoder, bulk: BulkResources
    ) -> None:
        self._archive = archive
        self._options = options
        self._transcoder = transcoder
        self._bulk = bulk

    async def __call__(self, request: Request) -> Response:
        accept = accept_of(request)
        base = base_url(request, self._options)
        plan = planned(request, self._archive)

        def offer(wanted: Wanted) -> _Form | None:
            if files := _offer(wanted, accept, plan, self._transcoder):
                return files
            if bulk := self._bulk.offer(wanted, accept, plan):
                return _Form(multipart=True, transfer_syntaxes=(), strict=False, bulk=bulk)
            return None

        form = accept.choose(offer)
        if form is None:
            raise not_acceptable(accept, [*_offered(plan, self._transcoder), *self._bulk.offered(plan)])
        if form.bulk is not None:
            return await self._bulk.answer(request, plan, form.bulk)
        tag = entity_tag(plan, repr(form), base)
        if (unchanged := not_modified(request, tag)) is not None:
            return unchanged
        response = await self._answer(request, plan, form, base, tag=tag)
        response.headers["ETag"] = tag
        return response

    async def _answer(
        self, request: Request, plan: list[Stored], form: _Form, base: str, *, tag: str
    ) -> Response:
        if form.packaged:
            files = packaged(self._archive, plan, f"2.25.{uuid4().int}")
            disposition = {"Content-Disposition": f'attachment; filename="{plan[0].study_instance_uid}.zip"'}
            return StreamedResponse(files, content_type=ZIP, headers=disposition)
        if not form.multipart:
            if form.transfer_syntaxes[0] == plan[0].transfer_syntax_uid:
                return self._kept(request, plan[0], tag)
            return await self._single(plan[0], form.transfer_syntaxes[0], strict=form.strict)
        return self._parts(plan, form, base)

    def _kept(self, request: Request, stored: Stored, tag: str) -> Response:
        """An instance as it is stored, or ranges of it, as for a download that goes on."""

        def octets(span: ByteRange | None) -> Chunks:
            start, end = (span.start, span.end) if span else (0, stored.length)
            with self._archive.open_stored(stored) as opened:
                yield from opened.pieces(start, end)

        return ranged(
            request,
            octets,
            length=stored.length,
            content_type=_content_type(stored.transfer_syntax_uid),
            headers={"ETag": tag},
        )

    async def _single(self, stored: Stored, syntax: str, *, strict: bool) -> Response:
        if needs_codec(stored, syntax):
            try:
                return await self._transcoded(stored, syntax)
            except TranscodingError as error:
                if strict:
                    raise _untranscodable(error) from None
                syntax = stored.transfer_syntax_uid
        unchanged = syntax == stored.transfer_syntax_uid
        return StreamedResponse(
            _file(self._archive, stored, syntax),
            content_type=_content_type(syntax),
            length=stored.length if unchanged else None,
        )

    async def _transcoded(self, stored: Stored, syntax: str) -> Response:
        """Raises: TranscodingError, Problem 503."""
        async with AsyncExitStack() as opened:
            transcoded = await opened.enter_async_context(self._open(stored, syntax))
            staying = opened.pop_all()

        async def chunks() -> AsyncChunks:
            async with staying:
                yield transcoded.head
                for piece in transcoded.slices():
                    yield piece

        return AwaitedResponse(
            chunks(),
            content_type=_content_type(syntax),
            length=len(transcoded.head) + transcoded.length,
        )

    @asynccontextmanager
    async def _open(self, stored: Stored, syntax: str) -> AsyncIterator[Transcoded]:
        try:
            async with self._transcoder.transcode(stored, syntax) as transcoded:
                yield transcoded
        except WorkersBusy as error:
            raise Problem(503, str(error), {"Retry-After": "5"}) from None

    def _parts(self, plan: list[Stored], form: _Form, base: str) -> Response:
        writer = PartWriter(DICOM)
        pairs = list(zip(plan, form.transfer_syntaxes, strict=True))
        if any(needs_codec(stored, syntax) for stored, syntax in pairs):
            mixed = self._mixed(pairs, writer, base, strict=form.strict)
            return AwaitedResponse(mixed, content_type=writer.content_type)
        heads = [self._head(writer, stored, syntax, base) for stored, syntax in pairs]
        length: int | None = None
        if all(syntax == stored.transfer_syntax_uid for stored, syntax in pairs):
            length = sum(map(len, heads)) + sum(stored.length for stored in plan) + len(writer.tail)

        def chunks() -> Chunks:
            for head, (stored, syntax) in zip(heads, pairs, strict=True):
                yield head
                yield from _file(self._archive, stored, syntax)
            yield writer.tail

        return StreamedResponse(chunks(), content_type=writer.content_type, length=length)

    async def _mixed(
        self, pairs: Sequence[tuple[Stored, str]], writer: PartWriter, base: str, *, strict: bool
    ) -> AsyncChunks:
        """Parts of which some go through a codec.

        strict: the first one says whether there is an answer; what fails later leaves as it is stored.
        """

        async def opened(pair: tuple[Stored, str]) -> tuple[AsyncExitStack, Transcoded | None]:
            stored, syntax = pair
            stack = AsyncExitStack()
            if not needs_codec(stored, syntax):
                return stack, None
            try:
                return stack, await stack.enter_async_context(self._open(stored, syntax))
            except TranscodingError as error:
                if strict and pair is pairs[0]:
                    raise _untranscodable(error) from None
                log.warning("web.untranscodable", record=stored.record_id, error=str(error))
                return stack, None

        async def closed(result: tuple[AsyncExitStack, Transcoded | None]) -> None:
            await result[0].aclose()

        async with aclosing(ahead(opened, pairs, _AHEAD, discard=closed)) as results:
            remaining = iter(pairs)
            async for stack, transcoded in results:
                stored, syntax = next(remaining)
                async with stack:
                    if transcoded is not None:
                        length = len(transcoded.head) + transcoded.length
                        yield self._head(writer, stored, syntax, base, length) + transcoded.head
                        for piece in transcoded.slices():
                            yield piece
                        continue
                    if needs_codec(stored, syntax):
                        syntax = stored.transfer_syntax_uid
                    yield self._head(writer, stored, syntax, base)
                    for chunk in _file(self._archive, stored, syntax):
                        yield chunk
        yield writer.tail

    def _head(
        self, writer: PartWriter, stored: Stored, syntax: str, base: str, length: int | None = None
    ) -> bytes:
        if syntax == stored.transfer_syntax_uid:
            length = stored.length
        return writer.head(_content_type(syntax), length=length, location=instance_url_of(base, stored))


def transfer_syntax_to_send(stored: Stored, wanted: str | None, transcoder: Transcoder) -> str | None:
    """The transfer syntax in which an instance leaves; None when it cannot leave as wanted.

    wanted: a UID, "*" for as stored, None for the default: Explicit VR Little Endian; what cannot be decoded,
    as video, leaves as it is stored.
    Source: PS3.18 8.7.3.
    """
    own = stored.transfer_syntax_uid
    if wanted == "*":
        return EXPLICIT_VR_LITTLE_ENDIAN if own in _NEVER_SENT else own
    if wanted is None:
        return transcoder.target(stored, [EXPLICIT_VR_LITTLE_ENDIAN]) or own
    if wanted in _NEVER_SENT:
        return None
    return transcoder.target(stored, [wanted])


def _untranscodable(error: TranscodingError) -> Problem:
    return Problem(406, f"{error}; what is stored is available with transfer-syntax=*")


def needs_codec(stored: Stored, syntax: str) -> bool:
    """Whether a worker has to make this transfer syntax of an instance."""
    own = stored.transfer_syntax_uid
    return syntax != own and not (own in NATIVE and syntax == EXPLICIT_VR_LITTLE_ENDIAN)


def _offer(wanted: Wanted, accept: Accept, plan: list[Stored], transcoder: Transcoder) -> _Form | None:
    if wanted.single and wanted.part.essence == ZIP:
        kept = {stored.transfer_syntax_uid for stored in plan}
        if wanted.transfer_syntax not in (None, "*") and kept != {wanted.transfer_syntax}:
            return None  # files are packaged as they are stored
        return _Form(multipart=False, transfer_syntaxes=(), strict=False, packaged=True)
    multipart = accept.allows(wanted, DICOM, multipart=True)
    if not multipart and not (len(plan) == 1 and accept.allows(wanted, DICOM, multipart=False)):
        return None
    syntaxes = [transfer_syntax_to_send(stored, wanted.transfer_syntax, transcoder) for stored in plan]
    known = tuple(syntax for syntax in syntaxes if syntax is not None)
    if len(known) < len(syntaxes):
        return None
    return _Form(multipart, known, strict=wanted.transfer_syntax is not None)


def _offered(plan: list[Stored], transcoder: Transcoder) -> list[str]:
    """What there is, for a 406; a transfer syntax is named when all instances can leave in it."""
    common = set.intersection(*(set(transcoder.targets(stored)) for stored in plan)) - _NEVER_SENT
    syntaxes = ["*", *(uid for uid in transcoder.targets(plan[0]) if uid in common)]
    offered = [f'{MULTIPART_RELATED}; type="{DICOM}"', ZIP]
    if len(plan) == 1:
        offered.append(DICOM)
    return [*offered, f"with transfer-syntax {' or '.join(syntaxes)}"]


def _file(archive: Archive, stored: Stored, syntax: str) -> Chunks:
    """The bytes of an instance's file in a transfer syntax."""
    with archive.open_stored(stored) as opened:
        if syntax == stored.transfer_syntax_uid:
            yield from opened.pieces()
            return
        yield write_file_meta(stored.sop_class_uid, stored.sop_instance_uid, syntax)
        data_set = opened.view[stored.data_set_offset :]
        yield from to_explicit_vr_little_endian(data_set, stored.transfer_syntax_uid)


def _content_type(syntax: str) -> str:
    return f"{DICOM}; transfer-syntax={syntax}"
