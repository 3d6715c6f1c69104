"""Clients at the HTTP port that speak another protocol, told by their first bytes."""

from __future__ import annotations

from typing import Final

from dicomwire.protocols import ASSOCIATE_RQ, CLIENT_SIGNS, Protocol, protocol_of

# What they are called in the log
_FOREIGN: Final = {
    Protocol.DICOM: "a DICOM association (A-ASSOCIATE-RQ); this port speaks HTTP",
    Protocol.TLS: "a TLS handshake; this port speaks HTTP without TLS",
    Protocol.SSH: "SSH",
    Protocol.HL7: "HL7 over MLLP",
    Protocol.PROXY: "a PROXY protocol header",
}
_SIGNS: Final = (ASSOCIATE_RQ, *(sign for sign, protocol in CLIENT_SIGNS if protocol in _FOREIGN))


def foreign_protocol(data: bytes) -> str | None:
    """What a client speaks whose first bytes are no request's; None where they may be one's."""
    if not data.startswith(_SIGNS):
        return None  # at the cost of one comparison, since every request passes here
    return _FOREIGN[Protocol.DICOM if data.startswith(ASSOCIATE_RQ) else protocol_of(data)]
