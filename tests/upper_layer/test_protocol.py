"""The protocol machine: two linked ends, time, limits, and bytes of any kind at any chunking."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicomwire.errors import LocalProtocolError
from dicomwire.upper_layer.codec import encode
from dicomwire.upper_layer.items import MaximumLength
from dicomwire.upper_layer.pdu import (
    Abort,
    AssociateAc,
    AssociateRj,
    AssociateRq,
    PData,
    Pdu,
    PresentationDataValue,
    ReleaseRp,
    ReleaseRq,
)
from dicomwire.upper_layer.protocol import (
    ABORT_ANSWERS,
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
from tests.upper_layer.ends import ACCEPTANCE, DATA, REJECTION, REQUEST, carry, in_state, linked, written
from tests.upper_layer.strategies import pdus
from tests.upper_layer.vectors import ECHO_RQ, VECTORS


def receive_cut(end: UpperLayer, data: bytes, cuts: list[int], now: float = 0.0) -> list[Event]:
    """Received in pieces, each in a buffer of its own that is overwritten afterwards."""
    events: list[Event] = []
    for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True):
        buffer = bytearray(data[start:stop])
        for event in end.receive(buffer, now):
            if isinstance(event, DataFragment):
                event = event._replace(data=memoryview(bytes(event.data)))
            events.append(event)
        buffer[:] = bytes(len(buffer))
    return events


def joined(events: list[Event]) -> list[object]:
    """The events with the fragments of a value put together again."""
    whole: list[object] = []
    data = b""
    for event in events:
        if isinstance(event, DataFragment):
            data += event.data
            if event.end:
                whole.append((event.presentation_context_id, event.control, data))
                data = b""
        else:
            whole.append(event)
    return whole


# -- an association from its beginning to its end


def test_two_linked_ends_associate_exchange_data_and_release() -> None:
    requestor, acceptor = UpperLayer(Role.REQUESTOR), UpperLayer(Role.ACCEPTOR)
    requestor.send(REQUEST, 0.0)
    assert requestor.outgoing() == []
    requestor.connected(0.0)
    acceptor.connected(0.0)
    data = written(requestor)
    assert acceptor.receive(data, 0.0) == [AssociateIndication(REQUEST, data[6:])]
    acceptor.send(ACCEPTANCE, 0.0)
    assert carry(acceptor, requestor) == [AssociateConfirmation(ACCEPTANCE)]
    requestor.send_value(PresentationDataValue(1, 3, b"request"), 0.0)
    assert carry(requestor, acceptor) == [DataFragment(1, 3, memoryview(b"request"), True)]
    acceptor.send(PData((PresentationDataValue(1, 3, b"answer"), PresentationDataValue(1, 2, b""))), 0.0)
    assert carry(acceptor, requestor) == [
        DataFragment(1, 3, memoryview(b"answer"), True),
        DataFragment(1, 2, memoryview(b""), True),
    ]
    requestor.send(ReleaseRq(), 0.0)
    assert carry(requestor, acceptor) == [ReleaseIndication(collision=False)]
    acceptor.send(ReleaseRp(), 0.0)
    assert carry(acceptor, requestor) == [ReleaseConfirmation(), TransportClose()]
    assert acceptor.closed(0.0) == []
    assert requestor.state is acceptor.state is State.STA1


def test_rejected_request_is_confirmed_and_the_transport_closed() -> None:
    requestor, acceptor = in_state(State.STA5), in_state(State.STA3)
    acceptor.send(REJECTION, 1.0)
    assert carry(acceptor, requestor) == [AssociateConfirmation(REJECTION), TransportClose()]
    assert requestor.transport_close
    assert acceptor.deadline == 31.0


def test_release_collision_acceptor_answers_after_the_requestor() -> None:
    requestor, acceptor = linked()
    requestor.send(ReleaseRq(), 0.0)
    acceptor.send(ReleaseRq(), 0.0)
    to_acceptor, to_requestor = written(requestor), written(acceptor)
    assert requestor.receive(to_requestor, 0.0) == [ReleaseIndication(collision=True)]
    assert acceptor.receive(to_acceptor, 0.0) == [ReleaseIndication(collision=True)]
    assert (requestor.state, acceptor.state) == (State.STA9, State.STA10)
    with pytest.raises(LocalProtocolError):
        acceptor.send(ReleaseRp(), 0.0)
    requestor.send(ReleaseRp(), 0.0)
    assert carry(requestor, acceptor) == [ReleaseConfirmation()]
    assert (requestor.state, acceptor.state) == (State.STA11, State.STA12)
    acceptor.send(ReleaseRp(), 0.0)
    assert carry(acceptor, requestor) == [ReleaseConfirmation(), TransportClose()]
    assert (requestor.state, acceptor.state) == (State.STA1, State.STA13)


def test_data_may_still_come_after_we_asked_for_the_release() -> None:
    requestor, acceptor = linked()
    requestor.send(ReleaseRq(), 0.0)
    acceptor.send(DATA, 0.0)
    assert joined(carry(acceptor, requestor)) == [(1, 3, b"command")]
    carry(requestor, acceptor)
    acceptor.send(DATA, 0.0)  # AR-7: the local user may send before it answers
    assert joined(carry(acceptor, requestor)) == [(1, 3, b"command")]


def test_abort_by_the_user_is_told_apart_from_one_by_the_provider() -> None:
    requestor, acceptor = linked()
    requestor.send(Abort(0, 5), 0.0)
    assert written(requestor) == encode(Abort(0, 0))
    assert acceptor.receive(encode(Abort(0, 0)), 0.0) == [AbortIndication(0, 0, False), TransportClose()]
    _, other = linked()
    assert other.receive(encode(Abort(2, 6)), 0.0) == [AbortIndication(2, 6, True), TransportClose()]


def test_local_user_may_abort_with_a_providers_reason() -> None:
    end = in_state(State.STA6)
    end.send(Abort(2, 5), 0.0)
    assert written(end) == encode(Abort(2, 5))


def test_lost_connection_is_an_abort_by_the_provider() -> None:
    assert in_state(State.STA6).closed(0.0) == [AbortIndication(2, 0, True)]


def test_abort_while_connecting_closes_without_a_word() -> None:
    end = in_state(State.STA4)
    end.send(Abort(), 0.0)
    assert (end.state, end.transport_close, end.outgoing()) == (State.STA1, True, [])


def test_nothing_is_read_after_the_end() -> None:
    end = in_state(State.STA6)
    after = encode(Abort()) + encode(REQUEST)
    assert end.receive(after, 0.0) == [AbortIndication(0, 0, False), TransportClose()]
    assert end.receive(encode(REQUEST), 0.0) == []
    assert end.closed(0.0) == []


# -- local misuse


def test_acceptor_cannot_request() -> None:
    with pytest.raises(LocalProtocolError, match="acceptor"):
        UpperLayer(Role.ACCEPTOR).send(REQUEST, 0.0)


def test_requestor_connected_without_a_request_is_our_own_fault() -> None:
    with pytest.raises(LocalProtocolError, match="Sta1"):
        UpperLayer(Role.REQUESTOR).connected(0.0)


def test_pdu_that_cannot_be_encoded_changes_nothing() -> None:
    end = in_state(State.STA6)
    with pytest.raises(LocalProtocolError, match="does not fit"):
        end.send(Abort(2, 300), 0.0)
    assert (end.state, end.outgoing()) == (State.STA6, [])


@pytest.mark.parametrize("size", [0, 1, 500])
def test_value_is_sent_with_a_header_and_not_copied(size: int) -> None:
    end = in_state(State.STA6)
    value = memoryview(bytes(range(256)) * 2)[:size]
    end.send_value(PresentationDataValue(5, 2, value), 0.0)
    outgoing = end.outgoing()
    assert b"".join(map(bytes, outgoing)) == encode(PData((PresentationDataValue(5, 2, value),)))
    assert len(outgoing[0]) == 12
    assert outgoing[1:] == ([value] if size else [])
    assert not size or outgoing[1] is value


def test_value_longer_than_the_peer_takes_is_our_own_fault() -> None:
    end = in_state(State.STA6)  # the requestor announced 16384
    end.send_value(PresentationDataValue(1, 0, bytes(16384 - 6)), 0.0)
    with pytest.raises(LocalProtocolError, match="16385 bytes is longer than the 16384"):
        end.send_value(PresentationDataValue(1, 0, bytes(16384 - 5)), 0.0)
    with pytest.raises(LocalProtocolError, match="16385 bytes"):
        end.send(PData((PresentationDataValue(1, 0, bytes(16384 - 5)),)), 0.0)


def test_peer_without_a_limit_takes_any_value() -> None:
    end = UpperLayer(Role.ACCEPTOR)
    end.connected(0.0)
    end.receive(encode(AssociateRq("A", "B", REQUEST.presentation_contexts, (MaximumLength(0),))), 0.0)
    end.send(ACCEPTANCE, 0.0)
    end.send_value(PresentationDataValue(1, 0, bytes(1 << 20)), 0.0)


@pytest.mark.parametrize("traced", [False, True])
def test_values_in_a_row_are_the_same_bytes_as_one_by_one(traced: bool) -> None:
    data = memoryview(bytes(range(250)) * 4)
    steps: list[TraceStep] = []
    one = in_state(State.STA6, trace=steps.append if traced else None)
    other = in_state(State.STA6)
    steps.clear()
    one.send_values(5, 0, data, 250, 0.0)
    for at in range(0, 1000, 250):
        other.send_value(PresentationDataValue(5, 0, data[at : at + 250]), 0.0)
    assert written(one) == written(other)
    assert len(steps) == (4 if traced else 0)


def test_values_longer_than_the_peer_takes_are_refused() -> None:
    end = in_state(State.STA6)
    with pytest.raises(LocalProtocolError, match="longer than"):
        end.send_values(1, 0, memoryview(bytes(40_000)), 20_000, 0.0)


# -- time


def test_trickling_request_does_not_move_its_deadline() -> None:
    end = UpperLayer(Role.ACCEPTOR, Policy(artim=5.0))
    end.connected(100.0)
    for index, byte in enumerate(ECHO_RQ[:-1]):
        assert end.receive(bytes([byte]), 100.0 + index * 0.02) == []
    deadline = end.deadline
    assert deadline == 105.0
    assert end.expire(104.9) == []
    assert end.expire(105.0) == [TransportClose()]
    assert (end.state, end.deadline, end.outgoing()) == (State.STA1, None, [])
    assert end.receive(ECHO_RQ[-1:], 105.0) == []


def test_request_in_time_stops_the_clock() -> None:
    assert in_state(State.STA3).deadline is None


def test_peer_that_does_not_close_is_closed() -> None:
    end = in_state(State.STA8, policy=Policy(artim=2.0))
    end.send(ReleaseRp(), 10.0)
    assert end.deadline == 12.0
    end.receive(encode(DATA), 11.0)
    assert end.deadline == 12.0
    assert end.expire(12.0) == [TransportClose()]


def test_expiry_without_a_deadline_is_nothing() -> None:
    assert in_state(State.STA6).expire(1e9) == []


# -- requests that the provider refuses by itself


@pytest.mark.parametrize(("version", "taken"), [(1, True), (0xFFFF, True), (2, False), (0, False)])
def test_protocol_version_is_judged_by_its_bit_0(version: int, taken: bool) -> None:
    end = in_state(State.STA2)
    request = AssociateRq(
        "A", "B", REQUEST.presentation_contexts, REQUEST.user_information, protocol_version=version
    )
    events = end.receive(encode(request), 3.0)
    if taken:
        assert [type(event) for event in events] == [AssociateIndication]
        assert end.state is State.STA3
        return
    (violation,) = events
    assert isinstance(violation, Violation)
    assert (violation.offset, violation.field) == (6, "Protocol-version")
    assert written(end) == encode(AssociateRj(1, 2, 2))
    assert (end.state, end.deadline) == (State.STA13, 33.0)


def test_tolerated_faults_come_before_the_indication_with_offsets_of_the_connection() -> None:
    uid = b"1.2.840.10008.1.2"
    padded = bytearray(ECHO_RQ)
    at = bytes(padded).rindex(uid, 0, 160)
    padded[at + len(uid) : at + len(uid)] = b"\0"
    padded[at - 1] += 1
    padded[at - 4 - 4 - 17 - 5] += 1
    padded[5] += 1
    end = in_state(State.STA2)
    violation, indication = end.receive(bytes(padded), 0.0)
    assert isinstance(violation, Violation)
    assert violation.offset == at
    assert "padded" in violation.message
    assert isinstance(indication, AssociateIndication)
    assert indication.request.presentation_contexts[0].transfer_syntaxes == (uid.decode(),)


# -- limits


@pytest.mark.parametrize("type", [1, 2, 3, 5, 6, 7])
def test_pdu_above_the_cap_is_refused_by_its_header(type: int) -> None:
    end = in_state(State.STA2)
    (violation,) = end.receive(bytes([type, 0]) + (1048577).to_bytes(4, "big"), 0.0)
    assert isinstance(violation, Violation)
    assert "PDU-length says 1048577 bytes, at most 1048576 are taken" in violation.message
    assert written(end) == encode(Abort(0, 0))


def test_pdu_above_the_cap_aborts_an_association_as_an_invalid_value() -> None:
    end = in_state(State.STA6)
    events = end.receive(bytes.fromhex("0500ffffffff"), 0.0)
    assert [type(event) for event in events] == [Violation, AbortIndication]
    assert written(end) == encode(Abort(2, 6))


def test_refused_pdu_is_skipped_by_its_length() -> None:
    end = in_state(State.STA6)
    end.receive(bytes.fromhex("4200 00000005 0101010101") + encode(DATA), 0.0)
    assert end.state is State.STA13
    assert end.receive(encode(Abort()), 0.0) == [TransportClose()]


def test_peer_that_goes_on_after_the_end_gets_one_answer_and_is_reported_once() -> None:
    end = in_state(State.STA13)
    events = end.receive(encode(REQUEST) * 1000, 0.0)
    assert written(end) == encode(Abort(2, 2)) * ABORT_ANSWERS
    assert [type(event) for event in events] == [Violation]


def test_what_follows_the_pdu_that_was_refused_is_not_reported_again() -> None:
    end = in_state(State.STA6)
    (refusal, _) = end.receive(bytes.fromhex("4200 00000000"), 0.0)
    assert isinstance(refusal, Violation)
    assert end.receive(bytes.fromhex("4300 00000000") * 1000 + encode(REQUEST), 0.0) == []
    assert written(end) == encode(Abort(2, 1)) * (1 + ABORT_ANSWERS)


def test_p_data_above_our_maximum_is_taken_and_reported_once() -> None:
    end = in_state(State.STA6, Role.ACCEPTOR)  # announced 32768
    fits = encode(PData((PresentationDataValue(1, 0, bytes(32768 - 6)),)))
    too_long = encode(PData((PresentationDataValue(1, 0, bytes(32768 - 5)),)))
    assert [type(event) for event in end.receive(fits, 0.0)] == [DataFragment]
    events = end.receive(too_long * 2, 0.0)
    assert [type(event) for event in events] == [Violation, DataFragment, DataFragment]
    violation = events[0]
    assert isinstance(violation, Violation)
    assert violation.offset == len(encode(REQUEST)) + len(fits) + 2
    assert "PDU-length says 32769 bytes, we announced at most 32768" in violation.message


def test_maximum_of_the_policy_counts_where_our_answer_names_none() -> None:
    end = in_state(State.STA3, policy=Policy(maximum_length=100))
    end.send(AssociateAc("A", "B", ACCEPTANCE.presentation_contexts, ()), 0.0)
    events = end.receive(encode(PData((PresentationDataValue(1, 0, bytes(95)),))), 0.0)
    assert [type(event) for event in events] == [Violation, DataFragment]


def test_p_data_without_a_value_is_taken_and_reported() -> None:
    end = in_state(State.STA6)
    events = end.receive(bytes.fromhex("040000000000") + encode(DATA), 0.0)
    assert [type(event) for event in events] == [Violation, DataFragment]


@pytest.mark.parametrize(
    ("pdu", "offset"),
    [
        ("04 00 00000006 00000001 01 00", 6),
        ("04 00 00000006 00000003 01 00", 6),
        ("04 00 00000006 ffffffff 01 00", 6),
        ("04 00 00000003 000000", 6),
        ("04 00 00000009 00000003 01 00 aa 0000", 13),
    ],
    ids=["no room for the header", "beyond the PDU", "4 GiB", "cut header", "rest too short"],
)
def test_value_whose_lengths_do_not_add_up_aborts_as_an_invalid_value(pdu: str, offset: int) -> None:
    data = bytes.fromhex(pdu)
    for cuts in ([], list(range(1, len(data)))):
        end = in_state(State.STA6)
        start = len(encode(REQUEST))
        events = [
            event
            for event in receive_cut(end, data + encode(DATA), [*cuts])
            if not isinstance(event, DataFragment)
        ]
        violation, abort = events
        assert isinstance(violation, Violation)
        assert (violation.offset, violation.section) == (start + offset, "PS3.8 Table 9-23")
        assert abort == AbortIndication(2, 6, True)
        assert written(end) == encode(Abort(2, 6))
        assert end.state is State.STA13


def test_foreign_bytes_are_answered_and_never_raise() -> None:
    end = in_state(State.STA2)
    (violation,) = end.receive(b"GET / HTTP/1.1\r\nHost: archive\r\n\r\n", 0.0)
    assert isinstance(violation, Violation)
    assert violation.message == "PDU byte 0: PDU-type 47H is unknown (PS3.8 9.3.1)"
    assert written(end) == encode(Abort(0, 0))
    assert end.state is State.STA13


# -- chunks


STREAM: list[Pdu] = [
    REQUEST,
    DATA,
    PData((PresentationDataValue(1, 0, bytes(50)), PresentationDataValue(3, 2, b""))),
    PData((PresentationDataValue(1, 2, b"\0\1"),)),
]


def all_events(cuts: list[int]) -> tuple[list[object], bytes]:
    end = UpperLayer(Role.ACCEPTOR)
    end.connected(0.0)
    first, rest = encode(STREAM[0]), b"".join(map(encode, [*STREAM[1:], ReleaseRq()]))
    events = receive_cut(end, first, [cut for cut in cuts if cut < len(first)])
    end.send(ACCEPTANCE, 0.0)
    events += receive_cut(end, rest, [cut - len(first) for cut in cuts if cut >= len(first)])
    return joined(events), written(end)


LENGTH = sum(len(encode(pdu)) for pdu in [*STREAM, ReleaseRq()])


@given(st.lists(st.integers(0, LENGTH), max_size=30).map(sorted))
@settings(max_examples=100, deadline=None)
def test_any_chunking_gives_the_same_events(cuts: list[int]) -> None:
    assert all_events(cuts) == all_events([])


@pytest.mark.parametrize("step", [1, 2, 3, 5, 6, 7, 11, 12, 13])
def test_equal_chunks_give_the_same_events(step: int) -> None:
    assert all_events(list(range(step, LENGTH, step))) == all_events([])


def test_stream_cut_at_every_byte_gives_the_same_events() -> None:
    whole = all_events([])
    assert [type(event) for event in whole[0]] == [AssociateIndication, *[tuple] * 4, ReleaseIndication]
    for cut in range(LENGTH + 1):
        assert all_events([cut]) == whole


@pytest.mark.parametrize(("data", "pdu"), VECTORS.values(), ids=VECTORS)
def test_vector_cut_at_every_byte_gives_nothing_before_its_last(data: bytes, pdu: Pdu) -> None:
    state = State.STA5 if isinstance(pdu, AssociateAc | AssociateRj) else State.STA6
    if isinstance(pdu, AssociateRq):
        state = State.STA2
    for cut in range(len(data)):
        end = in_state(state)
        early = end.receive(data[:cut], 0.0)
        assert all(isinstance(event, DataFragment) for event in early)
        assert end.state is state
        late = end.receive(data[cut:], 0.0)
        assert joined(early + late) == joined(in_state(state).receive(data, 0.0))


def test_large_value_passes_in_parts_that_are_views_of_what_was_given() -> None:
    end = in_state(State.STA6)
    head = bytes.fromhex("0400 0fffffff 0ffffffb 01 00")
    assert end.receive(head, 0.0)[1:] == []
    buffer = bytearray(b"x" * 1000)
    (fragment,) = end.receive(buffer, 0.0)
    assert isinstance(fragment, DataFragment)
    assert (fragment.end, len(fragment.data)) == (False, 1000)
    buffer[0] = ord("y")
    assert fragment.data[0] == ord("y")


def test_rest_of_a_value_is_dropped_once_we_aborted() -> None:
    end = in_state(State.STA6)
    data = encode(DATA)
    end.receive(data[:15], 0.0)
    end.send(Abort(), 0.0)
    assert end.receive(data[15:] + encode(DATA), 0.0) == []
    assert end.receive(encode(Abort()), 0.0) == [TransportClose()]


@given(
    st.sampled_from([State.STA2, State.STA3, State.STA5, State.STA6, State.STA7, State.STA10, State.STA13]),
    st.lists(
        st.one_of(
            pdus.map(encode),
            st.binary(max_size=30),
            st.builds(
                lambda type, length, body: bytes([type, 0]) + length.to_bytes(4, "big") + body,
                st.integers(0, 8),
                st.integers(0, 60),
                st.binary(max_size=60),
            ),
        ),
        max_size=6,
    ),
    st.integers(1, 40),
)
@settings(max_examples=200, deadline=None)
def test_any_bytes_in_any_state_never_raise(state: State, pieces: list[bytes], step: int) -> None:
    data = b"".join(pieces)
    whole, cut = in_state(state), in_state(state)
    events = joined(whole.receive(data, 0.0))
    assert joined(receive_cut(cut, data, list(range(step, len(data), step)))) == events
    assert written(cut) == written(whole)
    assert (cut.state, cut.deadline, cut.transport_close) == (
        whole.state,
        whole.deadline,
        whole.transport_close,
    )
    whole.closed(1.0)
    assert whole.state is State.STA1


# -- the trace


def test_trace_tells_each_step_with_its_pdu_and_offset() -> None:
    steps: list[TraceStep] = []
    end = in_state(State.STA8, Role.ACCEPTOR, trace=steps.append)
    end.send(ReleaseRp(), 4.0)
    end.closed(5.0)
    assert [(int(s.event), int(s.state), s.action.value, int(s.next)) for s in steps] == [
        (5, 1, "AE-5", 2),
        (6, 2, "AE-6", 3),
        (7, 3, "AE-7", 6),
        (12, 6, "AR-2", 8),
        (14, 8, "AR-4", 13),
        (17, 13, "AR-5", 1),
    ]
    assert [step.pdu for step in steps] == [None, REQUEST, ACCEPTANCE, ReleaseRq(), ReleaseRp(), None]
    assert steps[3].offset == len(encode(REQUEST)) + 10
    assert [step.now for step in steps[-2:]] == [4.0, 5.0]
