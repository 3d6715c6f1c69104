"""Media types, Accept and the choice of a representation (PS3.18 8.7, RFC 9110 12.5.1).

Leniency has its witnesses: dicomweb-client sends `image/` for `image/*`, Java's
HttpURLConnection `*` for `*/*`, and many send `type=application/dicom` without the quotes that its slash
asks for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import TypeVar

from starlette.requests import Request

from dicomwire.uids import is_valid_uid
from dicomwire.web.problems import Problem, shown

DICOM = "application/dicom"
DICOM_JSON = "application/dicom+json"
DICOM_XML = "application/dicom+xml"
JSON = "application/json"
OCTET_STREAM = "application/octet-stream"
MULTIPART_RELATED = "multipart/related"
METADATA_TYPES = (DICOM_JSON, JSON, f'{MULTIPART_RELATED}; type="{DICOM_XML}"')  # of metadata and results

# Names of earlier editions and drafts: OHIF asks for the first, npm's dicomweb-client for the last two
_FORMER = {
    "image/dicom+jpeg": "jpeg",
    "image/dicom+jpeg-ls": "jls",
    "image/dicom+jp2": "jp2",
    "image/dicom+jpx": "jpx",
    "image/dicom+rle": "dicom-rle",
    "image/x-jls": "jls",
    "image/x-dicom-rle": "dicom-rle",
}

PARAMETER = "dicomwire.accept"
"""Key of a scope: name and value of the query parameter that stands for Accept, as WADO-URI's contentType."""

_REMEMBERED_LENGTH = 1024  # characters of an Accept or a Content-Type that is parsed once
_ACCEPT_LIMIT = 256  # media ranges of one request; browsers send about ten

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_ESSENCE = re.compile(rf"\s*({_TOKEN})(?:/({_TOKEN})?)?\s*")
_PARAMETER = re.compile(rf'\s*;\s*(?:({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s";,]*))\s*)?')
_PIECE = re.compile(r'(?=[^,\s])(?:[^,"]|"(?:[^"\\]|\\.)*"|")+')  # what stands between commas
_QUALITY = re.compile(r"(?:0(?:\.\d*)?|1(?:\.0*)?|\.\d+)")
_PLUS = re.compile(r"dicom (?=json|xml)")
_ESCAPED = re.compile(r"\\(.)")

Choice = TypeVar("Choice")


@dataclass(frozen=True, slots=True)
class MediaType:
    """A media type or media range.

    Attributes:
        type, subtype: in lower case; "*" in ranges.
        parameters: name in lower case and value, in the order given.
    """

    type: str
    subtype: str
    parameters: tuple[tuple[str, str], ...] = ()

    @property
    def essence(self) -> str:
        return f"{self.type}/{self.subtype}"

    def parameter(self, name: str) -> str | None:
        return next((value for key, value in self.parameters if key == name), None)

    def matches(self, essence: str) -> bool:
        """This range covers a media type without parameters."""
        type_, _, subtype = essence.lower().partition("/")
        return self.type in ("*", type_) and self.subtype in ("*", subtype)


@dataclass(frozen=True, slots=True)
class Wanted:
    """One media range of Accept, multipart/related taken apart.

    Attributes:
        multipart: may be answered as multipart/related.
        single: may be answered as a single part.
        part: what each part, or the single part, may be.
        transfer_syntax: a UID, "*" for as stored, None for the default of the media type.
        quality: 0 to 1.
    """

    multipart: bool
    single: bool
    part: MediaType
    transfer_syntax: str | None
    quality: float

    def yields_to(self, other: Wanted, essence: str) -> bool:
        """Another range has the say on a media type, and wants it less."""
        if other.quality == 0 and other.part.essence == essence:
            return True
        return (
            other.quality < self.quality
            and other.specificity > self.specificity
            and other.transfer_syntax == self.transfer_syntax
            and other.part.matches(essence)
        )

    @property
    def specificity(self) -> int:
        return (not (self.multipart and self.single)) + (self.part.type != "*") + (self.part.subtype != "*")


@dataclass(frozen=True, slots=True)
class Accept:
    """What a client takes, most wanted first.

    Attributes:
        wanted: ranges of positive quality: by quality, then the specific before the wild, then as given.
        refused: ranges of quality 0.
        text: as the client wrote it, for messages.
        name: of the header or parameter that it is, for messages.
    """

    wanted: tuple[Wanted, ...] = field(compare=False)
    refused: tuple[Wanted, ...] = field(compare=False)
    text: str
    name: str = field(default="Accept", compare=False)

    def choose(self, offer: Callable[[Wanted], Choice | None]) -> Choice | None:
        """The first answer that `offer` makes to a range, in order of preference."""
        for wanted in self.wanted:
            if (choice := offer(wanted)) is not None:
                return choice
        return None

    def allows(self, wanted: Wanted, essence: str, *, multipart: bool) -> bool:
        """A range takes a media type in this form, and decides on it: no closer one gives it less, none that
        names it 0.

        Source: PS3.18 8.7.8.1, RFC 9110 12.5.1.
        """
        if not (wanted.multipart if multipart else wanted.single) or not wanted.part.matches(essence):
            return False
        return not any(
            (other.multipart if multipart else other.single) and wanted.yields_to(other, essence)
            for other in (*self.wanted, *self.refused)
        )


def parse_media_type(text: str) -> MediaType:
    """One media type, as in Content-Type.

    Raises: Problem 400, when it is none.
    """
    return _parsed_type(text) if len(text) <= _REMEMBERED_LENGTH else _parse_type(text)


