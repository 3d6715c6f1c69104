"""Two associations, two capability matrices, or one of each: what differs, and what would happen (PS3.7 D.3).

Whatever is compared becomes a `Subject`: fields by name, and what became of each abstract syntax in each
transfer syntax. A request against rules that are not on any wire is negotiated first and is a subject then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.explain import story_of
from dicomwire.diagnose.finding import escaped
from dicomwire.errors import DecodeError
from dicomwire.uids import name_of
from dicomwire.upper_layer.contexts import ContextOutcome, user_item
from dicomwire.upper_layer.items import (
    AsynchronousOperationsWindow,
    ContextResultCode,
    MaximumLength,
    ProposedContext,
    RoleSelection,
    UserIdentityRq,
)
from dicomwire.upper_layer.pdu import AssociateAc, AssociateRq

_RESULTS: Final[dict[int, str]] = {
    ContextResultCode.USER_REJECTION: "refused by the user",
    ContextResultCode.NO_REASON: "refused without a reason",
    ContextResultCode.ABSTRACT_SYNTAX_NOT_SUPPORTED: "SOP class not supported",
    ContextResultCode.TRANSFER_SYNTAXES_NOT_SUPPORTED: "transfer syntax not supported",
}


class Fate(Enum):
    """What became of an abstract syntax in a transfer syntax."""

    ACCEPTED = "accepted"
    NOT_CHOSEN = "proposed, another transfer syntax was chosen"
    REFUSED = "refused"
    UNANSWERED = "not answered"


@dataclass(frozen=True, slots=True)
class Subject:
    """One side of a comparison.

    Attributes:
        name: the file, and which association of it.
        fields: what is told of it, by name.
        contexts: what became of abstract syntax and transfer syntax.
        words: why a context was refused.
        matrix: it is what a peer accepts, not what one association proposed.
    """

    name: str
    fields: Mapping[str, str]
    contexts: Mapping[tuple[str, str], Fate]
    words: Mapping[tuple[str, str], str] = field(default_factory=dict)
    matrix: bool = False


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs.

    Attributes:
        what: its name.
        a, b: on either side, "" where it is not there.
        effect: what that leads to; "" where nothing is known of it.
    """

    what: str
    a: str
    b: str
    effect: str = ""

    def as_json(self) -> dict[str, str]:
        return {"what": self.what, "a": self.a, "b": self.b, "effect": self.effect}


def of_conversation(name: str, conversation: Conversation) -> Subject:
    """An association as it was recorded."""
    request, answer = conversation.association_request, conversation.accepted
    story = story_of(conversation)
    verdict = f" ({story.verdict.code})" if story.verdict else ""
    fields = {"outcome": f"{story.outcome}{verdict}"}
    if request is not None:
        fields |= _request_fields(request)
    if conversation.rejected is not None:
        rejected = conversation.rejected.pdu
        fields["answer"] = f"A-ASSOCIATE-RJ {rejected.result}/{rejected.source}/{rejected.reason}"
    elif answer is not None:
        fields["answer"] = "A-ASSOCIATE-AC"
        fields |= _answer_fields(answer)
    fields["requestor's product"] = conversation.requestor.product or "unknown"
    fields["acceptor's product"] = conversation.acceptor.product or "unknown"
    statuses = sorted(conversation.exchanges.statuses.items())
    answered = [f"{operation} {code:04X}H {times} times" for (operation, code), times in statuses]
    fields["operations"] = ", ".join(answered) or "none"
    outcomes = conversation.negotiated.outcomes if conversation.negotiated else ()
    proposed = request.presentation_contexts if request else ()
    return Subject(name, fields, *_fates(proposed, outcomes))


def of_negotiation(
    name: str, request: AssociateRq, outcomes: Iterable[ContextOutcome], answer: str
) -> Subject:
    """What a node would answer to a request."""
    fields = _request_fields(request) | {"answer": answer}
    return Subject(name, fields, *_fates(request.presentation_contexts, outcomes))


def of_request(name: str, request: AssociateRq) -> Subject:
    """A request alone, whatever became of it."""
    contexts = {
        (context.abstract_syntax, syntax): Fate.UNANSWERED
        for context in request.presentation_contexts
        for syntax in context.transfer_syntaxes
    }
    return Subject(name, _request_fields(request), contexts)


def of_matrix(name: str, facts: Mapping[str, object]) -> Subject:
    """A capability matrix: `{"peer", "contexts": [{"abstract_syntax", "transfer_syntax", "result"}]}`.

    Raises: DecodeError, when it has no such contexts.
    """
    rows = facts.get("contexts")
    if not isinstance(rows, list):
        raise DecodeError(f"{name}: no list named contexts")
    contexts: dict[tuple[str, str], Fate] = {}
    words: dict[tuple[str, str], str] = {}
    for place, row in enumerate(rows):
        if not isinstance(row, dict) or "abstract_syntax" not in row or "transfer_syntax" not in row:
            raise DecodeError(f"{name}: contexts[{place}] has no abstract_syntax and transfer_syntax")
        key = (str(row["abstract_syntax"]), str(row["transfer_syntax"]))
        result = row.get("result")
        contexts[key] = Fate.UNANSWERED if result is None else Fate.ACCEPTED if result == 0 else Fate.REFUSED
        if isinstance(result, int) and result:
            words[key] = (
                _RESULTS.get(ContextResultCode(result), "") if result in range(5) else f"result {result}"
            )
    return Subject(name, {"peer": escaped(str(facts.get("peer", "")))}, contexts, words, matrix=True)


