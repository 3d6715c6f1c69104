"""Byte ranges of one representation (RFC 9110 14)."""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request

from dicomwire.web.problems import Problem, shown
from dicomwire.web.responses import Chunks

_RANGE: Final = re.compile(r"\s*bytes\s*=\s*([0-9]*)\s*-\s*([0-9]*)\s*", re.IGNORECASE)


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


def requested_range(request: Request, total: int, tag: str) -> ByteRange | None:
    """What a request asks for of a representation with this entity tag; None for everything.

    Raises: Problem 416.
    """
    if request.headers.get("if-range", tag) != tag:
        return None
    return byte_range(request.headers.get("range"), total)


def byte_range(header: str | None, total: int) -> ByteRange | None:
    """What a Range header asks for; None for everything: no header, another unit, several ranges, nonsense.

    total: bytes of the representation.
    Raises: Problem 416, when no byte of the representation is in the range.
    """
    match = _RANGE.fullmatch(header or "")
    if match is None or not (match[1] or match[2]):
        return None
    if match[1]:
        start = int(match[1])
        end = min(int(match[2]) + 1, total) if match[2] else total
        if match[2] and int(match[2]) < start:
            return None  # RFC 9110 14.1.1: invalid, and so ignored
    else:
        start, end = max(total - int(match[2]), 0), total
    if start >= end:
        detail = f"Range is {shown(header or '')}; there are {total} bytes"
        raise Problem(416, detail, {"Content-Range": f"bytes */{total}"})
    return ByteRange(start, end, total)


def cut(chunks: Chunks, span: ByteRange) -> Chunks:
    """The bytes of a range, out of the chunks of the whole."""
    position = 0
    with closing(chunks):
        for chunk in chunks:
            start, end = max(span.start - position, 0), min(span.end - position, len(chunk))
            if start < end:
                yield memoryview(chunk)[start:end]
            position += len(chunk)
            if position >= span.end:
                return
