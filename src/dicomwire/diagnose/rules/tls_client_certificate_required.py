"""The acceptor asks for a certificate and got none (RFC 8446 4.3.2)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.foreign import tls_failed
from dicomwire.diagnose.rules.rule import Hit, Rule


def detect(conversation: Conversation) -> Iterator[Hit]:
    yield from tls_failed(conversation, "required")


RULE = Rule(
    code="tls-client-certificate-required",
    layer=Layer.TLS,
    side=Side.REQUESTOR,
    summary="{acceptor_address} port {port} wants a certificate of the requestor{alert}",
    why="DICOM's secure transport profiles authenticate both sides. The requestor has no certificate set, or "
    "sent none.",
    fix=Fix(
        requestor="Set the own certificate and key for this connection.",
        acceptor="Import the authority of the requestor's certificate, or do not ask for one.",
    ),
    check="openssl s_client -connect {acceptor_address}:{port} -cert own.pem -key own.key.",
    reference="PS3.15 B.1, RFC 8446 4.3.2",
    detect=detect,
)
