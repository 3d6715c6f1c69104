from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomwire.association.acceptor import Acceptor
from dicomwire.association.flight import FIRST, LAST, FlightRecorder, Recording
from dicomwire.association.identity import username_and_passcode
from dicomwire.association.options import AcceptorOptions, Check, ProxyProtocol, RequestorOptions
from dicomwire.association.requestor import connect
from dicomwire.diagnose.explain import explain
from dicomwire.diagnose.finding import Outcome, Story
from dicomwire.dimse.codec import encode as encode_command
from dicomwire.dimse.command import CEchoRq, CStoreRq
from dicomwire.errors import Rejected
from dicomwire.uids import VERIFICATION
from dicomwire.upper_layer.codec import encode
from dicomwire.upper_layer.items import ProposedContext
from dicomwire.upper_layer.pdu import AssociateRq, PData, PresentationDataValue
from tests.association.support import CONTEXTS, CT, CT_ID, ECHO_ID, Kept, echo, entity

SECRET = b"PATIENT^NAME" * 50


def story(recording: Recording) -> Story:
    explanation = explain("flight", [recording.trace()])
    assert explanation.error is None
    return explanation.stories[0]


def only(flight: FlightRecorder) -> Recording:
    (recording,) = flight
    return recording


async def acceptor(flight: FlightRecorder, **options: object) -> Acceptor:
    services = {(VERIFICATION, CEchoRq): echo, (CT, CStoreRq): Kept()}
    given = AcceptorOptions((entity("NODE"),), port=0, **options)  # type: ignore[arg-type]
    started = Acceptor(given, services, flight=flight)
    await started.start()
    return started


async def test_association_is_kept_with_its_commands_and_without_its_data() -> None:
    flight = FlightRecorder(10)
    door = await acceptor(flight)
    try:
        async with connect("127.0.0.1", door.port, called_ae_title="NODE", contexts=CONTEXTS) as association:
            await association.request(ECHO_ID, CEchoRq(0, VERIFICATION))
            await association.request(CT_ID, CStoreRq(0, CT, "1.2.3"), (SECRET,))
    finally:
        await door.stop()
    recording = only(flight)
    told = story(recording)
    assert told.outcome is Outcome.OK
    names = [event.name for event in told.events]
    assert [name for name in names if name.startswith(("C-", "A-"))] == [
        "A-ASSOCIATE-RQ",
        "A-ASSOCIATE-AC",
        "C-ECHO-RQ",
        "C-ECHO-RSP",
        "C-STORE-RQ",
        "C-STORE data set",
        "C-STORE-RSP",
        "A-RELEASE-RQ",
        "A-RELEASE-RP",
    ]
    assert b"PATIENT" not in recording.trace()
    assert recording.state == "ended"
    assert recording.reason == "the peer has released the association"
    assert recording.performed == {"C-ECHO": 1, "C-STORE": 1}


async def test_rejection_has_the_true_reason_which_the_peer_is_not_told() -> None:
    flight = FlightRecorder(10)
    door = await acceptor(flight, called=Check.LIST)
    try:
        with pytest.raises(Rejected):
            async with connect("127.0.0.1", door.port, called_ae_title="node", contexts=CONTEXTS):
                pass
    finally:
        await door.stop()
    recording = only(flight)
    assert recording.state == "rejected"
    assert "differs only in case" in recording.reason
    assert "(1/1/7)" in recording.answer
    told = story(recording)
    assert told.verdict is not None
    assert told.verdict.code == "reject-called-ae-title"
    assert any("differs only in case" in event.detail for event in told.events)


async def test_credentials_are_masked() -> None:
    flight = FlightRecorder(10)
    door = await acceptor(flight)
    options = RequestorOptions(identity=username_and_passcode("someone", "hunter2"))
    try:
        async with connect(
            "127.0.0.1", door.port, called_ae_title="NODE", contexts=CONTEXTS, options=options
        ):
            pass
    finally:
        await door.stop()
    trace = only(flight).trace()
    assert b"hunter2" not in trace
    assert b"someone" not in trace
    assert b"*******" in trace
    assert story(only(flight)).outcome is Outcome.OK


async def test_connection_without_a_word_is_not_kept() -> None:
    flight = FlightRecorder(10)
    door = await acceptor(flight)
    try:
        for _ in range(3):
            _, writer = await asyncio.open_connection("127.0.0.1", door.port)
            writer.close()
            await writer.wait_closed()
    finally:
        await door.stop()
    assert list(flight) == []
    assert flight.size == 0


def store(number: int, length: int) -> bytes:
    command = encode_command(CStoreRq(number, CT, f"1.2.{number}"))
    pieces = [PresentationDataValue(3, 3, command)]
    data = bytes(length)
    sent = encode(PData(tuple(pieces)))
    for start in range(0, length, 1_000):
        last = 2 if start + 1_000 >= length else 0
        sent += encode(PData((PresentationDataValue(3, last, data[start : start + 1_000]),)))
    return sent


