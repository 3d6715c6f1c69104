"""The archive cannot connect to the move destination (PS3.4 C.4.2)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Confidence, Evidence, Fix, Layer, Side
from dicomwire.diagnose.rules.operations import failed_moves, suboperations
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import exchange_evidence, exchange_values


def detect(conversation: Conversation) -> Iterator[Hit]:
    for exchange, command in failed_moves(conversation):
        others = suboperations(conversation, exchange)
        dead = [one for one in others if not one.connection.established or (one.request and not one.answer)]
        values = {**exchange_values(conversation, exchange), "destination": command.move_destination}
        if dead:
            where = f" at {dead[0].connection.server[0]} port {dead[0].connection.server[1]}"
            time, frame = dead[0].connection.opened
            seen = Evidence(what=f"the archive's attempt to connect{where}", time=time, frame=frame)
            yield Hit(values={**values, "where": where}, evidence=(seen, *exchange_evidence(exchange)))
            return
        if exchange.status == 0xA702 and not others:
            yield Hit(
                values={**values, "where": ""},
                evidence=exchange_evidence(exchange),
                confidence=Confidence.LIKELY,
            )
            return


RULE = Rule(
    code="move-destination-unreachable",
    layer=Layer.DIMSE,
    side=Side.EITHER,
    summary="{called} cannot reach the move destination {destination}{where}",
    why="The archive opens an association of its own to the destination. Nobody answers there: the wrong "
    "address or port at the archive, a receiver that is not started, a firewall between.",
    fix=Fix(
        requestor="Start the storage service of {destination}, and let it listen where the archive looks "
        "for it.",
        acceptor="Correct address and port of {destination}.",
        network="Let the archive connect to the destination: that is another direction than the query's.",
    ),
    check="C-ECHO from the archive to {destination}.",
    reference="PS3.4 C.4.2",
    detect=detect,
)
