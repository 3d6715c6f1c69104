"""Protocols by the first bytes that one side sends: who knocks at the wrong door, and who answers there.

The one table of them, for the DIMSE door, the web door and the diagnosis. `proxy-protocol.txt` of haproxy is
the source of the PROXY header's form.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Protocol(StrEnum):
    """What a side speaks."""

    DICOM = "DICOM"
    TLS = "TLS"
    HTTP = "HTTP"
    HL7 = "HL7"
    SSH = "SSH"
    PROXY = "PROXY"
    UNKNOWN = "unknown"


ASSOCIATE_RQ: Final = b"\x01\0"  # an A-ASSOCIATE-RQ (PS3.8 9.3.2): how DICOM's clients begin
TLS_HANDSHAKE: Final = b"\x16\x03"  # a handshake record (RFC 8446 5.1)
PROXY_1: Final = b"PROXY "
PROXY_2: Final = b"\r\n\r\n\0\r\nQUIT\n"

_METHODS: Final = (
    *(b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"CONNECT ", b"TRACE "),
    b"PRI * HTTP/2",
)
CLIENT_SIGNS: Final = (
    *((method, Protocol.HTTP) for method in _METHODS),
    (TLS_HANDSHAKE, Protocol.TLS),
    (b"\x0bMSH", Protocol.HL7),  # MLLP
    (b"MSH|", Protocol.HL7),
    (b"SSH-", Protocol.SSH),
    (PROXY_1, Protocol.PROXY),
    (PROXY_2, Protocol.PROXY),
)
"""How clients begin."""

SIGNS: Final = (
    *CLIENT_SIGNS,
    (b"HTTP/1.", Protocol.HTTP),
    (b"HTTP/2", Protocol.HTTP),
    *((bytes((kind, 3)), Protocol.TLS) for kind in (0x14, 0x15, 0x17)),
    (b"\x0b", Protocol.HL7),
)
"""How either side begins, and goes on where a capture starts late."""

LONGEST_SIGN: Final = max(len(sign) for sign, _ in SIGNS)  # bytes


def protocol_of(first: bytes) -> Protocol:
    """The protocol whose sign these bytes begin with."""
    if b"<html" in first[:64].lower() or b"<!doctype" in first[:64].lower():
        return Protocol.HTTP  # servers of HTTP/0.9's manner answer without a status line
    return next((protocol for sign, protocol in SIGNS if first.startswith(sign)), Protocol.UNKNOWN)


def may_become(first: bytes, signs: tuple[tuple[bytes, Protocol], ...] = SIGNS) -> bool:
    """Whether these bytes are the beginning of a sign, so that more of them are needed."""
    return any(sign.startswith(first) for sign, _ in signs)


def proxy_length(first: bytes) -> int | None:
    """Bytes of the PROXY header that a stream begins with; None where its end is not there yet."""
    if first.startswith(PROXY_2):
        return 16 + int.from_bytes(first[14:16], "big") if len(first) >= 16 else None
    end = first.find(b"\r\n")
    return end + 2 if end >= 0 else None
