"""WADO-RS: studies, series and instances as DICOM files (PS3.18 10.4, 8.7.3.1).

What may leave as it is stored goes from the archive's mapped files to the socket, uncopied and with a
Content-Length. Implicit VR Little Endian and Explicit VR Big Endian never leave (PS3.18 8.7.3): they are
converted while sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from dicomwire.archive.archive import Archive, Stored
from dicomwire.dicom.convert import to_explicit_vr_little_endian
from dicomwire.dicom.part10 import write_file_meta
from dicomwire.uids import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)
from dicomwire.web.media_types import DICOM, MULTIPART_RELATED, Accept, Wanted, accept_of, not_acceptable
from dicomwire.web.multipart import PartWriter
from dicomwire.web.options import WebOptions
from dicomwire.web.plans import instance_url_of, planned
from dicomwire.web.resources import base_url
from dicomwire.web.responses import Chunks, StreamedResponse

# Transfer syntaxes that are rewritten as Explicit VR Little Endian when asked for, and those that always are
_CONVERTIBLE: Final = frozenset(
    {IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN}
)
_NEVER_SENT: Final = frozenset({IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN})


@dataclass(frozen=True, slots=True)
class _Form:
    """How instances leave: in parts or as one, and each one's transfer syntax."""

    multipart: bool
    transfer_syntaxes: tuple[str, ...]


class Retrieve:
    """Endpoint of GET on a study, a series and an instance."""

    def __init__(self, archive: Archive, options: WebOptions) -> None:
        self._archive = archive
        self._options = options

    async def __call__(self, request: Request) -> Response:
        accept = accept_of(request)
        base = base_url(request, self._options)
        plan = planned(request, self._archive)
        form = accept.choose(lambda wanted: _offer(wanted, accept, plan))
        if form is None:
            raise not_acceptable(accept, _offered(plan))
        if not form.multipart:
            return self._single(plan[0], form.transfer_syntaxes[0])
        return self._parts(plan, form.transfer_syntaxes, base)

    def _single(self, stored: Stored, syntax: str) -> Response:
        unchanged = syntax == stored.transfer_syntax_uid
        return StreamedResponse(
            _file(self._archive, stored, syntax),
            content_type=_content_type(syntax),
            length=stored.length if unchanged else None,
        )

    def _parts(self, plan: list[Stored], syntaxes: tuple[str, ...], base: str) -> Response:
        writer = PartWriter(DICOM)
        heads = [
            writer.head(_content_type(syntax), location=instance_url_of(base, stored))
            for stored, syntax in zip(plan, syntaxes, strict=True)
        ]
        length: int | None = None
        if all(syntax == stored.transfer_syntax_uid for stored, syntax in zip(plan, syntaxes, strict=True)):
            length = sum(map(len, heads)) + sum(stored.length for stored in plan) + len(writer.tail)

        def chunks() -> Chunks:
            for head, stored, syntax in zip(heads, plan, syntaxes, strict=True):
                yield head
                yield from _file(self._archive, stored, syntax)
            yield writer.tail

        return StreamedResponse(chunks(), content_type=writer.content_type, length=length)


def transfer_syntax_to_send(stored: str, wanted: str | None) -> str | None:
    """The transfer syntax in which an instance leaves; None when it cannot leave as wanted.

    stored: the UID it is stored in.
    wanted: a UID, "*" for as stored, None for the default: Explicit VR Little Endian, encapsulated ones as
    stored.
    Source: PS3.18 8.7.3.
    """
    if wanted == "*":
        return EXPLICIT_VR_LITTLE_ENDIAN if stored in _NEVER_SENT else stored
    if wanted is None:
        return EXPLICIT_VR_LITTLE_ENDIAN if stored in _CONVERTIBLE else stored
    if wanted in _NEVER_SENT:
        return None
    if wanted == stored or (wanted == EXPLICIT_VR_LITTLE_ENDIAN and stored in _CONVERTIBLE):
        return wanted
    return None


def _offer(wanted: Wanted, accept: Accept, plan: list[Stored]) -> _Form | None:
    if not wanted.part.matches(DICOM):
        return None
    multipart = wanted.multipart and accept.allows(DICOM, multipart=True)
    if not multipart and not (wanted.single and len(plan) == 1 and accept.allows(DICOM, multipart=False)):
        return None
    syntaxes = [
        transfer_syntax_to_send(stored.transfer_syntax_uid, wanted.transfer_syntax) for stored in plan
    ]
    known = tuple(syntax for syntax in syntaxes if syntax is not None)
    return _Form(multipart, known) if len(known) == len(syntaxes) else None


def _offered(plan: list[Stored]) -> list[str]:
    """What there is, for a 406; a transfer syntax is named when all instances can leave in it."""
    syntaxes = ["*"]
    for syntax in dict.fromkeys(
        (EXPLICIT_VR_LITTLE_ENDIAN, *(stored.transfer_syntax_uid for stored in plan))
    ):
        if all(transfer_syntax_to_send(stored.transfer_syntax_uid, syntax) for stored in plan):
            syntaxes.append(syntax)
    offered = [f'{MULTIPART_RELATED}; type="{DICOM}"']
    if len(plan) == 1:
        offered.append(DICOM)
    return [*offered, f"with transfer-syntax {' or '.join(syntaxes)}"]


def _file(archive: Archive, stored: Stored, syntax: str) -> Chunks:
    """The bytes of an instance's file in a transfer syntax."""
    with archive.open_stored(stored) as opened:
        if syntax == stored.transfer_syntax_uid:
            yield from opened.slices()
            return
        yield write_file_meta(stored.sop_class_uid, stored.sop_instance_uid, syntax)
        data_set = opened.view[stored.data_set_offset :]
        yield from to_explicit_vr_little_endian(data_set, stored.transfer_syntax_uid)


def _content_type(syntax: str) -> str:
    return f"{DICOM}; transfer-syntax={syntax}"