def fresh() -> Recording:
    recording = FlightRecorder(1).begin("1")
    recording.opened(("192.0.2.1", 40_000), ("192.0.2.2", 104))
    return recording


@given(st.lists(st.integers(1, 3_000), min_size=1, max_size=30), st.integers(1, 5_000))
def test_any_chunks_keep_all_commands_and_no_data(chunks: list[int], length: int) -> None:
    stream = memoryview(store(1, length) + store(2, 10))
    recording, start = fresh(), 0
    for size in (*chunks, len(stream)):
        if start < len(stream):
            recording.received(stream[start : start + size])
            start += size
    told = story(recording)
    assert [event.name for event in told.events if event.name == "C-STORE-RQ"] == ["C-STORE-RQ"] * 2
    assert recording.size < 20_000


def test_command_and_data_in_one_pdu_are_told_apart() -> None:
    command = encode_command(CStoreRq(1, CT, "1.2.3"))
    values = (PresentationDataValue(3, 3, command), PresentationDataValue(3, 2, SECRET))
    recording = fresh()
    recording.received(memoryview(encode(PData(values)) + store(2, 10)))
    assert b"PATIENT" not in recording.trace()
    names = [event.name for event in story(recording).events]
    assert names.count("C-STORE-RQ") == 2


def test_long_association_keeps_its_beginning_and_its_end() -> None:
    recording = fresh()
    for number in range(1, 1_001):
        recording.received(memoryview(store(number, 100)))
        recording.sent([encode(PData((PresentationDataValue(3, 3, bytes(20)),)))])
    assert recording.size < (FIRST + LAST) * 500
    assert recording.omitted > 0
    trace = recording.trace()
    assert b"1.2.1\0" in trace
    assert b"1.2.1000" in trace
    assert b"1.2.500\0" not in trace


def test_memory_of_all_is_bounded_and_the_oldest_give_way() -> None:
    flight = FlightRecorder(50, size=200_000)
    for number in range(200):
        recording = flight.begin(str(number))
        for _ in range(20):
            recording.received(memoryview(store(1, 1_000)))
            recording.sent([bytes(10)])
        recording.closed(by_peer=True, error=None)
    kept = [one.id for one in flight]
    assert kept[0] == "199"
    assert len(kept) <= 50
    assert flight.size <= 200_000
    assert flight.size == sum(one.size for one in flight)


def test_bytes_that_are_no_dicom_do_no_harm() -> None:
    recording = fresh()
    for data in (b"\xff" * 1_000, b"\x04\0\0\0\0\x01", bytes(50), b"\x04\0\xff\xff\xff\xff" * 20):
        recording.received(memoryview(data))
    assert recording.trace()


@pytest.mark.parametrize("size", [1, 5, 6, 7, 50, 200, 10_000])
def test_credentials_are_masked_however_the_request_is_cut(size: int) -> None:
    identity = username_and_passcode("someone", "hunter2")
    request = AssociateRq(
        "NODE", "ME", (ProposedContext(1, VERIFICATION, ("1.2.840.10008.1.2",)),), (identity,)
    )
    stream, recording = memoryview(encode(request)), fresh()
    for start in range(0, len(stream), size):
        recording.received(stream[start : start + size])
    assert b"someone" not in recording.trace()
    assert b"hunter" not in recording.trace()
    assert story(recording).requestor.ae_title == "ME"


def test_credentials_of_a_request_that_never_becomes_whole_are_left_out() -> None:
    recording = fresh()
    recording.received(memoryview(b"\x01\0\0\0\x02\0" + b"hunter2" * 20))
    assert b"hunter2" not in recording.trace()


async def test_client_behind_a_load_balancer_is_named_by_its_own_address() -> None:
    flight = FlightRecorder(10)
    door = await acceptor(flight, proxy_protocol=ProxyProtocol.REQUIRED, called=Check.LIST)
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        context = ProposedContext(1, VERIFICATION, ("1.2.840.10008.1.2",))
        writer.write(b"PROXY TCP4 192.0.2.9 192.0.2.1 5000 104\r\n")
        writer.write(encode(AssociateRq("WRONG", "ME", (context,), ())))
        assert (await reader.read(1)) == b"\x03"
        writer.close()
        await writer.wait_closed()
    finally:
        await door.stop()
    assert only(flight).client == ("192.0.2.9", 5000)
    assert story(only(flight)).requestor.address == "192.0.2.9"


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=80)), max_size=30))
def test_any_bytes_are_recorded_and_read_again(parts: list[tuple[bool, bytes]]) -> None:
    recording = fresh()
    for ours, data in parts:
        if ours:
            recording.sent([data])
        else:
            recording.received(memoryview(data))
    explanation = explain("flight", [recording.trace()])
    assert explanation.error is None
    assert sum(recording.bytes.values()) == sum(len(data) for _, data in parts)
