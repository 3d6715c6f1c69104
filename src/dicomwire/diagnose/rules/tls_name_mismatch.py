"""The certificate is for another name (RFC 6125 6)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Confidence, Fix, Layer, Side
from dicomwire.diagnose.rules.foreign import tls_failed
from dicomwire.diagnose.rules.rule import Hit, Rule


def detect(conversation: Conversation) -> Iterator[Hit]:
    yield from tls_failed(conversation, "name")


RULE = Rule(
    code="tls-name-mismatch",
    layer=Layer.TLS,
    side=Side.EITHER,
    summary="the acceptor's certificate is not for the name or address that the requestor called{alert}",
    why="The requestor compares the name it called with the names in the certificate. Devices called by IP "
    "address need that address among the certificate's alternative names.",
    fix=Fix(
        requestor="Call the peer by a name that its certificate has{names}.",
        acceptor="Get a certificate with the name and the address {acceptor_address} among its "
        "alternative names.",
    ),
    check="Show the names: openssl s_client -connect {acceptor_address}:{port} | openssl x509 -noout -text.",
    reference="RFC 6125 6, RFC 8446 6.2",
    confidence=Confidence.LIKELY,
    detect=detect,
)
