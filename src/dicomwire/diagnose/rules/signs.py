"""Signs that several rules look for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.exchange import Exchange
from dicomwire.diagnose.facts import Fault, Sent, evidence
from dicomwire.diagnose.finding import Confidence, Evidence, Severity, Side
from dicomwire.diagnose.rules.rule import Hit, Values
from dicomwire.diagnose.stream import Place
from dicomwire.protocols import Protocol
from dicomwire.uids import name_of
from dicomwire.upper_layer.contexts import ContextOutcome
from dicomwire.upper_layer.pdu import Abort

PATIENCE: Final = 1.0  # seconds: who gives up sooner did not wait for an answer
LONG_WAIT: Final = 10.0  # seconds without an answer, at the end of a capture, that mean something
SHOWN: Final = 5  # hits of one rule in one conversation

OTHER: Final = {Side.REQUESTOR: Side.ACCEPTOR, Side.ACCEPTOR: Side.REQUESTOR}


class GivenUp(NamedTuple):
    """The end of a connection other than by a release: the first sign of it."""

    side: Side
    how: str
    time: float
    evidence: Evidence


def given_up(conversation: Conversation) -> GivenUp | None:
    """Who ended it without a release, and how: by A-ABORT, FIN or RST, whichever came first."""
    if conversation.released or conversation.rejected:
        return None
    sent = first_abort(conversation)
    if sent is not None:
        what = f"A-ABORT {sent.pdu.source}/{sent.pdu.reason}"
        fields: Values = {"source": sent.pdu.source, "reason": sent.pdu.reason}
        return GivenUp(sent.side, "A-ABORT", sent.place.time, sent.evidence(what, **fields))
    return closed(conversation)


def first_abort(conversation: Conversation) -> Sent[Abort] | None:
    """The A-ABORT that ended it; None where the other side had hung up before."""
    if not conversation.aborts:
        return None
    sent, end = conversation.aborts[0], closed(conversation)
    gone = end is not None and end.side is not sent.side and end.time < sent.place.time
    return None if gone else sent


def closed(conversation: Conversation) -> GivenUp | None:
    """Who closed the TCP connection first."""
    for end in conversation.connection.ends:
        how = "RST" if end.reset else "FIN"
        seen = Evidence(what=f"TCP {how}", frame=end.frame, time=end.time, sender=end.side)
        return GivenUp(end.side, how, end.time, seen)
    return None


def answered(conversation: Conversation) -> bool:
    """The request was answered before the requestor hung up."""
    answer = conversation.answer
    if answer is None:
        return False
    hung_up = [end.time for end in conversation.connection.ends if end.side is Side.REQUESTOR]
    return not hung_up or answer.place.time <= hung_up[0]


def hidden(conversation: Conversation, side: Side) -> bool:
    """Something that a side said is not in the capture."""
    connection = conversation.connection
    return connection.unseen is side or any(not gap.harmless for gap in connection.half(side).gaps)


def complete(conversation: Conversation) -> bool:
    """Whether everything that was asked is seen to be answered, though not every byte was captured."""
    exchanges = conversation.exchanges
    done = exchanges.total and not exchanges.outstanding and not exchanges.orphans
    return conversation.released and bool(done)


def capture_end(conversation: Conversation) -> float:
    return conversation.capture.ended if conversation.capture else conversation.connection.last


def request_evidence(conversation: Conversation) -> tuple[Evidence, ...]:
    request = conversation.request
    if request is None:
        return ()
    pdu = request.pdu
    fields: Values = {"called_ae_title": pdu.called_ae_title, "calling_ae_title": pdu.calling_ae_title}
    return (request.evidence("A-ASSOCIATE-RQ", **fields),)


def rejection(conversation: Conversation, source: int, reason: int) -> Iterator[Hit]:
    """A-ASSOCIATE-RJ with this source and reason."""
    rejected = conversation.rejected
    if rejected is None or (rejected.pdu.source, rejected.pdu.reason) != (source, reason):
        return
    pdu = rejected.pdu
    what = f"A-ASSOCIATE-RJ {pdu.result}/{pdu.source}/{pdu.reason}"
    fields: Values = {"result": pdu.result, "source": pdu.source, "reason": pdu.reason}
    yield Hit(
        values=titles(conversation),
        evidence=(*request_evidence(conversation), rejected.evidence(what, **fields)),
    )


def titles(conversation: Conversation) -> Values:
    """What the words of most rules name."""
    requestor, acceptor = conversation.requestor, conversation.acceptor
    return {
        "calling": requestor.ae_title or requestor.address,
        "called": acceptor.ae_title or acceptor.address,
        "requestor": str(requestor),
        "acceptor": str(acceptor),
        "requestor_address": requestor.address,
        "acceptor_address": acceptor.address,
        "port": acceptor.port,
    }


def faults(conversation: Conversation, code: str) -> Iterator[Hit]:
    """Faults of the bytes themselves."""
    found = [fault for fault in conversation.faults if fault.code == code]
    resented = [] if found else [fault for fault in _resented(conversation) if fault.code == code]
    for fault in (found or resented)[:1]:
        yield Hit(
            values={**titles(conversation), "message": fault.message, "sender": fault.side},
            evidence=tuple(fault_evidence(one) for one in (found or resented)[:SHOWN]),
            side=fault.side,
            confidence=Confidence.LIKELY if resented else None,
        )


def _resented(conversation: Conversation) -> Iterator[Fault]:
    """What many peers put up with, in a request that this one answered by A-ABORT."""
    sent = first_abort(conversation)
    if sent is None:
        return
    unanswered = {one.began for one in conversation.exchanges.outstanding}
    if conversation.request is not None and conversation.answer is None:
        unanswered.add(conversation.request.place)
    for fault in conversation.tolerated:
        if fault.side is not sent.side and fault.place in unanswered:
            yield fault


def fault_evidence(fault: Fault) -> Evidence:
    return evidence(fault.message, fault.side, fault.place)


def exchange_values(conversation: Conversation, exchange: Exchange) -> Values:
    """What the words of a rule about an operation name."""
    response = exchange.response
    return {
        **titles(conversation),
        "operation": exchange.name,
        "sop_class": name_of(exchange.sop_class_uid) or "no SOP class",
        "status": exchange.status_words,
        "comment": f" ({response.error_comment})" if response is not None and response.error_comment else "",
        "asker": exchange.side,
        "answerer": OTHER[exchange.side],
    }


def exchange_evidence(exchange: Exchange) -> tuple[Evidence, ...]:
    """The request and, where there is one, its response."""
    fields: Values = {
        "message_id": exchange.request.message_id,
        "presentation_context_id": exchange.presentation_context_id,
        "sop_class_uid": exchange.sop_class_uid,
        "sop_instance_uid": exchange.sop_instance_uid,
    }
    asked = evidence(exchange.request.name, exchange.side, exchange.began, **fields)
    if exchange.response is None or exchange.response_place is None:
        return (asked,)
    response = exchange.response
    words = f"{response.name} {response.status:04X}H"
    found = evidence(
        words,
        OTHER[exchange.side],
        exchange.response_place,
        status=f"{response.status:04X}",
        error_comment=response.error_comment,
        offending_element=" ".join(f"{tag:08X}" for tag in response.offending_element) or None,
    )
    return (asked, found)


def status_hits(conversation: Conversation, found: Iterable[Exchange]) -> Iterator[Hit]:
    """One hit for operations that ended alike: the words are of the first, the evidence of some."""
    exchanges = list(found)
    if not exchanges:
        return
    values = exchange_values(conversation, exchanges[0])
    values["times"] = len(exchanges)
    shown = tuple(one for exchange in exchanges[:SHOWN] for one in exchange_evidence(exchange))
    yield Hit(values=values, evidence=shown, side=OTHER[exchanges[0].side])


def refused_contexts(conversation: Conversation, *results: int) -> list[ContextOutcome]:
    negotiated = conversation.negotiated
    if negotiated is None:
        return []
    return [outcome for outcome in negotiated.outcomes if outcome.result in results and not outcome.accepted]


def contexts_matter(conversation: Conversation) -> bool:
    """Whether refused contexts are why nothing came of it: none was accepted, or nothing was asked after."""
    negotiated = conversation.negotiated
    if negotiated is None:
        return False
    return not negotiated.contexts or (
        not conversation.exchanges.total
        and bool(conversation.releases or conversation.aborts or conversation.connection.ends)
    )


def context_hits(conversation: Conversation, *results: int) -> Iterator[Hit]:
    """Refused contexts: a failure where nothing else could be done, else worth knowing."""
    refused = refused_contexts(conversation, *results)
    request, answer = conversation.request, conversation.answer
    if not refused or request is None or answer is None:
        return
    proposed = {one.presentation_context_id: one for one in request.pdu.presentation_contexts}
    names = list(dict.fromkeys(name_of(outcome.abstract_syntax) for outcome in refused))
    syntaxes = [
        name_of(uid)
        for outcome in refused
        for uid in proposed[outcome.presentation_context_id].transfer_syntaxes
    ]
    accepted = conversation.negotiated.contexts.values() if conversation.negotiated else ()
    confidence = None
    if any(context.abstract_syntax in {one.abstract_syntax for one in refused} for context in accepted):
        covered = {context.abstract_syntax for context in accepted}
        if all(outcome.abstract_syntax in covered for outcome in refused):
            if not contexts_matter(conversation) or given_up(conversation) is None:
                return  # asked for in several ways, of which one was taken
            confidence = (
                Confidence.LIKELY
            )  # it went without a word: the one that was refused is the one it needs
    yield Hit(
        values={
            **titles(conversation),
            "contexts": _listed(names),
            "syntaxes": _listed(list(dict.fromkeys(syntaxes))),
            "count": len(refused),
            "proposed": len(request.pdu.presentation_contexts),
        },
        evidence=tuple(
            answer.evidence(
                outcome.words,
                presentation_context_id=outcome.presentation_context_id,
                result=outcome.result,
                abstract_syntax=outcome.abstract_syntax,
            )
            for outcome in refused[:SHOWN]
        ),
        severity=Severity.FAILURE if contexts_matter(conversation) else Severity.INFO,
        confidence=confidence,
    )


def _listed(names: list[str], most: int = 4) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def protocol(conversation: Conversation, side: Side) -> Protocol | None:
    return conversation.ear(side).protocol


def first_bytes(conversation: Conversation, side: Side) -> tuple[Evidence, ...]:
    """The first bytes of a side, as evidence; of what is no DICOM only the first line is shown."""
    ear = conversation.ear(side)
    if ear.first_place is None or not ear.first:
        return ()
    line = bytes(ear.first[:48]).split(b"\r")[0].split(b"\n")[0] or bytes(ear.first[:8])
    place = Place(ear.first_place.time, ear.first_place.frame, 0, len(ear.first))
    return (evidence(f"first bytes {line.hex(' ')} {line.decode('latin-1')!a}", side, place),)


def wait_confidence(conversation: Conversation, since: float) -> Confidence | None:
    """How sure it is that an answer will not come, where the capture ends before anybody gave up."""
    waited = capture_end(conversation) - since
    return Confidence.POSSIBLE if waited >= LONG_WAIT else None
