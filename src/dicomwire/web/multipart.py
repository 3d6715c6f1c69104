"""multipart/related bodies, read and written as streams (PS3.18 8.6.1.2, RFC 2046 5.1, RFC 2387).

Part data passes through as views of the bytes fed: a boundary is looked for by one search a chunk, at a few
gigabytes a second. Writing makes heads and tail, so that the length of a body is known before its first byte
is sent.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, TypeAlias

from dicomwire.web.media_types import MULTIPART_RELATED, MediaType
from dicomwire.web.problems import Problem, shown

BYTERANGES: Final = "multipart/byteranges"  # RFC 9110 14.6
PREAMBLE_LIMIT: Final = 8 << 10  # bytes before the first boundary; nobody is known to send any
HEAD_LIMIT: Final = 8 << 10  # bytes of the headers of one part
HEADER_COUNT_LIMIT: Final = 32  # headers of one part
PADDING_LIMIT: Final = 256  # bytes of white space between a boundary and the end of its line

# RFC 2046 5.1.1; longer than its 70 characters and with others, as clients send them, but nothing that
# ends a line
_BOUNDARY: Final = re.compile(r"[\x20-\x7e]{1,200}")
_LINE_END: Final = re.compile(rb"(--)|[ \t]*\r\n")  # behind a boundary; what else is there makes it none
_LINE_END_CUT: Final = re.compile(rb"-?|[ \t]*\r?")  # what more bytes may make such an end of
_HEADER: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t\x20-\x7e\x80-\xff]*)")


@dataclass(frozen=True, slots=True)
class PartBegin:
    """The headers of a part are complete.

    Attributes:
        headers: name in lower case and value, in the order sent.
    """

    headers: tuple[tuple[str, str], ...]

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)


@dataclass(frozen=True, slots=True)
class PartData:
    """Bytes of the current part: a view of what was fed."""

    data: memoryview


@dataclass(frozen=True, slots=True)
class PartEnd:
    """The current part is complete."""


PartEvent: TypeAlias = PartBegin | PartData | PartEnd


def boundary_of(content_type: MediaType) -> bytes:
    """The boundary that a Content-Type names.

    Raises: Problem 400, when it names none or one that cannot be.
    """
    boundary = content_type.parameter("boundary")
    if not boundary:
        raise Problem(400, f"Content-Type is {content_type.essence} without a boundary; one is wanted")
    if not _BOUNDARY.fullmatch(boundary) or boundary.endswith(" "):
        raise Problem(
            400, f"boundary is {shown(boundary)}; 1 to 70 printable characters wanted (RFC 2046 5.1.1)"
        )
    return boundary.encode("ascii")


class _Place(Enum):
    PREAMBLE = auto()
    HEAD = auto()  # from the line break that ends a boundary's line
    DATA = auto()
    EPILOGUE = auto()


class PartReader:
    """Parts of a multipart body from its bytes, in any chunking; sans-I/O."""

    def __init__(self, boundary: bytes) -> None:
        self._boundary = boundary
        self._delimiter = b"\r\n--" + boundary
        self._place = _Place.PREAMBLE
        self._held = b"\r\n"  # what more bytes will tell; a body may begin with its boundary
        self._skipped = 0  # bytes of the preamble

    def feed(self, data: bytes) -> Sequence[PartEvent]:
        """What these bytes complete.

        Raises: Problem 400, when they cannot be part of a multipart body.
        """
        if self._held:
            data, self._held = self._held + data, b""
        events: list[PartEvent] = []
        position: int | None = 0
        while position is not None and self._place is not _Place.EPILOGUE:
            if self._place is _Place.HEAD:
                position = self._head(data, position, events)
            else:
                position = self._text(data, position, events)
        return events

    def end(self) -> Sequence[PartEvent]:
        """The body is complete.

        Raises: Problem 400, when its closing boundary is missing.
        """
        if self._place is _Place.EPILOGUE:
            return ()
        boundary = shown(self._boundary.decode("ascii"))
        if self._place is _Place.PREAMBLE:
            raise Problem(400, f"multipart body has no boundary {boundary}")
        raise Problem(400, f"multipart body ends without its closing boundary {boundary}")

    def _text(self, data: bytes, start: int, events: list[PartEvent]) -> int | None:
        """Preamble or a part's data, to the next boundary.

        Returns: where the head behind it begins; None when all there is has been read.
        """
        at = data.find(self._delimiter, start)
        while at >= 0:
            end = at + len(self._delimiter)
            if (line := _LINE_END.match(data, end)) is not None:
                self._pass(data, start, at, events)
                if self._place is _Place.DATA:
                    events.append(PartEnd())
                self._place = _Place.EPILOGUE if line[1] else _Place.HEAD
                return line.end() - 2
            if len(data) - end <= PADDING_LIMIT and _LINE_END_CUT.fullmatch(data, end):
                break
            at = data.find(self._delimiter, at + 1)
        if at < 0:
            at = self._cut_delimiter(data, start)
        self._pass(data, start, at, events)
        self._held = data[at:]
        return None

    def _cut_delimiter(self, data: bytes, start: int) -> int:
        """Where a boundary may begin of which the rest is still to come; the end when there is none."""
        at = data.find(b"\r", max(start, len(data) - len(self._delimiter) + 1))
        while at >= 0 and not self._delimiter.startswith(data[at:]):
            at = data.find(b"\r", at + 1)
        return len(data) if at < 0 else at

    def _pass(self, data: bytes, start: int, end: int, events: list[PartEvent]) -> None:
        if self._place is _Place.DATA:
            if end > start:
                events.append(PartData(memoryview(data)[start:end]))
            return
        self._skipped += end - start
        if self._skipped > PREAMBLE_LIMIT:
            raise Problem(400, f"multipart body has no boundary in its first {PREAMBLE_LIMIT} bytes")

    def _head(self, data: bytes, start: int, events: list[PartEvent]) -> int | None:
        """A part's headers. Returns: where its data begins; None when more bytes are needed."""
        end = data.find(b"\r\n\r\n", start, start + HEAD_LIMIT)
        if end < 0:
            if len(data) - start >= HEAD_LIMIT:
                raise Problem(400, f"the headers of a part are longer than {HEAD_LIMIT} bytes")
            self._held = data[start:]
            return None
        lines = data[start + 2 : end].split(b"\r\n") if end > start else []
        if len(lines) > HEADER_COUNT_LIMIT:
            raise Problem(400, f"a part has {len(lines)} headers; {HEADER_COUNT_LIMIT} are taken")
        events.append(PartBegin(tuple(map(_header, lines))))
        self._place = _Place.DATA
        return end + 4


