"""A SOP class that is not the one of its presentation context (PS3.7 9.3, PS3.8 7.6)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Fix, Layer, Severity, Side
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import exchange_evidence, exchange_values
from dicomwire.uids import SOP_CLASSES, name_of

# Where one context carries several classes: UPS (PS3.4 CC.3), meta SOP classes such as Print
# (PS3.4 H.2.2), and what is retrieved or reported in them.
UPS: Final = "1.2.840.10008.5.1.4.34.6"


def detect(conversation: Conversation) -> Iterator[Hit]:
    if conversation.negotiated is None:
        return
    for exchange in conversation.exchanges:
        context = conversation.negotiated.contexts.get(exchange.presentation_context_id)
        uid = exchange.sop_class_uid
        if context is None or not uid or uid == context.abstract_syntax:
            continue
        row = SOP_CLASSES.get(context.abstract_syntax)
        if (row is not None and row.meta) or (
            uid.startswith(UPS) and context.abstract_syntax.startswith(UPS)
        ):
            continue
        bad = exchange.failed or not exchange.done
        values = {**exchange_values(conversation, exchange), "agreed": name_of(context.abstract_syntax)}
        yield Hit(
            values=values,
            evidence=exchange_evidence(exchange),
            side=exchange.side,
            severity=Severity.FAILURE if bad else Severity.WARNING,
        )
        return


RULE = Rule(
    code="sop-class-not-of-context",
    layer=Layer.DIMSE,
    side=Side.REQUESTOR,
    summary="the {asker} sends a {operation} for {sop_class} in a presentation context of {agreed}",
    why="A context is for one SOP class. Acceptors that check refuse the message, others file it wrongly.",
    fix=Fix(
        requestor="Send it in a context of {sop_class}; propose one if there is none.",
        acceptor="Nothing, but it may be told to tolerate it.",
    ),
    check="Compare Affected SOP Class UID with the abstract syntax of the context.",
    reference="PS3.7 9.3, PS3.8 7.6",
    detect=detect,
)
