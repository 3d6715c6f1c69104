"""The connection request is not answered at all (RFC 9293 3.8.3)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Confidence, Evidence, Fix, Layer, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import SHOWN, capture_end, titles


def detect(conversation: Conversation) -> Iterator[Hit]:
    connection = conversation.connection
    if connection.established or connection.syn_acks or connection.ends or connection.icmp:
        return
    if not connection.syns:
        return
    first, last = connection.syns[0], connection.syns[-1]
    repeated = last[0] - first[0] >= 0.5
    waited = max(capture_end(conversation) - first[0], last[0] - first[0])
    yield Hit(
        values={**titles(conversation), "times": len(connection.syns), "seconds": f"{waited:.1f}"},
        evidence=tuple(
            Evidence(what="TCP SYN", time=time, frame=frame, sender=Side.REQUESTOR)
            for time, frame in connection.syns[:SHOWN]
        ),
        confidence=None if repeated or waited >= 3 else Confidence.POSSIBLE,
    )


RULE = Rule(
    code="tcp-no-answer",
    layer=Layer.TCP,
    side=Side.NETWORK,
    summary="{acceptor_address} does not answer on port {port}: {times} connection requests in {seconds} s",
    why="Nothing came back, not even a refusal: the host is off or has another address, or a firewall drops "
    "the packets silently.",
    fix=Fix(
        requestor="Check the peer's address.",
        acceptor="Check that the device is on, connected, and has the address {acceptor_address}.",
        network="Let TCP port {port} from {requestor_address} to {acceptor_address} through the firewalls, "
        "and the answers back.",
    ),
    check="Ping {acceptor_address}; capture on the acceptor's side to see whether the SYN arrives there.",
    reference="PS3.8 9.1.1",
    detect=detect,
)
