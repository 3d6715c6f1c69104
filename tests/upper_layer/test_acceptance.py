"""What a requestor makes of an answer, whatever is wrong in it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from dicomwire.uids import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    VERIFICATION,
)
from dicomwire.upper_layer.items import (
    AsynchronousOperationsWindow,
    ContextResult,
    MaximumLength,
    ProposedContext,
    RoleSelection,
    SOPClassExtendedNegotiation,
    UserIdentityAc,
    UserItem,
)
from dicomwire.upper_layer.negotiation import (
    Accepted,
    AcceptedContext,
    AcceptorPolicy,
    RolePolicy,
    accepted,
    negotiate,
)
from dicomwire.upper_layer.pdu import AssociateAc, AssociateRq
from tests.upper_layer.strategies import answers, requests

IMPLICIT, EXPLICIT = IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN
CT = "1.2.840.10008.5.1.4.1.1.2"


def judged(
    *results: tuple[int, int, str],
    proposed: tuple[UserItem, ...] = (),
    answered: tuple[UserItem, ...] = (MaximumLength(32768),),
) -> Accepted:
    request = AssociateRq(
        "A",
        "B",
        (
            ProposedContext(1, VERIFICATION, (IMPLICIT,)),
            ProposedContext(3, CT, (EXPLICIT, IMPLICIT)),
        ),
        proposed,
    )
    return accepted(request, AssociateAc("A", "B", tuple(ContextResult(*r) for r in results), answered))


def test_accepted_contexts_are_usable() -> None:
    result = judged((1, 0, IMPLICIT), (3, 0, IMPLICIT))
    assert result.contexts == {
        1: AcceptedContext(1, VERIFICATION, IMPLICIT, True, False),
        3: AcceptedContext(3, CT, IMPLICIT, True, False),
    }
    assert result.maximum_length_to_send == 32768
    assert result.violations == ()
    assert result.outcomes[1].words == "CT Image Storage: accepted with Implicit VR Little Endian"


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (1, "CT Image Storage: the peer's user refuses it (result 1)"),
        (2, "CT Image Storage: the peer refuses it and says no reason (result 2)"),
        (3, "CT Image Storage: the peer does not support it (result 3)"),
        (
            4,
            "CT Image Storage: the peer supports no proposed transfer syntax"
            " (Explicit VR Little Endian, Implicit VR Little Endian) (result 4)",
        ),
        (9, "CT Image Storage: the peer answers the reserved result 9"),
    ],
)
def test_refused_context_says_why(result: int, words: str) -> None:
    outcome = judged((1, 0, IMPLICIT), (3, result, "")).outcomes[1]
    assert (outcome.words, outcome.result, outcome.accepted) == (words, result, False)


def test_transfer_syntax_that_was_not_proposed_makes_the_context_unusable() -> None:
    result = judged((1, 0, EXPLICIT), (3, 0, ""))
    assert result.contexts == {}
    assert [outcome.words for outcome in result.outcomes] == [
        "Verification SOP Class: the peer accepts it with Explicit VR Little Endian, which was not proposed",
        "CT Image Storage: the peer accepts it with (none), which was not proposed",
    ]
    assert len(result.violations) == 2


def test_answers_missing_doubled_and_made_up_are_reported() -> None:
    result = judged((1, 0, IMPLICIT), (1, 3, ""), (7, 0, IMPLICIT))
    assert list(result.contexts) == [1]
    assert result.outcomes[1].result is None
    assert result.violations == (
        "presentation context 1 is answered twice, the first counts (PS3.8 9.3.3.2)",
        "presentation context 7 is answered, it was not proposed (PS3.8 9.3.3.2)",
        "presentation context 3 is not answered (PS3.8 9.3.3.2)",
    )


def test_roles_are_those_both_sides_named() -> None:
    result = judged(
        (1, 0, IMPLICIT),
        (3, 0, IMPLICIT),
        proposed=(RoleSelection(CT, True, True), RoleSelection(VERIFICATION, True, False)),
        answered=(
            MaximumLength(0),
            RoleSelection(CT, False, True),
            RoleSelection(VERIFICATION, True, True),
            RoleSelection("1.2.3", True, True),
        ),
    )
    assert (result.contexts[3].scu_role, result.contexts[3].scp_role) == (False, True)
    assert (result.contexts[1].scu_role, result.contexts[1].scp_role) == (True, False)
    assert result.violations == (
        "item 54H gives Verification SOP Class a role that was not proposed (PS3.7 D.3.3.4)",
        "item 54H answers 1.2.3, which was not proposed (PS3.7 D.3.3.4)",
    )


def test_window_counts_only_where_it_was_proposed() -> None:
    window = AsynchronousOperationsWindow(5, 5)
    agreed = judged(proposed=(AsynchronousOperationsWindow(3, 0),), answered=(MaximumLength(0), window))
    assert agreed.window == AsynchronousOperationsWindow(3, 5)
    unasked = judged(answered=(MaximumLength(0), window))
    assert unasked.window == AsynchronousOperationsWindow(1, 1)
    assert "item 53H is answered, it was not proposed (PS3.7 D.3.3.3)" in unasked.violations
    silent = judged(proposed=(window,), answered=(MaximumLength(0),))
    assert silent.window == AsynchronousOperationsWindow(1, 1)


def test_answers_of_services_and_identity_are_handed_on() -> None:
    result = judged(answered=(SOPClassExtendedNegotiation(CT, b"\1"), UserIdentityAc(b"ticket")))
    assert result.extended_negotiation == {CT: b"\1"}
    assert result.user_identity == UserIdentityAc(b"ticket")
    assert result.maximum_length_to_send == 16384


def test_both_sides_come_to_the_same_contexts() -> None:
    request = AssociateRq(
        "A",
        "B",
        (
            ProposedContext(1, CT, (EXPLICIT, IMPLICIT)),
            ProposedContext(3, VERIFICATION, (EXPLICIT,)),
            ProposedContext(5, "1.2.3", (EXPLICIT,)),
        ),
        (MaximumLength(0), RoleSelection(CT, True, True), AsynchronousOperationsWindow(2, 2)),
    )
    policy = AcceptorPolicy(
        supported={CT: (IMPLICIT,), VERIFICATION: (EXPLICIT,)},
        roles={CT: RolePolicy(scu=False, scp=True)},
        asynchronous_operations_window=AsynchronousOperationsWindow(0, 1),
    )
    theirs = negotiate(request, policy)
    assert isinstance(theirs.answer, AssociateAc)
    ours = accepted(request, theirs.answer)
    assert ours.contexts == theirs.accepted
    assert ours.window == theirs.window == AsynchronousOperationsWindow(2, 1)
    assert ours.violations == theirs.violations == ()


@given(requests, answers)
@settings(max_examples=100, deadline=None)
def test_any_answer_gives_usable_contexts_only_of_what_was_proposed(
    request: AssociateRq, answer: AssociateAc
) -> None:
    result = accepted(request, answer)
    proposed = {
        (context.presentation_context_id, context.abstract_syntax, syntax)
        for context in request.presentation_contexts
        for syntax in context.transfer_syntaxes
    }
    assert {
        (context.presentation_context_id, context.abstract_syntax, context.transfer_syntax)
        for context in result.contexts.values()
    } <= proposed
    assert len(result.outcomes) == len(request.presentation_contexts)
