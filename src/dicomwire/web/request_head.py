"""The head of one HTTP/1.1 request, as a parser reads it (RFC 9112 2, 3)."""

from __future__ import annotations

from http import HTTPStatus
from typing import TypeAlias
from urllib.parse import unquote

import httptools

Refusal: TypeAlias = tuple[HTTPStatus, str]


class RequestHead:
    """Request line and headers.

    Attributes:
        url: the target of the request line, as far as it has come.
        headers: names in lower case, and values, in the order sent.
        expects_continue: the client waits for leave to send the body.
        length: of the body, in bytes, as announced; 0 where no length was.
    """

    __slots__ = ("_hosts", "expects_continue", "headers", "length", "url")

    def __init__(self) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.expects_continue = False
        self.length = 0
        self._hosts = 0

    def add(self, name: bytes, value: bytes) -> None:
        """The next header."""
        name = name.lower()
        if name == b"host":
            self._hosts += 1
        elif name == b"expect":
            self.expects_continue = value.lower() == b"100-continue"
        elif name == b"content-length":
            self.length = int(value)
        self.headers.append((name, value))

    def refusal(self, version: str, limit: int) -> Refusal | None:
        """Why a head that is whole is not taken; None where it is. limit: bytes that it may have."""
        if len(self.url) + sum([len(name) + len(value) + 4 for name, value in self.headers]) > limit:
            return too_large(limit)
        if self._hosts != 1 and (self._hosts or version != "1.0"):  # RFC 9112 3.2
            return HTTPStatus.BAD_REQUEST, f"the request has {self._hosts} Host headers; one wanted"
        return None

    @property
    def asks_for_websocket(self) -> bool:
        return any(name == b"upgrade" and value.lower() == b"websocket" for name, value in self.headers)

    def scope(self) -> dict[str, object]:
        """What of an ASGI scope it tells."""
        parsed = httptools.parse_url(self.url)
        raw_path: bytes = parsed.path
        path = raw_path.decode("ascii")
        return {
            "path": unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": parsed.query or b"",
            "headers": self.headers,
        }

    def encode(self, method: bytes) -> bytes:
        """It as it came, for another protocol that takes the connection over."""
        lines = [method + b" " + self.url + b" HTTP/1.1", *(b": ".join(each) for each in self.headers)]
        return b"\r\n".join([*lines, b"", b""])


def too_large(limit: int) -> Refusal:
    words = f"request line and headers are longer than {limit} bytes"
    return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, words
