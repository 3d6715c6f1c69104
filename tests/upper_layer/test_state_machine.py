"""All 13 x 19 cells in behaviour: an upper layer in every state is given every event."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dicomwire.errors import LocalProtocolError
from dicomwire.upper_layer.codec import encode
from dicomwire.upper_layer.pdu import Abort, Pdu, ReleaseRp, ReleaseRq
from dicomwire.upper_layer.protocol import (
    AbortIndication,
    AssociateConfirmation,
    AssociateIndication,
    DataFragment,
    Event,
    Policy,
    ReleaseConfirmation,
    ReleaseIndication,
    Role,
    State,
    TraceStep,
    TransportClose,
    UpperLayer,
    Violation,
)
from dicomwire.upper_layer.tables import Evt
from tests.upper_layer.ends import ACCEPTANCE, DATA, REJECTION, REQUEST, in_state, written
from tests.upper_layer.test_tables import NEXT, expected

NOW = 7.0
ARTIM = Policy().artim
INVALID = bytes.fromhex("4242 00000002 0000")

LOCAL: dict[Evt, Pdu] = {
    Evt.ASSOCIATE_REQUEST: REQUEST,
    Evt.ASSOCIATE_RESPONSE_ACCEPT: ACCEPTANCE,
    Evt.ASSOCIATE_RESPONSE_REJECT: REJECTION,
    Evt.P_DATA_REQUEST: DATA,
    Evt.RELEASE_REQUEST: ReleaseRq(),
    Evt.RELEASE_RESPONSE: ReleaseRp(),
    Evt.ABORT_REQUEST: Abort(),
}
RECEIVED: dict[Evt, bytes] = {
    Evt.ASSOCIATE_AC_RECEIVED: encode(ACCEPTANCE),
    Evt.ASSOCIATE_RJ_RECEIVED: encode(REJECTION),
    Evt.ASSOCIATE_RQ_RECEIVED: encode(REQUEST),
    Evt.P_DATA_RECEIVED: encode(DATA),
    Evt.RELEASE_RQ_RECEIVED: encode(ReleaseRq()),
    Evt.RELEASE_RP_RECEIVED: encode(ReleaseRp()),
    Evt.ABORT_RECEIVED: encode(Abort()),
    Evt.INVALID_PDU: INVALID,
}
UNEXPECTED, UNRECOGNIZED = 2, 1


def feed(end: UpperLayer, event: Evt) -> list[Event]:
    """Gives one event, whatever kind it is."""
    if event in LOCAL:
        end.send(LOCAL[event], NOW)
        return []
    if event in RECEIVED:
        return end.receive(RECEIVED[event], NOW)
    if event in (Evt.TRANSPORT_CONFIRMATION, Evt.TRANSPORT_INDICATION):
        end.connected(NOW)
        return []
    if event is Evt.TRANSPORT_CLOSED:
        return end.closed(NOW)
    end.deadline = NOW if end.deadline is not None else None
    return end.expire(NOW)


def reason(event: Evt) -> int:
    return UNRECOGNIZED if event is Evt.INVALID_PDU else UNEXPECTED


def sent(action: str, event: Evt) -> bytes:
    """What the action puts on the wire."""
    if action in ("AE-2",):
        return encode(REQUEST)
    if action in ("AA-7", "AA-8"):
        return encode(Abort(2, reason(event)))
    if action == "AA-1":
        return encode(Abort(0, 0))
    if action in ("AE-7", "AE-8", "DT-1", "AR-1", "AR-4", "AR-7", "AR-9"):
        return encode(LOCAL[event])
    return b""


def indicated(action: str, event: Evt) -> list[type]:
    """The kinds of events that the action gives its user, in order."""
    by_action: dict[str, list[type]] = {
        "AE-3": [AssociateConfirmation],
        "AE-4": [AssociateConfirmation, TransportClose],
        "AE-6": [AssociateIndication],
        "DT-2": [DataFragment],
        "AR-2": [ReleaseIndication],
        "AR-3": [ReleaseConfirmation, TransportClose],
        "AR-6": [DataFragment],
        "AR-8": [ReleaseIndication],
        "AR-10": [ReleaseConfirmation],
        "AA-2": [TransportClose],
        "AA-3": [AbortIndication, TransportClose],
        "AA-4": [AbortIndication],
        "AA-7": [Violation],
        "AA-8": [Violation, AbortIndication],
    }
    if action == "AA-1":
        return [Violation] if event in RECEIVED else []
    if action == "AA-2" and event in LOCAL:
        return []
    return by_action.get(action, [])


def roles(state: State) -> list[Role]:
    only = {2: Role.ACCEPTOR, 3: Role.ACCEPTOR, 4: Role.REQUESTOR, 5: Role.REQUESTOR, 9: Role.REQUESTOR}
    only |= {10: Role.ACCEPTOR, 11: Role.REQUESTOR, 12: Role.ACCEPTOR}
    return [only[state]] if state in only else list(Role)


CELLS = [
    pytest.param(event, state, role, id=f"Evt{int(event)}-Sta{int(state)}-{role.name.lower()}")
    for event in Evt
    for state in State
    for role in roles(state)
]


@pytest.mark.parametrize(("event", "state", "role"), CELLS)
def test_cell_behaves_as_the_standard_says(event: Evt, state: State, role: Role) -> None:
    steps: list[TraceStep] = []
    end = in_state(state, role, trace=steps.append)
    steps.clear()
    deadline = end.deadline
    action = expected().get((event, state))
    # Sta1: which transport event and whether a request may come is the role's.
    if (event, state, role) in (
        (Evt.ASSOCIATE_REQUEST, State.STA1, Role.ACCEPTOR),
        (Evt.TRANSPORT_INDICATION, State.STA1, Role.REQUESTOR),
    ):
        action = None
    # `connected` means Evt2 for a requestor and Evt5 for an acceptor, whatever this test calls it.
    if event in (Evt.TRANSPORT_CONFIRMATION, Evt.TRANSPORT_INDICATION):
        real = Evt.TRANSPORT_INDICATION if role is Role.ACCEPTOR else Evt.TRANSPORT_CONFIRMATION
        action, event = expected().get((real, state)), real
    if action is None:
        assert_cannot_occur(end, event, state, deadline)
        assert steps == []
        return

    events = feed(end, event)

    assert written(end) == sent(action, event)
    assert list(map(type, events)) == indicated(action, event)
    next_state = NEXT[action][-1 if action == "AR-8" and role is Role.ACCEPTOR else 0]
    assert end.state == next_state
    if action in ("AE-5", "AE-8", "AR-4", "AA-1", "AA-8"):
        assert end.deadline == NOW + ARTIM
    elif action in ("AE-6", "AR-5", "AA-2", "AA-5"):
        assert end.deadline is None
    else:
        assert end.deadline == deadline
    assert end.transport_close == (action in ("AE-4", "AR-3", "AA-2", "AA-3"))
    if action == "AA-8":
        assert events[-1] == AbortIndication(2, reason(event), provider=True)
    assert [(step.event, step.state, step.action.value, step.next, step.now) for step in steps] == [
        (event, state, action, next_state, NOW)
    ]


def assert_cannot_occur(end: UpperLayer, event: Evt, state: State, deadline: float | None) -> None:
    """A blank cell: our own fault where a local user or transport asks for it, nothing where nobody can."""
    local = event in LOCAL or event in (Evt.TRANSPORT_CONFIRMATION, Evt.TRANSPORT_INDICATION)
    if local or (event in RECEIVED and state is State.STA4):
        call: Callable[[], object] = lambda: feed(end, event)  # noqa: E731
        with pytest.raises(LocalProtocolError):
            call()
    else:
        assert feed(end, event) == []
    assert (end.state, end.deadline, written(end)) == (state, deadline, b"")


def test_message_of_a_forbidden_primitive_says_what_and_where() -> None:
    with pytest.raises(LocalProtocolError) as caught:
        in_state(State.STA3).send(DATA, NOW)
    assert str(caught.value) == (
        "P-DATA request is not allowed in Sta3 (awaiting the local answer to A-ASSOCIATE)"
        " (PS3.8 Table 9-10, Evt9)"
    )


def test_violation_says_what_came_where_and_what_was_due() -> None:
    end = in_state(State.STA2)
    (violation,) = end.receive(encode(ReleaseRq()), NOW)
    assert violation == Violation(
        "A-RELEASE-RQ byte 0: not expected in Sta2 (transport connection open, awaiting A-ASSOCIATE-RQ)"
        " (PS3.8 Table 9-10)",
        0,
        "PDU-type",
        "PS3.8 Table 9-10",
    )
