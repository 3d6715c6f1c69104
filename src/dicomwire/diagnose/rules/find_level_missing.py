"""A query without Query/Retrieve Level (PS3.4 C.4.1.1.3)."""

from __future__ import annotations

from collections.abc import Iterator

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.data_set import QUERY_RETRIEVE_LEVEL
from dicomwire.diagnose.finding import Fix, Layer, Side
from dicomwire.diagnose.rules.operations import QUERY
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import exchange_evidence, exchange_values


def detect(conversation: Conversation) -> Iterator[Hit]:
    for exchange in conversation.exchanges:
        if exchange.sop_class_uid not in QUERY or exchange.data_set is None:
            continue
        if not exchange.data_set.lacks(QUERY_RETRIEVE_LEVEL) or exchange.faults:
            continue
        if exchange.failed or not exchange.done or not (exchange.matches or exchange.count("completed")):
            yield Hit(values=exchange_values(conversation, exchange), evidence=exchange_evidence(exchange))
            return


RULE = Rule(
    code="find-level-missing",
    layer=Layer.DIMSE,
    side=Side.REQUESTOR,
    summary="{calling} sends a {operation} without Query/Retrieve Level (0008,0052)",
    why="The level (PATIENT, STUDY, SERIES or IMAGE) says what is asked for; without it the request has no "
    "meaning, and the answer is a failure or nothing.",
    fix=Fix(
        requestor="Set Query/Retrieve Level in the identifier.",
        acceptor="It may assume STUDY, if it can be told to.",
    ),
    check="The identifier is in the sequence of events.",
    reference="PS3.4 C.4.1.1.3.1",
    detect=detect,
)
