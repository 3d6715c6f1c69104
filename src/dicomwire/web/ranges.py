"""Byte ranges of one representation (RFC 9110 14)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Final, TypeAlias

from starlette.requests import Request
from starlette.responses import Response

from dicomwire.archive.file_range import FileRange
from dicomwire.web.multipart import PartWriter
from dicomwire.web.problems import Problem, shown
from dicomwire.web.responses import Chunks, StreamedResponse

_BYTES: Final = re.compile(r"\s*bytes\s*=", re.IGNORECASE)
_RANGE: Final = re.compile(r"\s*([0-9]*)\s*-\s*([0-9]*)\s*")
_DIGITS: Final = 20  # more are more than any length, and too many for int
_MOST: Final = 32  # ranges of one answer (RFC 9110 14.2 has a server beware of many)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes `start` to before `end` of `total`."""

    start: int
    end: int
    total: int

    @property
    def content_range(self) -> str:
        return f"bytes {self.start}-{self.end - 1}/{self.total}"

    def __len__(self) -> int:
        return self.end - self.start


Octets: TypeAlias = Callable[[ByteRange | None], Chunks]
"""Gives a range of a representation; the whole of it for None."""


def ranged(
    request: Request, octets: Octets, *, length: int, content_type: str, headers: dict[str, str]
) -> Response:
    """A representation, or those of its bytes that are asked for: several ranges come as parts.

    length: in bytes. headers: of the answer, its entity tag among them.
    Raises: Problem 416.
    Source: RFC 9110 15.3.7.
    """
    headers = {**headers, "Accept-Ranges": "bytes"}
    spans = requested_ranges(request, length, headers["ETag"])
    if not spans:
        return StreamedResponse(octets(None), content_type=content_type, length=length, headers=headers)
    if len(spans) == 1:
        headers["Content-Range"] = spans[0].content_range
        return StreamedResponse(
            octets(spans[0]), content_type=content_type, length=len(spans[0]), status=206, headers=headers
        )
    writer = PartWriter(None)
    heads = [writer.head(content_type, length=len(span), content_range=span.content_range) for span in spans]
    return StreamedResponse(
        _parts(octets, spans, heads, writer.tail),
        content_type=writer.content_type,
        length=sum(map(len, heads)) + sum(map(len, spans)) + len(writer.tail),
        status=206,
        headers=headers,
    )


def requested_ranges(request: Request, total: int, tag: str) -> list[ByteRange]:
    """What a request asks for of a representation with this entity tag; nothing where it is everything.

    Raises: Problem 416.
    """
    if request.headers.get("if-range", tag) != tag:
        return []
    return byte_ranges(request.headers.get("range"), total)


def byte_ranges(header: str | None, total: int) -> list[ByteRange]:
    """What a Range header asks for, in its order; nothing where it is everything.

    That is without a header, for another unit, for nonsense, for more than 32 ranges, and for ranges that
    have more bytes than the representation.

    total: bytes of the representation.
    Raises: Problem 416, when no byte of the representation is in any range.
    """
    unit = _BYTES.match(header or "")
    if header is None or unit is None:
        return []
    wanted = [each for each in header[unit.end() :].split(",") if each.strip()]
    if not 0 < len(wanted) <= _MOST:
        return []
    found = []
    for each in wanted:
        match = _RANGE.fullmatch(each)
        if match is None or not (match[1] or match[2]):
            return []
        first, last = _number(match[1]), _number(match[2])
        if first is None:
            start, end = max(total - (last or 0), 0), total
        elif last is None:
            start, end = first, total
        elif last < first:
            return []  # RFC 9110 14.1.1: invalid, and so ignored
        else:
            start, end = first, min(last + 1, total)
        if start < end:
            found.append(ByteRange(start, end, total))
    if not found:
        detail = f"Range is {shown(header)}; there are {total} bytes"
        raise Problem(416, detail, {"Content-Range": f"bytes */{total}"})
    return found if sum(map(len, found)) <= total else []


def _number(digits: str) -> int | None:
    return int(digits[:_DIGITS]) if digits else None


def cut(chunks: Chunks, span: ByteRange | None) -> Chunks:
    """The bytes of a range, out of the chunks of the whole; all of them for None."""
    if span is None:
        yield from chunks
        return
    position = 0
    with closing(chunks):
        for chunk in chunks:
            start, end = max(span.start - position, 0), min(span.end - position, len(chunk))
            if start < end:
                yield chunk.cut(start, end) if isinstance(chunk, FileRange) else memoryview(chunk)[start:end]
            position += len(chunk)
            if position >= span.end:
                return


def _parts(octets: Octets, spans: Sequence[ByteRange], heads: Sequence[bytes], tail: bytes) -> Chunks:
    for head, span in zip(heads, spans, strict=True):
        yield head
        yield from octets(span)
    yield tail
