"""What an acceptor answers, and why."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from dicomwire.uids import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    IMPLICIT_VR_LITTLE_ENDIAN,
    STORAGE_SERVICE_CLASS,
    VERIFICATION,
)
from dicomwire.upper_layer.codec import decode, encode
from dicomwire.upper_layer.items import (
    AsynchronousOperationsWindow,
    ContextResult,
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
from dicomwire.upper_layer.negotiation import AcceptorPolicy, Negotiation, RolePolicy, negotiate
from dicomwire.upper_layer.pdu import AssociateAc, AssociateRj, AssociateRq
from tests.upper_layer.strategies import requests

CT = "1.2.840.10008.5.1.4.1.1.2"
FIND = "1.2.840.10008.5.1.4.1.2.1.1"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
JPEG_XL = "1.2.840.10008.1.2.4.112"
IMPLICIT, EXPLICIT = IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN

POLICY = AcceptorPolicy(
    supported={VERIFICATION: (EXPLICIT, IMPLICIT), CT: (EXPLICIT, IMPLICIT, JPEG_2000), FIND: (IMPLICIT,)}
)


def request(
    *contexts: tuple[int, str, tuple[str, ...]], items: tuple[UserItem, ...] = (MaximumLength(16384),)
) -> AssociateRq:
    return AssociateRq("CALLED", "CALLING", tuple(ProposedContext(*context) for context in contexts), items)


def answer(negotiation: Negotiation) -> AssociateAc:
    assert isinstance(negotiation.answer, AssociateAc)
    return negotiation.answer


def test_answer_has_results_and_items_in_the_order_of_their_types() -> None:
    wanted = request(
        (1, CT, (IMPLICIT,)),
        items=(
            UserIdentityRq(1, True, b"alice"),
            SOPClassExtendedNegotiation(CT, b"\2\0"),
            RoleSelection(CT, True, True),
            AsynchronousOperationsWindow(0, 4),
            MaximumLength(0),
        ),
    )
    policy = AcceptorPolicy(
        supported=POLICY.supported,
        maximum_length=1000,
        asynchronous_operations_window=AsynchronousOperationsWindow(8, 0),
        roles={CT: RolePolicy(scu=True, scp=True)},
        extended_negotiation={CT: lambda information: information + b"!"},
    )
    assert answer(negotiate(wanted, policy, user_identity=UserIdentityAc(b"ticket"))) == AssociateAc(
        "CALLED",
        "CALLING",
        (ContextResult(1, 0, IMPLICIT),),
        (
            MaximumLength(1000),
            ImplementationClassUID(IMPLEMENTATION_CLASS_UID),
            AsynchronousOperationsWindow(8, 4),
            RoleSelection(CT, True, True),
            ImplementationVersionName(IMPLEMENTATION_VERSION_NAME),
            SOPClassExtendedNegotiation(CT, b"\2\0!"),
            UserIdentityAc(b"ticket"),
        ),
    )


# -- contexts


def test_transfer_syntax_is_the_requestors_first_as_proposed() -> None:
    result = negotiate(request((1, CT, (JPEG_XL, JPEG_2000, EXPLICIT))), POLICY)
    assert result.accepted[1].transfer_syntax == JPEG_2000


def test_transfer_syntax_is_our_first_where_ours_is_preferred() -> None:
    policy = AcceptorPolicy(supported=POLICY.supported, transfer_syntax_policy="preferred")
    result = negotiate(request((1, CT, (JPEG_XL, JPEG_2000, EXPLICIT))), policy)
    assert result.accepted[1].transfer_syntax == EXPLICIT


def test_each_context_has_its_result_and_words_that_say_why() -> None:
    policy = AcceptorPolicy(supported=POLICY.supported, refused={FIND: "stores only"})
    result = negotiate(
        request(
            (1, CT, (IMPLICIT,)),
            (3, CT, (JPEG_XL, "1.2.3")),
            (5, "1.2.840.10008.5.1.4.1.1.4", (IMPLICIT,)),
            (7, FIND, (IMPLICIT,)),
            (9, CT, (JPEG_XL,)),
            (11, CT, ()),
            (13, "", (IMPLICIT,)),
            (15, "\x1b[31m", (IMPLICIT,)),
        ),
        policy,
    )
    assert [
        (outcome.presentation_context_id, outcome.result, outcome.words) for outcome in result.contexts
    ] == [
        (1, 0, "CT Image Storage: accepted with Implicit VR Little Endian"),
        (
            3,
            4,
            "CT Image Storage: none of the 2 proposed transfer syntaxes (JPEG XL, 1.2.3) is supported here",
        ),
        (5, 3, "MR Image Storage: this abstract syntax is not supported here"),
        (
            7,
            1,
            "Patient Root Query/Retrieve Information Model - FIND: refused by policy, stores only",
        ),
        (9, 4, "CT Image Storage: the only proposed transfer syntax (JPEG XL) is not supported here"),
        (11, 4, "CT Image Storage: no transfer syntax is proposed"),
        (13, 3, "(none): this abstract syntax is not supported here"),
        (15, 3, "'\\x1b[31m': this abstract syntax is not supported here"),
    ]
    assert [context.result for context in answer(result).presentation_contexts] == [0, 4, 3, 1, 4, 4, 3, 3]
    assert {context.transfer_syntax for context in answer(result).presentation_contexts} == {IMPLICIT}
    assert list(result.accepted) == [1]


def test_128_contexts_are_all_answered() -> None:
    result = negotiate(request(*((2 * n + 1, CT, (IMPLICIT,)) for n in range(128))), POLICY)
    assert len(answer(result).presentation_contexts) == len(result.accepted) == 128
    assert result.violations == ()


def test_even_context_ids_are_taken_and_reported() -> None:
    result = negotiate(request((2, CT, (IMPLICIT,)), (0, VERIFICATION, (IMPLICIT,))), POLICY)
    assert list(result.accepted) == [2, 0]
    assert result.violations == (
        "presentation context ID 2 is not odd (PS3.8 Table 9-13)",
        "presentation context ID 0 is not odd (PS3.8 Table 9-13)",
    )


def test_context_id_proposed_twice_counts_once() -> None:
    result = negotiate(request((1, CT, (IMPLICIT,)), (1, FIND, (IMPLICIT,))), POLICY)
    assert answer(result).presentation_contexts == (ContextResult(1, 0, IMPLICIT),)
    assert result.accepted[1].abstract_syntax == CT
    assert [outcome.result for outcome in result.contexts] == [0, 1]
    assert result.violations == (
        "presentation context 1 is proposed twice, the first counts (PS3.8 9.3.2.2)",
    )


def test_none_accepted_is_rejected_by_default() -> None:
    result = negotiate(request((1, CT, (JPEG_XL,))), POLICY)
    assert result.answer == AssociateRj(1, 1, 1)
    assert result.accepted == {}
    assert result.contexts[0].result == 4


def test_none_accepted_may_be_accepted() -> None:
    policy = AcceptorPolicy(supported=POLICY.supported, on_no_accepted_context="accept")
    result = negotiate(request((1, CT, (JPEG_XL,))), policy)
    assert answer(result).presentation_contexts == (ContextResult(1, 4, IMPLICIT),)


def test_request_without_contexts_is_rejected() -> None:
    assert negotiate(request(), POLICY).answer == AssociateRj(1, 1, 1)


@pytest.mark.parametrize("name", ["1.2.840.10008.3.1.1.2", ""])
def test_another_application_context_is_rejected(name: str) -> None:
    wanted = AssociateRq("A", "B", (ProposedContext(1, CT, (IMPLICIT,)),), (), application_context_name=name)
    result = negotiate(wanted, POLICY)
    assert result.answer == AssociateRj(1, 1, 2)
    assert result.accepted == {}


# -- SOP classes we do not know


def test_unregistered_abstract_syntax_is_taken_by_setting_only() -> None:
    wanted = request((1, "1.2.3.4", (IMPLICIT,)))
    assert negotiate(wanted, POLICY).answer == AssociateRj(1, 1, 1)
    policy = AcceptorPolicy(supported={}, unregistered=(IMPLICIT,))
    result = negotiate(wanted, policy)
    assert result.accepted[1].abstract_syntax == "1.2.3.4"
    assert result.contexts[0].words == "1.2.3.4: accepted with Implicit VR Little Endian, not in the registry"
    registered = negotiate(request((1, "1.2.840.10008.5.1.1.1", (IMPLICIT,))), policy)
    assert registered.contexts[0].result == 3
    assert negotiate(request((1, "1..2", (IMPLICIT,))), policy).contexts[0].result == 3


def test_class_is_taken_as_the_one_it_says_it_is_related_to() -> None:
    wanted = request(
        (1, "1.2.3.4", (JPEG_2000,)),
        items=(SOPClassCommonExtendedNegotiation("1.2.3.4", STORAGE_SERVICE_CLASS, ("1.2.3.5", CT)),),
    )
    result = negotiate(wanted, POLICY)
    assert result.accepted[1].transfer_syntax == JPEG_2000
    assert result.contexts[0].words.endswith(", as CT Image Storage (item 57H)")


def test_class_is_taken_as_one_of_its_service_class_where_that_is_allowed() -> None:
    wanted = request(
        (1, "1.2.3.4", (IMPLICIT,)),
        items=(SOPClassCommonExtendedNegotiation("1.2.3.4", STORAGE_SERVICE_CLASS, ()),),
    )
    assert negotiate(wanted, POLICY).contexts[0].result == 3
    policy = AcceptorPolicy(supported={}, service_classes={STORAGE_SERVICE_CLASS: (IMPLICIT,)})
    result = negotiate(wanted, policy)
    assert result.accepted[1].abstract_syntax == "1.2.3.4"
    assert result.contexts[0].words.endswith(", as of Storage Service Class (item 57H)")


# -- roles


@pytest.mark.parametrize(
    ("proposed", "allowed", "answered", "roles"),
    [
        (None, (True, True), None, (True, False)),
        ((True, True), None, None, (True, False)),
        ((True, True), (True, True), (True, True), (True, True)),
        ((True, True), (True, False), (True, False), (True, False)),
        ((False, True), (True, True), (False, True), (False, True)),
        ((True, False), (True, True), (True, False), (True, False)),
    ],
)
def test_roles_are_those_that_both_want(
    proposed: tuple[bool, bool] | None,
    allowed: tuple[bool, bool] | None,
    answered: tuple[bool, bool] | None,
    roles: tuple[bool, bool],
) -> None:
    items = (RoleSelection(CT, *proposed),) if proposed else ()
    policy = AcceptorPolicy(supported=POLICY.supported, roles={CT: RolePolicy(*allowed)} if allowed else {})
    result = negotiate(request((1, CT, (IMPLICIT,)), items=items), policy)
    given_items = [item for item in answer(result).user_information if isinstance(item, RoleSelection)]
    assert given_items == ([RoleSelection(CT, *answered)] if answered else [])
    assert (result.accepted[1].scu_role, result.accepted[1].scp_role) == roles


def test_context_that_keeps_no_role_is_refused() -> None:
    policy = AcceptorPolicy(supported=POLICY.supported, roles={"*": RolePolicy(scu=True, scp=False)})
    wanted = request(
        (1, CT, (IMPLICIT,)), (3, VERIFICATION, (IMPLICIT,)), items=(RoleSelection(CT, False, True),)
    )
    result = negotiate(wanted, policy)
    assert [outcome.result for outcome in result.contexts] == [1, 0]
    assert result.contexts[0].words == "CT Image Storage: none of the roles proposed is taken here"
    assert not any(isinstance(item, RoleSelection) for item in answer(result).user_information)


# -- the other items


@pytest.mark.parametrize(
    ("proposed", "ours", "agreed"),
    [
        ((4, 4), (8, 1), (4, 1)),
        ((0, 0), (8, 1), (8, 1)),
        ((0, 3), (0, 0), (0, 3)),
    ],
)
def test_asynchronous_window_is_the_smaller_and_0_is_no_limit(
    proposed: tuple[int, int], ours: tuple[int, int], agreed: tuple[int, int]
) -> None:
    wanted = request((1, CT, (IMPLICIT,)), items=(AsynchronousOperationsWindow(*proposed),))
    policy = AcceptorPolicy(
        supported=POLICY.supported, asynchronous_operations_window=AsynchronousOperationsWindow(*ours)
    )
    result = negotiate(wanted, policy)
    assert result.window == AsynchronousOperationsWindow(*agreed)
    assert AsynchronousOperationsWindow(*agreed) in answer(result).user_information


def test_asynchronous_window_is_answered_only_where_proposed_and_allowed() -> None:
    proposed = request((1, CT, (IMPLICIT,)), items=(AsynchronousOperationsWindow(4, 4),))
    allowing = AcceptorPolicy(
        supported=POLICY.supported, asynchronous_operations_window=AsynchronousOperationsWindow(8, 8)
    )
    for result in (negotiate(proposed, POLICY), negotiate(request((1, CT, (IMPLICIT,))), allowing)):
        assert result.window == AsynchronousOperationsWindow(1, 1)
        assert not any(isinstance(i, AsynchronousOperationsWindow) for i in answer(result).user_information)


def test_identity_is_answered_only_where_it_was_asked_for() -> None:
    for asked in (True, False):
        wanted = request((1, CT, (IMPLICIT,)), items=(UserIdentityRq(1, asked, b"alice"),))
        result = negotiate(wanted, POLICY, user_identity=UserIdentityAc(b""))
        assert (UserIdentityAc(b"") in answer(result).user_information) is asked
    assert UserIdentityAc(b"") not in answer(negotiate(wanted, POLICY)).user_information


def test_extended_negotiation_is_answered_for_accepted_classes_with_a_handler() -> None:
    wanted = request(
        (1, CT, (IMPLICIT,)),
        (3, FIND, (IMPLICIT,)),
        (5, VERIFICATION, (JPEG_XL,)),
        items=tuple(SOPClassExtendedNegotiation(uid, b"\1") for uid in (CT, FIND, VERIFICATION)),
    )
    policy = AcceptorPolicy(
        supported=POLICY.supported,
        extended_negotiation={CT: lambda _: b"\1\1", FIND: lambda _: None, VERIFICATION: lambda _: b"\1"},
    )
    items = answer(negotiate(wanted, policy)).user_information
    assert [item for item in items if isinstance(item, SOPClassExtendedNegotiation)] == [
        SOPClassExtendedNegotiation(CT, b"\1\1")
    ]


@pytest.mark.parametrize(
    ("items", "length", "violations"),
    [
        ((MaximumLength(0),), 0, 0),
        ((MaximumLength(4096),), 4096, 0),
        ((MaximumLength(3),), 8, 1),
        ((), 16384, 1),
    ],
)
def test_maximum_length_to_send_is_what_the_peer_announced(
    items: tuple[UserItem, ...], length: int, violations: int
) -> None:
    result = negotiate(request((1, CT, (IMPLICIT,)), items=items), POLICY)
    assert result.maximum_length_to_send == length
    assert len(result.violations) == violations


@given(requests)
@settings(max_examples=100, deadline=None)
def test_any_request_has_an_answer_that_can_be_sent(wanted: AssociateRq) -> None:
    policy = AcceptorPolicy(
        supported={},
        unregistered=(IMPLICIT, "1", "2"),
        on_no_accepted_context="accept",
        roles={"*": RolePolicy(True, True)},
    )
    result = negotiate(wanted, policy)
    data = encode(result.answer)
    assert decode(data[0], data[6:]) == result.answer
    assert len(result.contexts) == len(wanted.presentation_contexts)
    assert {outcome.result for outcome in result.contexts} <= {0, 1, 3, 4}
    assert result == negotiate(wanted, policy)