def _parse_type(text: str) -> MediaType:
    media_type, end = _media_type(text, 0)
    if end != len(text):
        raise _malformed(text, "one media type wanted")
    return media_type


_parsed_type = lru_cache(maxsize=512)(_parse_type)


def parse_accept(
    header_values: Iterable[str], query_values: Iterable[str] = (), name: str = "accept parameter"
) -> Accept:
    """What a client takes: its `accept` query parameters, otherwise its Accept headers (PS3.18 8.3.3.1).

    name: what the query parameter is called in messages.

    A `+` that a query string turned into a space is put back. Without any range everything is taken. Of a
    header what cannot be read is ignored (PS3.18 8.7.7).
    Raises: Problem 400, when a range of a query parameter cannot be read, or there are too many.
    """
    text = ", ".join(_PLUS.sub("dicom+", value) for value in query_values if value.strip())
    parameter = name if text else None
    if not text:
        text = ", ".join(value for value in header_values if value.strip())
    return _parsed(text, parameter) if len(text) <= _REMEMBERED_LENGTH else _parse(text, parameter)


def _parse(text: str, parameter: str | None) -> Accept:
    """parameter: the query parameter that it comes from, None for the header."""
    ranges: list[Wanted] = []
    name = parameter or "Accept"
    for number, piece in enumerate(_PIECE.findall(text or "*/*")):
        if number >= _ACCEPT_LIMIT:
            raise Problem(400, f"{name} has more than {_ACCEPT_LIMIT} media ranges")
        try:
            ranges.append(_wanted(parse_media_type(piece.strip())))
        except Problem as problem:
            if parameter is not None:
                raise Problem(400, f"{name}: {problem.detail}") from None
    ordered = sorted(ranges, key=lambda wanted: (-wanted.quality, -wanted.specificity))
    return Accept(
        tuple(wanted for wanted in ordered if wanted.quality > 0),
        tuple(wanted for wanted in ordered if wanted.quality == 0),
        text or "*/*",
        name,
    )


_parsed = lru_cache(maxsize=512)(_parse)  # a client says the same with each request


def accept_of(request: Request) -> Accept:
    """What the client of a request takes."""
    if (parameter := request.scope.get(PARAMETER)) is not None:
        return parse_accept((), (parameter[1],), parameter[0])
    query = request.query_params.getlist("accept") if request.scope["query_string"] else ()
    return parse_accept(request.headers.getlist("accept"), query)


def metadata_type(accept: Accept, wanted: Wanted) -> str | None:
    """What a range makes of metadata or results: DICOM JSON, plain JSON, or DICOM XML in parts.

    Source: PS3.18 8.7.3.2.
    """
    for essence in (DICOM_JSON, JSON):
        if accept.allows(wanted, essence, multipart=False):
            return essence
    return DICOM_XML if accept.allows(wanted, DICOM_XML, multipart=True) else None


def metadata_type_of(request: Request) -> str:
    """The media type of an answer of metadata or results.

    Raises: Problem 406; asked before anything is done.
    """
    accept = accept_of(request)
    answer = accept.choose(partial(metadata_type, accept))
    if answer is None:
        raise not_acceptable(accept, METADATA_TYPES)
    return answer


def not_acceptable(accept: Accept, offered: Sequence[str]) -> Problem:
    """406 with what was asked for and what there is."""
    return Problem(
        406, f"{accept.name} is {shown(accept.text, 300)}; this resource is available as {', '.join(offered)}"
    )


def _media_type(text: str, start: int) -> tuple[MediaType, int]:
    """The media type at `start` and where it ends."""
    match = _ESSENCE.match(text, start)
    if match is None or ("/" not in match[0] and match[1] != "*"):
        raise _malformed(text[start:], "type/subtype wanted")
    position = match.end()
    parameters: list[tuple[str, str]] = []
    while parameter := _PARAMETER.match(text, position):
        position = parameter.end()
        name, quoted, token = parameter.groups()
        if name is not None:
            parameters.append((name.lower(), token if quoted is None else _ESCAPED.sub(r"\1", quoted)))
    return MediaType(match[1].lower(), (match[2] or "*").lower(), tuple(parameters)), position


def _wanted(media_type: MediaType) -> Wanted:
    quality = media_type.parameter("q")
    if quality is not None and not _QUALITY.fullmatch(quality):
        raise Problem(400, f"q is {shown(quality)}, a number from 0 to 1 with a point wanted")
    any_form = media_type.essence == "*/*"
    multipart = media_type.type == "multipart" and media_type.subtype in ("related", "*")
    part = media_type
    if multipart:
        inner = media_type.parameter("type")
        part = parse_media_type(inner) if inner else MediaType("*", "*")
    if (known := _FORMER.get(part.essence)) is not None:
        part = replace(part, subtype=known)
    return Wanted(
        multipart=multipart or any_form,
        single=not multipart,
        part=part,
        transfer_syntax=_transfer_syntax(media_type) or _transfer_syntax(part),
        quality=1.0 if quality is None else float(quality),
    )


def _transfer_syntax(media_type: MediaType) -> str | None:
    uid = media_type.parameter("transfer-syntax")
    if not uid or uid == "*":
        return uid or None
    if not is_valid_uid(uid):
        raise Problem(400, f"transfer-syntax is {shown(uid)}; a UID or * wanted")
    return uid


def _malformed(text: str, wanted: str) -> Problem:
    return Problem(400, f"media type {shown(text)} cannot be read: {wanted}")
