"""The requestor's side of negotiation: what an A-ASSOCIATE-AC allows, whatever is wrong in it (PS3.7 D.3).

Pure: the request as sent and the answer as decoded in, usable contexts and reasons out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from dicomwire.upper_layer.contexts import (
    SYNCHRONOUS,
    AcceptedContext,
    ContextOutcome,
    accepted_context,
    maximum_length_to_send,
    named,
    smaller_window,
    user_item,
)
from dicomwire.upper_layer.items import (
    AsynchronousOperationsWindow,
    ContextResult,
    ContextResultCode,
    ProposedContext,
    RoleSelection,
    SOPClassExtendedNegotiation,
    UserIdentityAc,
)
from dicomwire.upper_layer.pdu import AssociateAc, AssociateRq


@dataclass(frozen=True, slots=True)
class Accepted:
    """The requestor's side.

    Attributes:
        contexts: the usable ones by ID.
        outcomes: one per proposed context, in the order of the request.
        maximum_length_to_send: bytes of a P-DATA-TF variable field that the acceptor takes, 0 = no limit.
        window: asynchronous operations agreed on.
        extended_negotiation: the acceptor's item 56H per SOP class.
        user_identity: the acceptor's item 59H.
        violations: what is wrong in the answer and was tolerated.
    """

    contexts: Mapping[int, AcceptedContext]
    outcomes: tuple[ContextOutcome, ...]
    maximum_length_to_send: int
    window: AsynchronousOperationsWindow
    extended_negotiation: Mapping[str, bytes]
    user_identity: UserIdentityAc | None
    violations: tuple[str, ...]


def accepted(request: AssociateRq, answer: AssociateAc) -> Accepted:
    """What a requestor may do after an A-ASSOCIATE-AC, whatever the acceptor got wrong in it.

    Args:
        request: as sent.
        answer: as decoded.

    Returns: a context is usable only where it was proposed, its result is 0 and its transfer syntax is one of
        those proposed; roles are those both sides named.
    Source: PS3.7 D.3, PS3.8 9.3.3.
    """
    violations: list[str] = []
    results: dict[int, ContextResult] = {}
    proposed = {context.presentation_context_id for context in request.presentation_contexts}
    for result in answer.presentation_contexts:
        id = result.presentation_context_id
        if id not in proposed:
            violations.append(f"presentation context {id} is answered, it was not proposed (PS3.8 9.3.3.2)")
        elif id in results:
            what = f"presentation context {id} is answered twice, the first counts"
            violations.append(f"{what} (PS3.8 9.3.3.2)")
        else:
            results[id] = result
    outcomes = tuple(
        _outcome(context, results.get(context.presentation_context_id), violations)
        for context in request.presentation_contexts
    )
    roles = _agreed_roles(request, answer, violations)
    contexts = {
        outcome.presentation_context_id: accepted_context(outcome, roles)
        for outcome in outcomes
        if outcome.accepted
    }
    window = user_item(answer.user_information, AsynchronousOperationsWindow)
    wanted = user_item(request.user_information, AsynchronousOperationsWindow)
    if window and not wanted:
        violations.append("item 53H is answered, it was not proposed (PS3.7 D.3.3.3)")
    extended = {
        item.sop_class_uid: item.information
        for item in answer.user_information
        if isinstance(item, SOPClassExtendedNegotiation)
    }
    return Accepted(
        MappingProxyType(contexts),
        outcomes,
        maximum_length_to_send(answer.user_information, "A-ASSOCIATE-AC", violations),
        smaller_window(wanted, window) if wanted and window else SYNCHRONOUS,
        MappingProxyType(extended),
        user_item(answer.user_information, UserIdentityAc),
        tuple(violations),
    )


_RESULT_WORDS: Final[dict[int, str]] = {
    ContextResultCode.USER_REJECTION: "the peer's user refuses it (result 1)",
    ContextResultCode.NO_REASON: "the peer refuses it and says no reason (result 2)",
    ContextResultCode.ABSTRACT_SYNTAX_NOT_SUPPORTED: "the peer does not support it (result 3)",
    ContextResultCode.TRANSFER_SYNTAXES_NOT_SUPPORTED: "the peer supports no proposed transfer syntax",
}


def _outcome(context: ProposedContext, result: ContextResult | None, violations: list[str]) -> ContextOutcome:
    """What a proposed context and the peer's result for it come to."""
    id, abstract_syntax = context.presentation_context_id, context.abstract_syntax
    name = named(abstract_syntax)
    if result is None:
        violations.append(f"presentation context {id} is not answered (PS3.8 9.3.3.2)")
        return ContextOutcome(id, abstract_syntax, None, "", f"{name}: the peer does not answer this context")
    if result.result == ContextResultCode.TRANSFER_SYNTAXES_NOT_SUPPORTED:
        names = ", ".join(map(named, context.transfer_syntaxes))
        words = f"{name}: {_RESULT_WORDS[result.result]} ({names}) (result 4)"
        return ContextOutcome(id, abstract_syntax, result.result, "", words)
    if result.result != ContextResultCode.ACCEPTANCE:
        why = _RESULT_WORDS.get(result.result, f"the peer answers the reserved result {result.result}")
        return ContextOutcome(id, abstract_syntax, result.result, "", f"{name}: {why}")
    if result.transfer_syntax not in context.transfer_syntaxes:
        answered = named(result.transfer_syntax)
        why = f"the peer accepts it with {answered}, which was not proposed"
        violations.append(f"presentation context {id}: {why} (PS3.8 9.3.3.2)")
        return ContextOutcome(id, abstract_syntax, result.result, "", f"{name}: {why}")
    words = f"{name}: accepted with {named(result.transfer_syntax)}"
    return ContextOutcome(id, abstract_syntax, result.result, result.transfer_syntax, words)


def _agreed_roles(
    request: AssociateRq, answer: AssociateAc, violations: list[str]
) -> dict[str, RoleSelection]:
    """Roles per SOP class that both sides named; a class the acceptor leaves out has the default roles."""
    proposed = {
        item.sop_class_uid: item for item in request.user_information if isinstance(item, RoleSelection)
    }
    agreed: dict[str, RoleSelection] = {}
    for item in answer.user_information:
        if not isinstance(item, RoleSelection):
            continue
        uid = item.sop_class_uid
        ours = proposed.get(uid)
        if ours is None:
            violations.append(f"item 54H answers {named(uid)}, which was not proposed (PS3.7 D.3.3.4)")
            continue
        if (item.scu_role and not ours.scu_role) or (item.scp_role and not ours.scp_role):
            violations.append(f"item 54H gives {named(uid)} a role that was not proposed (PS3.7 D.3.3.4)")
        agreed[uid] = RoleSelection(uid, item.scu_role and ours.scu_role, item.scp_role and ours.scp_role)
    return agreed
