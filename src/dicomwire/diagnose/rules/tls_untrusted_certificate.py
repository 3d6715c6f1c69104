"""A certificate was refused because nobody known signed it (RFC 8446 6.2)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.foreign import tls_failed
from dicomwire.diagnose.rules.rule import Hit, Rule


def detect(conversation: Conversation) -> Iterator[Hit]:
    yield from tls_failed(conversation, "untrusted")


RULE = Rule(
    code="tls-untrusted-certificate",
    layer=Layer.TLS,
    side=Side.EITHER,
    summary="the {refuser} does not trust the {shower}'s certificate{alert}",
    why="It is signed by an authority that the {refuser} does not know, or by itself; or a certificate "
    "between it and the authority is missing.",
    fix=Fix(
        requestor="Import the authority that signed the acceptor's certificate; send the own one with its "
        "chain.",
        acceptor="Send the certificate with all certificates between it and its authority; import the "
        "authority that signed the requestor's.",
    ),
    check="Show the chain: openssl s_client -connect {acceptor_address}:{port} -showcerts.",
    reference="PS3.15 B.1, RFC 8446 6.2",
    detect=detect,
)
