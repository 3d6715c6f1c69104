"""One end of the connection is gone and the other does not know (RFC 9293 3.5.1)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Confidence, Evidence, Fix, Layer, Side
from dicomwire.diagnose.rules.rule import Hit, Rule, Values
from dicomwire.diagnose.rules.signs import capture_end, titles


def detect(conversation: Conversation) -> Iterator[Hit]:
    connection = conversation.connection
    if connection.syn_acks and not connection.established and not connection.ends:
        first, last = connection.syn_acks[0], connection.syn_acks[-1]
        if last[0] - first[0] >= 0.5 or capture_end(conversation) - first[0] >= 3:
            values: Values = {**titles(conversation), "gone": Side.REQUESTOR, "sender": Side.ACCEPTOR}
            seen = Evidence(what="TCP SYN, ACK without an answer", time=last[0], frame=last[1])
            yield Hit(values=values, evidence=(seen,), side=Side.NETWORK)
        return
    for half in connection.halves:
        repeats = [one for one in half.retransmitted.values() if one.times >= 2]
        if not repeats or not half.unacknowledged or half.large_lost or conversation.released:
            continue
        if half.peer.time > half.time or half.peer.ack_time > half.time:
            continue
        what = f"{half.unacknowledged} bytes sent again and again, never acknowledged"
        seen = Evidence(what=what, time=half.time, frame=half.frame, sender=half.side)
        yield Hit(
            values={**titles(conversation), "gone": half.peer.side, "sender": half.side},
            evidence=(seen,),
            side=Side.NETWORK,
        )


RULE = Rule(
    code="tcp-half-open",
    layer=Layer.TCP,
    side=Side.NETWORK,
    summary="the {gone} is gone: the {sender} sends again and again, and nothing is acknowledged any more",
    why="The connection exists on one side only. The other machine crashed, lost its network, or a firewall "
    "between them forgot the connection and drops its packets.",
    fix=Fix(
        requestor="Set TCP keep-alives or shorter timeouts, so that a dead connection is noticed.",
        acceptor="Set TCP keep-alives or shorter timeouts, so that dead associations do not pile up.",
        network="Raise the idle timeout of stateful firewalls and load balancers between the two.",
    ),
    check="Capture on the side of the {gone}: do the packets arrive there, and do its answers leave?",
    reference="RFC 9293 3.5.1",
    confidence=Confidence.LIKELY,
    detect=detect,
)
