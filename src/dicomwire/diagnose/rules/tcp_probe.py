"""A connection on which nothing was said."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Severity, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import closed, titles


def detect(conversation: Conversation) -> Iterator[Hit]:
    connection = conversation.connection
    if not connection.established or any(half.position for half in connection.halves) or connection.late:
        return
    end = closed(conversation)
    if end is not None and end.side is Side.REQUESTOR:
        yield Hit(values=titles(conversation), evidence=(end.evidence,))


RULE = Rule(
    code="tcp-probe",
    severity=Severity.INFO,
    layer=Layer.TCP,
    side=Side.REQUESTOR,
    summary="{requestor_address} connected to port {port} and closed without a word",
    why="A health check of a load balancer or a monitor, or a port scan.",
    fix=Fix(),
    check="Nothing, if the address is that of a monitor.",
    reference="PS3.8 9.1.5",
    detect=detect,
)
