"""A load balancer's PROXY header came first, and the peer does not expect one."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import first_bytes, given_up, titles
from dicomwire.protocols import Protocol


def detect(conversation: Conversation) -> Iterator[Hit]:
    ear = conversation.requestor_ear
    if conversation.accepted is not None or not (ear.proxy or ear.protocol is Protocol.PROXY):
        return
    if conversation.rejected is not None:
        return  # the acceptor read on behind the header
    end = given_up(conversation)
    yield Hit(
        values={**titles(conversation), "header": ear.proxy[:60]},
        evidence=(*first_bytes(conversation, Side.REQUESTOR), *((end.evidence,) if end else ())),
    )


RULE = Rule(
    code="proxy-header",
    layer=Layer.UPPER_LAYER,
    side=Side.EITHER,
    summary="the connection begins with a PROXY header, which {acceptor_address} port {port} does not "
    "understand",
    why="A load balancer (HAProxy's send-proxy, a cloud balancer's 'proxy protocol') tells the client's "
    "address in a header of its own before the first PDU. The DICOM node takes it for a broken PDU.",
    fix=Fix(
        acceptor="Switch PROXY protocol on for this listener, if the node knows it.",
        network="Switch the PROXY protocol off for this backend.",
    ),
    check="Connect past the load balancer: does it work then?",
    reference="haproxy proxy-protocol.txt 2",
    detect=detect,
)
