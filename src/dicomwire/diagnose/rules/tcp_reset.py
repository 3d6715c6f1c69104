"""The connection was reset in the midst of an association (RFC 9293 3.5.2)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Evidence, Fix, Layer, Side
from dicomwire.diagnose.rules.foreign import closed_in_tls
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import titles


def detect(conversation: Conversation) -> Iterator[Hit]:
    connection = conversation.connection
    if not connection.established or conversation.released or conversation.aborts or conversation.rejected:
        return
    first = connection.ends[0] if connection.ends else None
    if first is None or not first.reset or first.answer:
        return
    if not any(half.position for half in connection.halves) or closed_in_tls(conversation, first.side):
        return
    yield Hit(
        values={**titles(conversation), "sender": first.side, "when": _when(conversation)},
        evidence=(Evidence(what="TCP RST", time=first.time, frame=first.frame, sender=first.side),),
        side=first.side,
    )


def _when(conversation: Conversation) -> str:
    if conversation.accepted is not None or conversation.begins_late:
        return "in the midst of the association"
    return "before the association was established"


RULE = Rule(
    code="tcp-reset",
    layer=Layer.TCP,
    side=Side.EITHER,
    summary="the {sender} reset the TCP connection {when}",
    why="A reset ends a connection without a word of DICOM: the program crashed or was killed, closed with "
    "unread data, or a firewall or load balancer cut the connection in its name.",
    fix=Fix(
        requestor="If it sent the reset: look at its log at that time for a crash or a timeout.",
        acceptor="If it sent the reset: look at its log at that time for a crash, a limit or an access list.",
        network="Check for devices that cut connections: firewalls, load balancers, intrusion prevention.",
    ),
    check="Compare the time to live of the RST with that of the peer's other packets: a device between "
    "may send it.",
    reference="PS3.8 9.2.3 (AA-4)",
    detect=detect,
)
