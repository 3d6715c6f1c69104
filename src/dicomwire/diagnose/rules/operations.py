"""Signs about operations: which failed, which belong to a C-MOVE, whose data sets are wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.exchange import Exchange
from dicomwire.diagnose.rules.rule import Hit
from dicomwire.diagnose.rules.signs import OTHER, exchange_evidence, exchange_values, hidden
from dicomwire.dimse.command import CMoveRq
from dicomwire.uids import SOP_CLASSES

MPPS: Final = "1.2.840.10008.3.1.2.3.3"
WORKLIST: Final = frozenset({"1.2.840.10008.5.1.4.31"})
QUERY: Final = frozenset(
    uid for uid in SOP_CLASSES if uid.startswith("1.2.840.10008.5.1.4.1.2.") and uid.count(".") == 10
)


def failures(conversation: Conversation) -> list[Exchange]:
    """Operations whose final status is a failure."""
    return [exchange for exchange in conversation.exchanges if exchange.failed]


def unanswered(conversation: Conversation) -> list[Exchange]:
    """Requests that were sent whole and have no final response."""
    waiting = [
        one
        for one in conversation.exchanges.outstanding
        if not _unfinished(conversation, one) and not hidden(conversation, OTHER[one.side])
    ]
    return waiting + [one for one in conversation.exchanges if _too_late(conversation, one)]


def _too_late(conversation: Conversation, exchange: Exchange) -> bool:
    """The response came after who asked had hung up or aborted."""
    if not exchange.done or exchange.response_place is None:
        return False
    gone = [end.time for end in conversation.connection.ends if end.side is exchange.side]
    gone += [sent.place.time for sent in conversation.aborts if sent.side is exchange.side]
    return bool(gone) and exchange.response_place.time > min(gone)


def _unfinished(conversation: Conversation, exchange: Exchange) -> bool:
    stream = conversation.ear(exchange.side).stream
    last = conversation.exchanges.outstanding[-1]
    return exchange is last and stream is not None and stream.message_open


def failed_moves(conversation: Conversation) -> Iterator[tuple[Exchange, CMoveRq]]:
    """C-MOVEs that did not send everything."""
    for exchange in conversation.exchanges:
        if isinstance(exchange.request, CMoveRq) and (exchange.failed or exchange.count("failed")):
            yield exchange, exchange.request


def suboperations(conversation: Conversation, exchange: Exchange) -> list[Conversation]:
    """The associations of a C-MOVE."""
    ended = exchange.response_place.time + 0.05 if exchange.response_place else float("inf")
    return [
        other for other in conversation.related if exchange.began.time <= other.connection.opened[0] <= ended
    ]


def data_set_faults(conversation: Conversation, code: str) -> Iterator[Hit]:
    """Exchanges whose data set has this fault; one hit, the words of the first."""
    found = [
        (exchange, fault)
        for exchange in conversation.exchanges
        for fault in exchange.faults
        if fault.code == code
    ]
    for exchange, fault in found[:1]:
        values = {**exchange_values(conversation, exchange), "message": fault.message, "times": len(found)}
        yield Hit(values=values, evidence=exchange_evidence(exchange), side=exchange.side)
