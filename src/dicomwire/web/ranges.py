"""Byte ranges of one representation (RFC 9110 14)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from dicomwire.web.problems import Problem, shown

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
