"""The association is inside TLS and cannot be read."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Severity, Side
from dicomwire.diagnose.rules.foreign import tls_failed, tls_sides
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import first_bytes, titles
from dicomwire.diagnose.tls import VERSIONS


def detect(conversation: Conversation) -> Iterator[Hit]:
    sides = tls_sides(conversation)
    if sides is None or any(True for _ in tls_failed(conversation, "")):
        return
    _, acceptor = sides
    if acceptor.hello is None and not (conversation.connection.late and acceptor.encrypted):
        return
    versions = acceptor.hello.versions if acceptor.hello else ()
    version = VERSIONS.get(versions[0], "TLS") if versions else "TLS"
    yield Hit(
        values={**titles(conversation), "version": version},
        evidence=first_bytes(conversation, Side.REQUESTOR)[:1],
    )


RULE = Rule(
    code="tls-opaque",
    severity=Severity.INFO,
    layer=Layer.TLS,
    side=Side.EITHER,
    summary="the connection is encrypted ({version}): what was said on it cannot be read",
    why="The handshake succeeded and data went both ways. Whether the association was accepted and its "
    "operations succeeded is inside the encryption.",
    fix=Fix(),
    check="Look at the log of either side, or record before the encryption (dicomwire proxy with TLS "
    "ended in it).",
    reference="PS3.15 B.1",
    detect=detect,
)
