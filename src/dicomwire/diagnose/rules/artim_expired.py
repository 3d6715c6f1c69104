"""A connection on which no association was requested in time (PS3.8 9.1.5)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Evidence, Fix, Layer, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import closed, protocol, titles
from dicomwire.protocols import Protocol

FEWEST: Final = 2.0  # seconds; no implementation's ARTIM is shorter


def detect(conversation: Conversation) -> Iterator[Hit]:
    connection = conversation.connection
    if not connection.established or connection.late or conversation.request is not None:
        return
    if protocol(conversation, Side.REQUESTOR) not in (None, Protocol.DICOM):
        return
    end = conversation.aborts[0] if conversation.aborts else None
    first = closed(conversation)
    if end is not None:
        side, time, seen = end.side, end.place.time, end.evidence("A-ABORT")
    elif first is not None:
        side, time, seen = first.side, first.time, first.evidence
    else:
        return
    waited = time - connection.opened[0]
    if side is not Side.ACCEPTOR or waited < FEWEST or conversation.faults:
        return
    said = connection.requestor.position
    yield Hit(
        values={**titles(conversation), "seconds": f"{waited:.1f}", "said": said},
        evidence=(Evidence(what="TCP SYN", time=connection.opened[0], frame=connection.opened[1]), seen),
    )


RULE = Rule(
    code="artim-expired",
    layer=Layer.UPPER_LAYER,
    side=Side.REQUESTOR,
    summary="{acceptor} closed the connection after {seconds} s without a whole A-ASSOCIATE-RQ ({said} "
    "bytes came)",
    why="A requestor has a limited time for its A-ASSOCIATE-RQ after it connected (ARTIM). It connected and "
    "said nothing, or not all of it: a port scan or health check, a hanging program, a firewall that "
    "holds data back.",
    fix=Fix(
        requestor="Send the A-ASSOCIATE-RQ at once after connecting; health checks should close again.",
        acceptor="Raise the ARTIM timeout only if the requestor is slow by nature.",
        network="Check that no device between holds back the first data packet.",
    ),
    check="Which program on {requestor_address} opened the connection?",
    reference="PS3.8 9.1.5, 9.2.3 (AA-2)",
    detect=detect,
)
