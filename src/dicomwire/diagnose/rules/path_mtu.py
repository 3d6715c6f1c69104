"""Small packets arrive, full-sized ones do not: echo works, store hangs (RFC 1191, RFC 8201)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Confidence, Evidence, Fix, Layer, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import titles


def detect(conversation: Conversation) -> Iterator[Hit]:
    connection = conversation.connection
    too_big = [one for one in connection.icmp if one[0].too_big]
    for half in connection.halves:
        if not half.large_lost or not half.unacknowledged:
            continue
        repeats = [one for one in half.retransmitted.values() if one.times >= 2]
        if not repeats and not too_big:
            continue
        seen = [
            Evidence(what=f"ICMP {one.words}, MTU {one.mtu}, from {one.by}", time=time, frame=frame)
            for one, time, frame in too_big[:2]
        ]
        size = max((one.size for one in repeats), default=0)
        what = f"segments of {size} bytes sent again and again, never acknowledged; smaller ones were"
        seen.append(Evidence(what=what, time=half.time, frame=half.frame, sender=half.side))
        yield Hit(
            values={**titles(conversation), "sender": half.side, "size": size},
            evidence=tuple(seen),
            confidence=Confidence.CERTAIN if too_big else Confidence.LIKELY,
        )


RULE = Rule(
    code="path-mtu",
    layer=Layer.TCP,
    side=Side.NETWORK,
    summary="full-sized packets of the {sender} ({size} bytes of data) do not arrive, small ones do",
    why="A link between the two takes only smaller packets (a VPN, a tunnel), and the ICMP messages that "
    "would "
    "tell the sender are blocked. Association and C-ECHO fit into small packets and work, images hang.",
    fix=Fix(
        requestor="Lower the interface's MTU (1400, say) until the network is mended.",
        acceptor="Lower the interface's MTU (1400, say) until the network is mended.",
        network="Let ICMP 'fragmentation needed' (IPv6: 'packet too big') through, or clamp the MSS on "
        "the tunnel.",
    ),
    check="Ping with full-sized packets that must not be fragmented (ping -M do -s 1472).",
    reference="RFC 1191, RFC 2923 2.1",
    confidence=Confidence.LIKELY,
    detect=detect,
)
