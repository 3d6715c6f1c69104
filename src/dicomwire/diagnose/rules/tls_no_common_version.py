"""No TLS version or cipher suite in common (RFC 8446 4.1.1)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.foreign import tls_failed
from dicomwire.diagnose.rules.rule import Hit, Rule


def detect(conversation: Conversation) -> Iterator[Hit]:
    yield from tls_failed(conversation, "version")


RULE = Rule(
    code="tls-no-common-version",
    layer=Layer.TLS,
    side=Side.EITHER,
    summary="the two sides have no TLS version or cipher suite in common{alert}; the requestor offers "
    "{versions}",
    why="Old devices offer TLS 1.0 only, new ones refuse everything before 1.2 (BCP 195); or the lists of "
    "cipher suites do not meet.",
    fix=Fix(
        requestor="Update the device, or switch on TLS 1.2 or newer.",
        acceptor="If the requestor cannot be updated: allow its version on a port of its own, on a "
        "closed network.",
    ),
    check="openssl s_client -connect {acceptor_address}:{port} -tls1_2 (and -tls1_3) shows what the "
    "acceptor takes.",
    reference="PS3.15 B.9, BCP 195",
    detect=detect,
)
