"""Protocols other than DICOM's, by the first bytes that one side sends.

`proxy-protocol.txt` of haproxy is the source of the PROXY header's form.
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


_HTTP: Final = (
    *(b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"CONNECT ", b"TRACE "),
    *(b"PRI * HTTP/2", b"HTTP/1.", b"HTTP/2"),
)
PROXY_1: Final = b"PROXY "
PROXY_2: Final = b"\r\n\r\n\0\r\nQUIT\n"
SIGNS: Final = (
    *((sign, Protocol.HTTP) for sign in _HTTP),
    *((bytes((kind, 3)), Protocol.TLS) for kind in (0x14, 0x15, 0x16, 0x17)),
    (b"\x0bMSH", Protocol.HL7),
    (b"\x0b", Protocol.HL7),
    (b"MSH|", Protocol.HL7),
    (b"SSH-", Protocol.SSH),
    (PROXY_1, Protocol.PROXY),
    (PROXY_2, Protocol.PROXY),
)
LONGEST_SIGN: Final = 12  # bytes


def protocol_of(first: bytes) -> Protocol:
    """The protocol whose sign these bytes begin with."""
    lowered = first[:LONGEST_SIGN]
    if b"<html" in first[:64].lower() or b"<!doctype" in first[:64].lower():
        return Protocol.HTTP  # servers of HTTP/0.9's manner answer without a status line
    return next((protocol for sign, protocol in SIGNS if lowered.startswith(sign)), Protocol.UNKNOWN)


def proxy_length(first: bytes) -> int | None:
    """Bytes of the PROXY header that a stream begins with; None where its end is not there yet."""
    if first.startswith(PROXY_2):
        return 16 + int.from_bytes(first[14:16], "big") if len(first) >= 16 else None
    end = first.find(b"\r\n")
    return end + 2 if end >= 0 else None
