"""The TLS handshake was broken off for another reason (RFC 8446 6)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.foreign import tls_failed
from dicomwire.diagnose.rules.rule import Hit, Rule


def detect(conversation: Conversation) -> Iterator[Hit]:
    yield from tls_failed(conversation, "other")


RULE = Rule(
    code="tls-handshake-failed",
    layer=Layer.TLS,
    side=Side.EITHER,
    summary="the {refuser} broke the TLS handshake off{alert}",
    why="TLS versions, certificates or keys do not fit; the alert's name says what the {refuser} did not "
    "like.",
    fix=Fix(
        requestor="Look at its TLS settings and its log.",
        acceptor="Look at its TLS settings and its log.",
    ),
    check="openssl s_client -connect {acceptor_address}:{port} shows the handshake step by step.",
    reference="RFC 8446 6",
    detect=detect,
)
