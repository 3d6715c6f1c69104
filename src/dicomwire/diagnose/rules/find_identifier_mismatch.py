"""The identifier does not match the SOP class (PS3.4 C.4.1.1.4)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.data_set import QUERY_RETRIEVE_LEVEL
from dicomwire.diagnose.exchange import Exchange
from dicomwire.diagnose.finding import Confidence, Fix, Layer, Severity, Side, escaped
from dicomwire.diagnose.rules.rule import Hit, Rule
from dicomwire.diagnose.rules.signs import exchange_evidence, exchange_values
from dicomwire.upper_layer.items import SOPClassExtendedNegotiation

_OPERATIONS: Final = frozenset({"C-FIND", "C-MOVE", "C-GET"})
_MISMATCH: Final = 0xA9  # first octet of the statuses that say so

# Levels from the top, and the unique key of each (PS3.4 C.6.1.1, C.6.2.1, C.6.3.1).
_UNIQUE_KEYS: Final = {
    "PATIENT": (0x00100020, "Patient ID"),
    "STUDY": (0x0020000D, "Study Instance UID"),
    "SERIES": (0x0020000E, "Series Instance UID"),
    "IMAGE": (0x00080018, "SOP Instance UID"),
}
_LEVELS: Final = {
    "1.2.840.10008.5.1.4.1.2.1": ("Patient Root", ("PATIENT", "STUDY", "SERIES", "IMAGE")),
    "1.2.840.10008.5.1.4.1.2.2": ("Study Root", ("STUDY", "SERIES", "IMAGE")),
    "1.2.840.10008.5.1.4.1.2.3": ("Patient/Study Only", ("PATIENT", "STUDY")),
}


def detect(conversation: Conversation) -> Iterator[Hit]:
    for exchange in conversation.exchanges:
        if exchange.name not in _OPERATIONS:
            continue
        refused = exchange.failed and (exchange.status or 0) >> 8 == _MISMATCH
        in_vain = (
            exchange.done and not exchange.failed and not exchange.matches and not exchange.count("completed")
        )
        reason = _reason(exchange, relational=_relational(conversation, exchange.sop_class_uid))
        if not refused and not (in_vain and reason):
            continue
        values = exchange_values(conversation, exchange)
        answer = f"{values['status']}{values['comment']}" if refused else ""
        yield Hit(
            values={**values, "words": "; ".join(filter(None, (answer, reason)))},
            evidence=exchange_evidence(exchange),
            severity=Severity.FAILURE if refused else Severity.WARNING,
            confidence=None if refused else Confidence.LIKELY,
        )
        return


def _relational(conversation: Conversation, sop_class_uid: str) -> bool:
    """Relational queries were agreed on: keys of higher levels may be missing (PS3.4 C.4.1.2.2, C.5.1.1)."""
    items = conversation.accepted.user_information if conversation.accepted else ()
    agreed = [item for item in items if isinstance(item, SOPClassExtendedNegotiation)]
    return any(item.sop_class_uid == sop_class_uid and item.information[:1] == b"\x01" for item in agreed)


def _reason(exchange: Exchange, *, relational: bool) -> str:
    """What is wrong with the identifier, "" where nothing is, or it is not known."""
    identifier = exchange.data_set
    if identifier is None or exchange.faults:
        return ""
    level = identifier.text(QUERY_RETRIEVE_LEVEL).strip()
    root, levels = _LEVELS.get(exchange.sop_class_uid.rpartition(".")[0], ("", ()))
    if not level or not levels:
        return ""
    if level not in levels:
        return f"{escaped(level)} is no level of {root}, which has {', '.join(levels)}"
    for above in () if relational else levels[: levels.index(level)]:
        tag, name = _UNIQUE_KEYS[above]
        if identifier.lacks(tag):
            return f"level {level} without a {name}"
    return ""


RULE = Rule(
    code="find-identifier-mismatch",
    layer=Layer.DIMSE,
    side=Side.REQUESTOR,
    summary="the identifier of the {operation} does not match {sop_class}: {words}",
    why="A level that this information model does not have, a unique key of a higher level missing, or keys "
    "of another level. Some archives refuse such a query, others find nothing.",
    fix=Fix(
        requestor="Give the unique keys of all levels above the one asked for (Study Instance UID for "
        "SERIES).",
        acceptor="Support relational queries, if the requestor needs them.",
    ),
    check="Study Root knows STUDY, SERIES and IMAGE; Patient Root PATIENT too.",
    reference="PS3.4 C.4.1.1.4, C.4.1.2",
    detect=detect,
)
