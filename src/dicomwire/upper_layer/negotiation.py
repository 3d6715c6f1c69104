"""Association negotiation: what an acceptor answers to a request, and why (PS3.7 D.3, PS3.8 7.1.1).

Pure: a request and a policy in, an answer and its reasons out. AE titles are only echoed and identity is
passed in, so an answer may be kept for every request that is equal from its AE titles on and has no item 58H.
The requestor's side is `accepted`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

from dicomwire.uids import (
    APPLICATION_CONTEXT,
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    IMPLICIT_VR_LITTLE_ENDIAN,
    SOP_CLASSES,
    is_valid_uid,
)
from dicomwire.upper_layer.acceptance import Accepted, accepted
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
    ImplementationClassUID,
    ImplementationVersionName,
    MaximumLength,
    ProposedContext,
    RoleSelection,
    SOPClassCommonExtendedNegotiation,
    SOPClassExtendedNegotiation,
    UserIdentityAc,
    UserIdentityRq,
    UserItem,
)
from dicomwire.upper_layer.pdu import AssociateAc, AssociateRj, AssociateRq
from dicomwire.upper_layer.reasons import RejectResult, RejectSource, UserReason

__all__ = [
    "ANY",
    "Accepted",
    "AcceptedContext",
    "AcceptorPolicy",
    "ContextOutcome",
    "Negotiation",
    "RolePolicy",
    "accepted",
    "negotiate",
    "user_item",
]

ANY: Final = "*"  # key of `roles` for every SOP class that has none of its own


@dataclass(frozen=True, slots=True)
class RolePolicy:
    """Roles that a requestor may have; without item 54H it is SCU (PS3.7 D.3.3.4)."""

    scu: bool = True
    scp: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptorPolicy:
    """What an acceptor takes.

    Attributes:
        supported: transfer syntaxes per abstract syntax, in our order of preference.
        transfer_syntax_policy: `as_proposed` takes the requestor's first that we support, `preferred` our
            first that it proposes.
        on_no_accepted_context: `reject` with RJ 1/1/1, or `accept` with a result for each context.
        maximum_length: bytes of a P-DATA-TF variable field that we take, 0 = no limit.
        asynchronous_operations_window: the most that we agree to, 0 = no limit; None never answers item 53H.
        roles: per SOP class, or under `ANY`; a class with neither gets no item 54H, so the default roles.
        extended_negotiation: per SOP class, what item 56H is answered with; None for no answer.
        refused: abstract syntaxes refused by policy (result 1), with words why.
        service_classes: transfer syntaxes per service class UID, for a SOP class that item 57H says is one of
            that service class (or related to a supported class).
        unregistered: transfer syntaxes for every abstract syntax that the registry does not know; none: such
            a context is refused.
        implementation_class_uid: item 52H.
        implementation_version_name: item 55H, none where it is "".
    """

    supported: Mapping[str, tuple[str, ...]]
    transfer_syntax_policy: Literal["as_proposed", "preferred"] = "as_proposed"
    on_no_accepted_context: Literal["reject", "accept"] = "reject"
    maximum_length: int = 262_144
    asynchronous_operations_window: AsynchronousOperationsWindow | None = None
    roles: Mapping[str, RolePolicy] = field(default_factory=dict)
    extended_negotiation: Mapping[str, Callable[[bytes], bytes | None]] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    service_classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unregistered: tuple[str, ...] = ()
    implementation_class_uid: str = IMPLEMENTATION_CLASS_UID
    implementation_version_name: str = IMPLEMENTATION_VERSION_NAME


@dataclass(frozen=True, slots=True)
class Negotiation:
    """The acceptor's side.

    Attributes:
        answer: what to send.
        contexts: one outcome per proposed context, in the order of the request.
        accepted: the usable ones by ID.
        maximum_length_to_send: bytes of a P-DATA-TF variable field that the requestor takes, 0 = no limit.
        window: asynchronous operations agreed on.
        violations: what is wrong in the request and was tolerated.
    """

    answer: AssociateAc | AssociateRj
    contexts: tuple[ContextOutcome, ...]
    accepted: Mapping[int, AcceptedContext]
    maximum_length_to_send: int
    window: AsynchronousOperationsWindow
    violations: tuple[str, ...]

    @property
    def extended_negotiation(self) -> Mapping[str, bytes]:
        """What item 56H was answered with, per SOP class."""
        if isinstance(self.answer, AssociateRj):
            return {}
        return {
            item.sop_class_uid: item.information
            for item in self.answer.user_information
            if isinstance(item, SOPClassExtendedNegotiation)
        }


def negotiate(
    request: AssociateRq, policy: AcceptorPolicy, *, user_identity: UserIdentityAc | None = None
) -> Negotiation:
    """The acceptor's answer.

    Args:
        request: as decoded.
        policy: what we take.
        user_identity: item 59H, sent where the request's item 58H asks for a positive response.

    Returns: A-ASSOCIATE-RJ 1/1/2 for another application context, 1/1/1 where no context is accepted and the
        policy says so, else A-ASSOCIATE-AC. A presentation context's result is 0, 1, 3 or 4, never 2.
    Source: PS3.7 D.3, PS3.8 9.3.3.
    """
    violations: list[str] = []
    roles = _answered_roles(request, policy, violations)
    contexts = _judge(request, policy, roles, violations)
    items = request.user_information
    usable = {
        outcome.presentation_context_id: accepted_context(outcome, roles)
        for outcome in contexts
        if outcome.accepted
    }
    window = _window(items, policy.asynchronous_operations_window)
    answer: AssociateAc | AssociateRj
    if request.application_context_name != APPLICATION_CONTEXT:
        answer = _reject(UserReason.APPLICATION_CONTEXT_NAME_NOT_SUPPORTED)
        usable = {}
    elif not usable and policy.on_no_accepted_context == "reject":
        answer = _reject(UserReason.NO_REASON_GIVEN)
    else:
        answer = AssociateAc(
            request.called_ae_title,
            request.calling_ae_title,
            _results(contexts),
            _answered_items(request, policy, usable, roles, user_identity),
        )
    maximum_length = maximum_length_to_send(items, "A-ASSOCIATE-RQ", violations)
    return Negotiation(
        answer, contexts, MappingProxyType(usable), maximum_length, window or SYNCHRONOUS, tuple(violations)
    )


def _judge(
    request: AssociateRq,
    policy: AcceptorPolicy,
    roles: Mapping[str, RoleSelection],
    violations: list[str],
) -> tuple[ContextOutcome, ...]:
    """One outcome per proposed context."""
    common = {
        item.sop_class_uid: item
        for item in request.user_information
        if isinstance(item, SOPClassCommonExtendedNegotiation)
    }
    seen: set[int] = set()
    outcomes = []
    for context in request.presentation_contexts:
        id = context.presentation_context_id
        if id in seen:
            what = f"presentation context {id} is proposed twice, the first counts"
            violations.append(f"{what} (PS3.8 9.3.2.2)")
            words = f"{named(context.abstract_syntax)}: {what}"
            outcomes.append(_refusal(context, ContextResultCode.USER_REJECTION, words))
            continue
        if id % 2 == 0:
            # DCMTK takes them, too.
            violations.append(f"presentation context ID {id} is not odd (PS3.8 Table 9-13)")
        seen.add(id)
        outcomes.append(_judge_one(context, policy, roles, common))
    return tuple(outcomes)


def _judge_one(
    context: ProposedContext,
    policy: AcceptorPolicy,
    roles: Mapping[str, RoleSelection],
    common: Mapping[str, SOPClassCommonExtendedNegotiation],
) -> ContextOutcome:
    abstract_syntax = context.abstract_syntax
    name = named(abstract_syntax)
    if abstract_syntax in policy.refused:
        words = f"{name}: refused by policy, {policy.refused[abstract_syntax]}"
        return _refusal(context, ContextResultCode.USER_REJECTION, words)
    supported, because = _supported(abstract_syntax, policy, common)
    if not supported:
        words = f"{name}: this abstract syntax is not supported here"
        return _refusal(context, ContextResultCode.ABSTRACT_SYNTAX_NOT_SUPPORTED, words)
    role = roles.get(abstract_syntax)
    if role and not (role.scu_role or role.scp_role):
        words = f"{name}: none of the roles proposed is taken here"
        return _refusal(context, ContextResultCode.USER_REJECTION, words)
    if policy.transfer_syntax_policy == "as_proposed":
        common_ones = (uid for uid in context.transfer_syntaxes if uid in supported)
    else:
        common_ones = (uid for uid in supported if uid in context.transfer_syntaxes)
    chosen = next(common_ones, None)
    if chosen is None:
        words = f"{name}: {_none_supported(context.transfer_syntaxes)}"
        return _refusal(context, ContextResultCode.TRANSFER_SYNTAXES_NOT_SUPPORTED, words)
    words = f"{name}: accepted with {named(chosen)}{because}"
    return ContextOutcome(
        context.presentation_context_id, abstract_syntax, ContextResultCode.ACCEPTANCE, chosen, words
    )


def _supported(
    abstract_syntax: str, policy: AcceptorPolicy, common: Mapping[str, SOPClassCommonExtendedNegotiation]
) -> tuple[tuple[str, ...], str]:
    """Our transfer syntaxes for an abstract syntax, and why it is taken where it is not itself supported."""
    if abstract_syntax in policy.supported:
        return policy.supported[abstract_syntax], ""
    item = common.get(abstract_syntax)
    if item:
        for related in item.related_general_sop_class_uids:
            if related in policy.supported:
                return policy.supported[related], f", as {named(related)} (item 57H)"
        if item.service_class_uid in policy.service_classes:
            service_class = named(item.service_class_uid)
            return policy.service_classes[item.service_class_uid], f", as of {service_class} (item 57H)"
    if policy.unregistered and abstract_syntax not in SOP_CLASSES and is_valid_uid(abstract_syntax):
        return policy.unregistered, ", not in the registry"
    return (), ""


def _none_supported(transfer_syntaxes: tuple[str, ...]) -> str:
    if not transfer_syntaxes:
        return "no transfer syntax is proposed"
    names = ", ".join(map(named, transfer_syntaxes))
    if len(transfer_syntaxes) == 1:
        return f"the only proposed transfer syntax ({names}) is not supported here"
    return f"none of the {len(transfer_syntaxes)} proposed transfer syntaxes ({names}) is supported here"


def _refusal(context: ProposedContext, result: ContextResultCode, words: str) -> ContextOutcome:
    return ContextOutcome(context.presentation_context_id, context.abstract_syntax, result, "", words)


def _results(contexts: tuple[ContextOutcome, ...]) -> tuple[ContextResult, ...]:
    """One item 21H per ID; the transfer syntax of a refused one says nothing, DCMTK sends this one, too."""
    results: dict[int, ContextResult] = {}
    for outcome in contexts:
        id, result = outcome.presentation_context_id, outcome.result or ContextResultCode.ACCEPTANCE
        syntax = outcome.transfer_syntax or IMPLICIT_VR_LITTLE_ENDIAN
        results.setdefault(id, ContextResult(id, result, syntax))
    return tuple(results.values())


def _answered_roles(
    request: AssociateRq, policy: AcceptorPolicy, violations: list[str]
) -> dict[str, RoleSelection]:
    """Our item 54H per SOP class, where we give one."""
    roles: dict[str, RoleSelection] = {}
    for item in request.user_information:
        if not isinstance(item, RoleSelection):
            continue
        uid = item.sop_class_uid
        if uid in roles:
            violations.append(f"item 54H names {named(uid)} twice, the first counts (PS3.7 D.3.3.4)")
            continue
        allowed = policy.roles.get(uid) or policy.roles.get(ANY)
        if allowed:
            roles[uid] = RoleSelection(uid, item.scu_role and allowed.scu, item.scp_role and allowed.scp)
    return roles


def _answered_items(
    request: AssociateRq,
    policy: AcceptorPolicy,
    accepted: Mapping[int, AcceptedContext],
    roles: Mapping[str, RoleSelection],
    user_identity: UserIdentityAc | None,
) -> tuple[UserItem, ...]:
    """User information of the answer, its sub-items in the order of their types, as peers expect it."""
    items: list[UserItem] = [
        MaximumLength(policy.maximum_length),
        ImplementationClassUID(policy.implementation_class_uid),
    ]
    window = _window(request.user_information, policy.asynchronous_operations_window)
    if window:
        items.append(window)
    usable = {context.abstract_syntax for context in accepted.values()}
    items += (role for uid, role in roles.items() if uid in usable)
    if policy.implementation_version_name:
        items.append(ImplementationVersionName(policy.implementation_version_name))
    for item in request.user_information:
        if isinstance(item, SOPClassExtendedNegotiation) and item.sop_class_uid in usable:
            answer = policy.extended_negotiation.get(item.sop_class_uid)
            information = answer(item.information) if answer else None
            if information is not None:
                items.append(SOPClassExtendedNegotiation(item.sop_class_uid, information))
    wanted = user_item(request.user_information, UserIdentityRq)
    if user_identity and wanted and wanted.positive_response_requested:
        items.append(user_identity)
    return tuple(items)


def _window(
    items: tuple[UserItem, ...], ours: AsynchronousOperationsWindow | None
) -> AsynchronousOperationsWindow | None:
    proposed = user_item(items, AsynchronousOperationsWindow)
    return smaller_window(proposed, ours) if proposed and ours else None


def _reject(reason: UserReason) -> AssociateRj:
    return AssociateRj(RejectResult.REJECTED_PERMANENT, RejectSource.SERVICE_USER, reason)
