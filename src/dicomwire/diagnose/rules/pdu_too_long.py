"""P-DATA longer than the receiver said it takes (PS3.8 D.1)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.facts import evidence
from dicomwire.diagnose.finding import Fix, Layer, Severity, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import OTHER, given_up, titles


def detect(conversation: Conversation) -> Iterator[Hit]:
    for side, (length, limit, place) in conversation.too_long.items():
        end = given_up(conversation)
        punished = end is not None and end.side is OTHER[side]
        yield Hit(
            values={
                **titles(conversation),
                "sender": side,
                "receiver": OTHER[side],
                "length": length,
                "limit": limit,
            },
            evidence=(evidence(f"P-DATA-TF of {length} bytes", side, place, length=length, limit=limit),),
            side=side,
            severity=Severity.FAILURE if punished else Severity.WARNING,
        )


RULE = Rule(
    code="pdu-too-long",
    layer=Layer.UPPER_LAYER,
    side=Side.EITHER,
    summary="the {sender} sends P-DATA of {length} bytes, the {receiver} takes at most {limit}",
    why="Each side announces in item 51H the longest P-DATA-TF it takes. Many receivers take more, strict "
    "ones abort.",
    fix=Fix(
        requestor="If it is the sender: limit its PDU size to {limit} bytes; else announce more, or 0.",
        acceptor="If it is the sender: limit its PDU size to {limit} bytes; else announce more, or 0.",
    ),
    check="Compare item 51H of both A-ASSOCIATE PDUs with the PDU-length of P-DATA.",
    reference="PS3.8 D.1",
    detect=detect,
)