def _request_fields(request: AssociateRq) -> dict[str, str]:
    items = request.user_information
    identity, window = user_item(items, UserIdentityRq), user_item(items, AsynchronousOperationsWindow)
    length = user_item(items, MaximumLength)
    roles = sorted(name_of(item.sop_class_uid) for item in items if isinstance(item, RoleSelection))
    return {
        "calling AE title": escaped(request.calling_ae_title),
        "called AE title": escaped(request.called_ae_title),
        "application context": escaped(request.application_context_name),
        "requestor's maximum length": str(length.maximum_length) if length else "none",
        "requestor's asynchronous window": f"{window.invoked}/{window.performed}" if window else "none",
        "user identity": f"type {identity.type}" if identity else "none",
        "roles proposed": ", ".join(roles) or "none",
    }


def _answer_fields(answer: AssociateAc) -> dict[str, str]:
    length = user_item(answer.user_information, MaximumLength)
    window = user_item(answer.user_information, AsynchronousOperationsWindow)
    roles = [item for item in answer.user_information if isinstance(item, RoleSelection)]
    return {
        "acceptor's maximum length": str(length.maximum_length) if length else "none",
        "acceptor's asynchronous window": f"{window.invoked}/{window.performed}" if window else "none",
        "roles granted": ", ".join(sorted(name_of(role.sop_class_uid) for role in roles)) or "none",
    }


def _fates(
    proposed: Iterable[ProposedContext], outcomes: Iterable[ContextOutcome]
) -> tuple[dict[tuple[str, str], Fate], dict[tuple[str, str], str]]:
    """The best that became of each pair; a pair may be in several contexts."""
    found: dict[tuple[str, str], Fate] = {}
    words: dict[tuple[str, str], str] = {}
    by_id = {outcome.presentation_context_id: outcome for outcome in outcomes}
    order = list(Fate)
    for context in proposed:
        outcome = by_id.get(context.presentation_context_id)
        for syntax in context.transfer_syntaxes:
            key = (context.abstract_syntax, syntax)
            fate = _fate(outcome, syntax)
            if key not in found or order.index(fate) < order.index(found[key]):
                found[key] = fate
            if outcome is not None and fate is Fate.REFUSED:
                words[key] = outcome.words
    return found, words


def _fate(outcome: ContextOutcome | None, syntax: str) -> Fate:
    if outcome is None:
        return Fate.UNANSWERED
    if not outcome.accepted:
        return Fate.REFUSED
    return Fate.ACCEPTED if outcome.transfer_syntax == syntax else Fate.NOT_CHOSEN


def differences(a: Subject, b: Subject) -> list[Difference]:
    """What differs; of a request against a matrix, what of it would be refused."""
    if a.matrix != b.matrix:
        return list(_what_if(a, b) if b.matrix else _what_if(b, a))
    # What is told of one only is no difference but not known of the other.
    found = [
        Difference(name, a.fields[name], b.fields[name], _EFFECTS.get(name, ""))
        for name in a.fields
        if name in b.fields and a.fields[name] != b.fields[name]
    ]
    return found + list(_context_differences(a, b))


_EFFECTS: Final = {
    "called AE title": "an acceptor that checks it takes one and rejects the other (1/1/7)",
    "calling AE title": "an acceptor that knows its devices takes one and rejects the other (1/1/3)",
    "application context": "only 1.2.840.10008.3.1.1.1 is taken (1/1/2)",
    "requestor's maximum length": "the acceptor sends P-DATA of that length at most",
    "acceptor's maximum length": "the requestor sends P-DATA of that length at most",
    "user identity": "an acceptor that wants a login rejects the one without",
    "roles granted": "C-GET and N-EVENT-REPORT need the roles",
}


def _context_differences(a: Subject, b: Subject) -> Iterator[Difference]:
    for key in dict.fromkeys((*a.contexts, *b.contexts)):
        one, other = a.contexts.get(key), b.contexts.get(key)
        if one is other:
            continue
        effect = ""
        if Fate.ACCEPTED in (one, other) and Fate.REFUSED in (one, other):
            loser = a.name if one is Fate.REFUSED else b.name
            effect = f"what is sent so in the one cannot be sent in {loser}"
        elif Fate.ACCEPTED in (one, other) and None in (one, other):
            effect = f"{a.name if one is None else b.name} does not ask for it"
        yield Difference(_pair(key), _told(a, key), _told(b, key), effect)


def _what_if(request: Subject, matrix: Subject) -> Iterator[Difference]:
    """What of a request the owner of a matrix would refuse."""
    for abstract_syntax in dict.fromkeys(key[0] for key in request.contexts):
        keys = [key for key in request.contexts if key[0] == abstract_syntax]
        accepted = [key for key in keys if matrix.contexts.get(key) is Fate.ACCEPTED]
        known = [key for key in matrix.contexts if key[0] == abstract_syntax]
        name = name_of(escaped(abstract_syntax))
        asked = ", ".join(name_of(escaped(key[1])) for key in keys)
        if accepted:
            continue
        taken = [key[1] for key in known if matrix.contexts[key] is Fate.ACCEPTED]
        if taken:
            others = ", ".join(map(name_of, taken[:4]))
            effect = f"it would be refused (result 4): propose {others}"
            yield Difference(name, asked, others, effect)
        elif known:
            yield Difference(name, asked, "not taken in any", "it would be refused (result 3)")
        else:
            yield Difference(name, asked, "not tried", "whether it would be taken is not known")


def _pair(key: tuple[str, str]) -> str:
    return f"{name_of(escaped(key[0]))} in {name_of(escaped(key[1]))}"


def _told(subject: Subject, key: tuple[str, str]) -> str:
    fate = subject.contexts.get(key)
    if fate is None:
        return "not proposed"
    return subject.words.get(key, fate.value) if fate is Fate.REFUSED else fate.value
