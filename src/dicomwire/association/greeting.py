"""What the first bytes of a connection say: an association, or another protocol's client at the wrong door.

The PROXY protocol is haproxy's `proxy-protocol.txt`, versions 1 and 2. A pure module.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from dicomwire.errors import DecodeError
from dicomwire.protocols import CLIENT_SIGNS, PROXY_1, PROXY_2, Protocol, may_become

PROXY_1_LONGEST = 107  # bytes, CR LF included: "the worst case" of proxy-protocol.txt 2.1
PROXY_1_SHORTEST = 15  # "PROXY UNKNOWN" CR LF
PROXY_2_HEADER = 16

# A fatal alert handshake_failure (RFC 8446 6.2), so that a TLS client gives up at once instead of waiting.
TLS_ALERT = bytes.fromhex("15 03 01 00 02 02 28")

HTTP_TEXT = (
    "This is a DICOM port: it speaks the DICOM Upper Layer (PS3.8), not HTTP.\n"
    "Point DICOM devices here; DICOMweb and the pages of the node are on its HTTP port.\n"
)
HTTP_ANSWER = (
    "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"
    f"Content-Length: {len(HTTP_TEXT)}\r\nConnection: close\r\n\r\n{HTTP_TEXT}"
).encode()


@dataclass(frozen=True, slots=True)
class Foreign:
    """A client of another protocol.

    Attributes:
        protocol: words for the log.
        answer: what it is told before the close, in its own language where it has one.
    """

    protocol: str
    answer: bytes = b""


ANSWERS = {Protocol.HTTP: HTTP_ANSWER, Protocol.TLS: TLS_ALERT}


def recognise(first: bytes) -> Foreign | bool:
    """Tell a foreign client by its first bytes.

    Returns: what it is; False, when the bytes are for the Upper Layer to judge; True, when they may become
    either and more are needed.
    """
    for sign, protocol in CLIENT_SIGNS:
        if first.startswith(sign):
            return Foreign(protocol, ANSWERS.get(protocol, b""))
    return may_become(first, CLIENT_SIGNS)


@dataclass(frozen=True, slots=True)
class Forwarded:
    """What a load balancer says about the client.

    Attributes:
        host, port: the client's numeric address; None when the balancer speaks for itself (LOCAL, UNKNOWN).
    """

    host: str | None = None
    port: int = 0


def proxy_wanted(header: bytes) -> int:
    """How many bytes of a PROXY header are still to be read; never more than belong to it.

    Raises: DecodeError, when the bytes cannot be a PROXY header.
    """
    if not (header.startswith((PROXY_1[:1], PROXY_2[:1])) or not header):
        raise DecodeError("the first byte is none of a PROXY header")
    if len(header) < PROXY_1_SHORTEST:
        return PROXY_1_SHORTEST - len(header)
    if header.startswith(PROXY_1):
        if header.endswith(b"\r\n"):
            return 0
        if len(header) >= PROXY_1_LONGEST:
            raise DecodeError("a PROXY header of version 1 without an end", len(header))
        return 1  # the line's end is not known before it is there
    if not header.startswith(PROXY_2):
        raise DecodeError("the first bytes are no PROXY header")
    if len(header) < PROXY_2_HEADER:
        return PROXY_2_HEADER - len(header)
    return PROXY_2_HEADER + int.from_bytes(header[14:16], "big") - len(header)


def decode_proxy(header: bytes) -> Forwarded:
    """Decode a complete PROXY header.

    Raises: DecodeError, when it makes no sense.
    """
    return _version_1(header) if header.startswith(PROXY_1) else _version_2(header)


def _version_1(header: bytes) -> Forwarded:
    words = header.decode("ascii", "replace").split()
    if words[1:2] == ["UNKNOWN"]:
        return Forwarded()
    if len(words) != 6 or words[1] not in ("TCP4", "TCP6"):
        raise DecodeError("a PROXY header of version 1 needs TCP4 or TCP6, two addresses and two ports")
    try:
        return Forwarded(str(ipaddress.ip_address(words[2])), int(words[4]))
    except ValueError as error:
        raise DecodeError(f"a PROXY header of version 1: {error}") from None


def _version_2(header: bytes) -> Forwarded:
    version, command, family = header[12] >> 4, header[12] & 15, header[13]
    if version != 2 or command > 1:
        raise DecodeError(f"a PROXY header of version {version}, command {command}", 12)
    size = {0x11: 4, 0x21: 16}.get(family)
    if command == 0 or size is None:
        return Forwarded()
    if len(header) < PROXY_2_HEADER + 2 * size + 4:
        raise DecodeError("a PROXY header too short for its addresses", len(header))
    address = header[PROXY_2_HEADER : PROXY_2_HEADER + size]
    port = int.from_bytes(header[PROXY_2_HEADER + 2 * size :][:2], "big")
    return Forwarded(str(ipaddress.ip_address(address)), port)
