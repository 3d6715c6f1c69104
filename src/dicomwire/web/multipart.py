"""multipart/related bodies, read and written as streams (PS3.18 8.6.1.2, RFC 2046 5.1, RFC 2387).

Reading is python-multipart's parser with what it leaves open: a preamble is skipped, padding behind the first
boundary taken, a body that ends before its closing boundary refused. Part data passes through as views of the
bytes fed. Writing makes heads and tail, so that the length of a body is known before its first byte is sent.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from dicomwire.web.media_types import MULTIPART_RELATED, MediaType
from dicomwire.web.problems import Problem, shown

PREAMBLE_LIMIT: Final = 8 << 10  # bytes before the first boundary; nobody is known to send any
HEADER_COUNT_LIMIT: Final = 32  # headers of one part
HEADER_SIZE_LIMIT: Final = 8 << 10  # bytes of one header of a part

# RFC 2046 5.1.1; longer than its 70 characters and with others, as clients send them, but nothing that
# ends a line
_BOUNDARY: Final = re.compile(r"[\x20-\x7e]{1,200}")


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


class PartReader:
    """Parts of a multipart body from its bytes, in any chunking; sans-I/O."""

    def __init__(self, boundary: bytes) -> None:
        self._events: list[PartEvent] = []
        self._headers: list[tuple[str, str]] = []
        self._name = bytearray()
        self._value = bytearray()
        self._ended = False
        self._opening = re.compile(rb"(?:\A|\r\n)--" + re.escape(boundary) + rb"(?:(--)|[ \t]*\r\n)")
        self._boundary = boundary
        self._preamble: bytearray | None = bytearray()
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_end": self._on_end,
            },
            max_header_count=HEADER_COUNT_LIMIT,
            max_header_size=HEADER_SIZE_LIMIT,
        )

    def feed(self, data: bytes) -> Sequence[PartEvent]:
        """What these bytes complete.

        Raises: Problem 400, when they cannot be part of a multipart body.
        """
        if self._preamble is not None:
            data = self._skip_preamble(self._preamble, data)
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise Problem(400, f"multipart body cannot be read: {error}") from None
        events, self._events = self._events, []
        return events

    def end(self) -> Sequence[PartEvent]:
        """The body is complete.

        Raises: Problem 400, when its closing boundary is missing.
        """
        if self._ended:
            return ()
        boundary = shown(self._boundary.decode("ascii"))
        if self._preamble is not None:
            raise Problem(400, f"multipart body has no boundary {boundary}")
        raise Problem(400, f"multipart body ends without its closing boundary {boundary}")

    def _skip_preamble(self, preamble: bytearray, data: bytes) -> bytes:
        """Nothing until the first boundary has come; then it, in its plain form, and what follows."""
        preamble += data
        match = self._opening.search(preamble)
        if match is None:
            if len(preamble) > PREAMBLE_LIMIT:
                raise Problem(400, f"multipart body has no boundary in its first {PREAMBLE_LIMIT} bytes")
            return b""
        self._preamble = None
        line = b"--%b--" if match[1] else b"--%b\r\n"
        return line % self._boundary + preamble[match.end() :]

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers.append((self._name.decode("latin_1").lower(), self._value.decode("latin_1").strip()))
        self._name.clear()
        self._value.clear()

    def _on_headers_finished(self) -> None:
        self._events.append(PartBegin(tuple(self._headers)))
        self._headers.clear()

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._events.append(PartData(memoryview(data)[start:end]))

    def _on_part_end(self) -> None:
        self._events.append(PartEnd())

    def _on_end(self) -> None:
        self._ended = True


class WholeBody:
    """A body that is one part, read like a multipart one."""

    def __init__(self) -> None:
        self._begun = False

    def feed(self, data: bytes) -> Sequence[PartEvent]:
        if self._begun:
            return (PartData(memoryview(data)),)
        self._begun = True
        return (PartBegin(()), PartData(memoryview(data)))

    def end(self) -> Sequence[PartEvent]:
        return (PartEnd(),) if self._begun else ()


class PartWriter:
    """Heads and tail of a multipart/related answer.

    Attributes:
        content_type: value of the answer's Content-Type.
        tail: what follows the last part.
    """

    def __init__(self, part_type: str) -> None:
        """part_type: media type of the parts."""
        boundary = secrets.token_hex(16)  # 128 random bits: not in any data
        self._delimiter = b"\r\n--%b\r\n" % boundary.encode("ascii")
        self.content_type = f'{MULTIPART_RELATED}; type="{part_type}"; boundary={boundary}'
        self.tail = b"\r\n--%b--\r\n" % boundary.encode("ascii")

    def head(self, content_type: str, *, location: str = "", content_range: str = "") -> bytes:
        """What stands before a part's data."""
        lines = [f"Content-Type: {content_type}"]
        if location:
            lines.append(f"Content-Location: {location}")
        if content_range:
            lines.append(f"Content-Range: {content_range}")
        return self._delimiter + "\r\n".join(lines).encode("latin_1") + b"\r\n\r\n"
