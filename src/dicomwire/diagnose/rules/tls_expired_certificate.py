"""A certificate's time is over, or has not begun (RFC 5280 4.1.2.5)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.foreign import tls_failed
from dicomwire.diagnose.rules.rule import Hit, Rule


def detect(conversation: Conversation) -> Iterator[Hit]:
    yield from tls_failed(conversation, "expired")


RULE = Rule(
    code="tls-expired-certificate",
    layer=Layer.TLS,
    side=Side.EITHER,
    summary="the {shower}'s certificate is not valid at this time{alert}",
    why="It has expired or is not valid yet; or the clock of the machine that refuses it is wrong.",
    fix=Fix(
        requestor="Renew the own certificate if it is the one refused; set the clock.",
        acceptor="Renew the certificate; set the clock.",
    ),
    check="Show the dates: openssl s_client -connect {acceptor_address}:{port} | openssl x509 -noout -dates.",
    reference="RFC 5280 4.1.2.5, RFC 8446 6.2",
    detect=detect,
)