def _header(line: bytes) -> tuple[str, str]:
    """Name in lower case and value of a part's header. Raises: Problem 400."""
    match = _HEADER.fullmatch(line)
    if match is None:
        raise Problem(
            400, f"header {shown(line.decode('latin_1'))} of a part cannot be read: name: value wanted"
        )
    return match[1].decode("ascii").lower(), match[2].decode("latin_1").strip()


class WholeBody:
    """A body that is one part, read like a multipart one."""

    def __init__(self, headers: tuple[tuple[str, str], ...] = ()) -> None:
        """headers: those of the part, as in `PartBegin`."""
        self._headers = headers
        self._begun = False

    def feed(self, data: bytes) -> Sequence[PartEvent]:
        if self._begun:
            return (PartData(memoryview(data)),)
        self._begun = True
        return (PartBegin(self._headers), PartData(memoryview(data)))

    def end(self) -> Sequence[PartEvent]:
        return (PartEnd(),) if self._begun else ()


class PartWriter:
    """Heads and tail of a multipart answer.

    Attributes:
        content_type: value of the answer's Content-Type.
        tail: what follows the last part.
    """

    def __init__(self, part_type: str | None) -> None:
        """part_type: media type of the parts; None where these are ranges of one representation."""
        boundary = os.urandom(16).hex()  # 128 random bits: not in any data
        self._delimiter = b"\r\n--%b\r\n" % boundary.encode("ascii")
        form = BYTERANGES if part_type is None else f'{MULTIPART_RELATED}; type="{part_type}"'
        self.content_type = f"{form}; boundary={boundary}"
        self.tail = b"\r\n--%b--\r\n" % boundary.encode("ascii")

    def head(
        self, content_type: str, *, length: int | None = None, location: str = "", content_range: str = ""
    ) -> bytes:
        """What stands before a part's data.

        length: bytes of them, to be told where the whole answer has a length (PS3.18 Table 8.6.1-1).
        """
        lines = [f"Content-Type: {content_type}"]
        if length is not None:
            lines.append(f"Content-Length: {length}")
        if location:
            lines.append(f"Content-Location: {location}")
        if content_range:
            lines.append(f"Content-Range: {content_range}")
        return self._delimiter + "\r\n".join(lines).encode("latin_1") + b"\r\n\r\n"

    def part(self, content_type: str, data: bytes, *, location: str = "") -> bytes:
        """A whole part."""
        return self.head(content_type, length=len(data), location=location) + data
