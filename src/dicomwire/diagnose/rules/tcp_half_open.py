"""One end of the connection is gone and the other does not know (RFC 9293 3.5.1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dicomwire.diagnose.connection import Connection
from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Confidence, Evidence, Fix, Layer, Side
from dicomwire.diagnose.rules.rule import Hit, Rule, Values
from dicomwire.diagnose.rules.signs import OTHER, capture_end, titles

_UNHEARD: Final = "the {sender} sends again and again, and nothing is acknowledged any more"
_DENIED: Final = "its machine answers the {sender} that it knows no such connection"


def detect(conversation: Conversation) -> Iterator[Hit]:
    connection = conversation.connection
    if connection.syn_acks and not connection.established and not connection.ends:
        first, last = connection.syn_acks[0], connection.syn_acks[-1]
        if last[0] - first[0] >= 0.5 or capture_end(conversation) - first[0] >= 3:
            seen = Evidence(what="TCP SYN, ACK without an answer", time=last[0], frame=last[1])
            yield _hit(conversation, Side.REQUESTOR, _UNHEARD, seen)
        return
    if _denied(connection) and not conversation.released:
        end = connection.ends[0]
        seen = Evidence(what="TCP RST without ACK", time=end.time, frame=end.frame, sender=end.side)
        yield _hit(conversation, end.side, _DENIED, seen)
        return
    for half in connection.halves:
        repeats = [one for one in half.retransmitted.values() if one.times >= 2]
        if not repeats or not half.unacknowledged or half.large_lost or conversation.released:
            continue
        if half.peer.time > half.time or half.peer.ack_time > half.time:
            continue
        what = f"{half.unacknowledged} bytes sent again and again, never acknowledged"
        seen = Evidence(what=what, time=half.time, frame=half.frame, sender=half.side)
        yield _hit(conversation, half.peer.side, _UNHEARD, seen)


def _denied(connection: Connection) -> bool:
    """An end that took part answers data as one that knows no such connection."""
    end = connection.ends[0] if connection.ends else None
    if end is None or not end.stranger or not connection.established:
        return False
    half = connection.half(end.side)
    return half.position > 0 and half.peer.time > half.time


def _hit(conversation: Conversation, gone: Side, sign: str, seen: Evidence) -> Hit:
    sender = OTHER[gone]
    values: Values = {**titles(conversation), "gone": gone, "sign": sign.format(sender=sender)}
    return Hit(values=values, evidence=(seen,))


RULE = Rule(
    code="tcp-half-open",
    layer=Layer.TCP,
    side=Side.NETWORK,
    summary="the {gone} is gone: {sign}",
    why="The connection exists on one side only. The other machine crashed, started again or lost its "
    "network, or a firewall between them forgot the connection and drops or refuses its packets.",
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
