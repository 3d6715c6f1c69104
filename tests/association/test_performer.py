"""Requests of the peer: dispatch, windows, cancels, failures."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Coroutine, MutableMapping
from dataclasses import replace
from typing import Any

import pytest

from dicomwire.association.connection import READ_AHEAD
from dicomwire.association.options import Limits
from dicomwire.association.performer import Request, Sink
from dicomwire.association.requestor import connect
from dicomwire.dimse.command import (
    CCancelRq,
    CEchoRq,
    CEchoRsp,
    CFindRq,
    CFindRsp,
    CStoreRq,
    CStoreRsp,
    NGetRq,
    Response,
    UnrecognizedRq,
    UnrecognizedRsp,
)
from dicomwire.errors import AssociationError, LocalProtocolError
from dicomwire.uids import VERIFICATION
from dicomwire.upper_layer.items import AsynchronousOperationsWindow
from dicomwire.upper_layer.pdu import Abort, AssociateAc, PData, PresentationDataValue, ReleaseRp, ReleaseRq
from tests.association.support import (
    CONTEXTS,
    CT,
    CT_ID,
    ECHO_ID,
    FIND,
    FIND_ID,
    POLICY,
    SOON,
    Kept,
    KeptSink,
    Raw,
    echo,
    echo_rq,
    entity,
    listening,
    message,
    pdus,
    raw,
    store_rq,
)

Log = list[MutableMapping[str, Any]]
ASYNCHRONOUS = entity(
    policy=replace(POLICY, asynchronous_operations_window=AsynchronousOperationsWindow(2, 2))
)


async def status(peer: Raw) -> int:
    response = await peer.message()
    assert isinstance(response, Response)
    return response.status


STORE = pdus(CT_ID, CStoreRq(1, CT, "1.2.3"), bytes(100_000))


class Gate:
    """A service whose answers wait until they are let through."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.came = asyncio.Event()

    def __call__(self, request: Request) -> None:
        self.requests.append(request)
        self.came.set()

    async def wait(self, count: int) -> None:
        async with asyncio.timeout(SOON):
            while len(self.requests) < count:
                self.came.clear()
                await self.came.wait()

    def answer(self, index: int) -> None:
        request = self.requests[index]
        request.respond(CEchoRsp(request.command.message_id, 0))


@pytest.mark.parametrize("data", [None, b"a data set"])
async def test_unknown_command_field_is_answered_0211_and_the_association_goes_on(
    data: bytes | None, log: Log
) -> None:
    async with listening() as acceptor, raw(acceptor.port) as peer:
        await peer.associate()
        unknown = UnrecognizedRq(9, 0x0ABC, data_set=data is not None)
        peer.send(message(ECHO_ID, unknown, data), echo_rq(10))
        answer = await peer.command_set()
        assert bytes.fromhex("00000001 02000000 bc8a") in answer
        assert bytes.fromhex("00002001 02000000 0900") in answer
        assert bytes.fromhex("00000009 02000000 1102") in answer
        assert await status(peer) == 0
    assert "0ABCH" in next(event["reason"] for event in log if event["event"] == "request refused")


async def test_response_of_an_unknown_command_field_is_aborted(log: Log) -> None:
    async with listening() as acceptor, raw(acceptor.port) as peer:
        await peer.associate()
        peer.send(message(ECHO_ID, UnrecognizedRsp(9, 0, unrecognized_field=0x8ABC)))
        assert await peer.receive() == Abort(0, 0)
    assert "8ABCH is no message" in next(
        event["how"] for event in log if event["event"] == "association ended"
    )


async def test_command_without_a_service_is_answered_and_the_association_goes_on() -> None:
    async with listening() as acceptor, raw(acceptor.port) as peer:
        await peer.associate()
        peer.send(store_rq(bytes(100)))
        assert await status(peer) == 0x0122
        peer.send(message(ECHO_ID, NGetRq(2, VERIFICATION, "1.2.3")))
        assert await status(peer) == 0x0211
        peer.send(echo_rq(3))
        assert await status(peer) == 0


async def test_service_that_raises_is_0110_with_its_traceback_in_the_log(log: Log) -> None:
    def broken(request: Request) -> None:
        raise ZeroDivisionError("service")

    async def broken_later() -> None:
        raise ZeroDivisionError("task")

    def coroutine(request: Request) -> Coroutine[None, None, None]:
        return broken_later()

    for service in (broken, coroutine):
        async with listening({(VERIFICATION, CEchoRq): service}) as acceptor, raw(acceptor.port) as peer:
            await peer.associate()
            for message_id in (1, 2):
                peer.send(echo_rq(message_id))
                assert await status(peer) == 0x0110
    assert len([event for event in log if event["event"] == "service failed" and event["exc_info"]]) == 4


@pytest.mark.parametrize("where", ["write", "finish"])
async def test_sink_that_raises_is_0110_and_the_rest_of_its_data_set_is_read_past(where: str) -> None:
    class Broken(KeptSink):
        def write(self, data: memoryview) -> None:
            if where == "write":
                raise ValueError("write")

        def finish(self) -> None:
            raise ValueError("finish")

    kept = Kept()
    services = {("*", CStoreRq): lambda request: Broken(kept, request), (VERIFICATION, CEchoRq): echo}
    async with listening(services) as acceptor, raw(acceptor.port) as peer:
        await peer.associate()
        peer.send(store_rq(bytes(100_000)), echo_rq(2))
        assert await status(peer) == 0x0110
        assert await status(peer) == 0
    assert len(kept.aborted) == (where == "write")


async def test_service_without_a_final_answer_is_0110() -> None:
    async def silent() -> None:
        return

    async with listening({("*", CEchoRq): lambda request: silent()}) as acceptor, raw(acceptor.port) as peer:
        await peer.associate()
        peer.send(echo_rq())
        assert await status(peer) == 0x0110


async def test_second_final_answer_is_our_own_fault() -> None:
    caught = asyncio.get_running_loop().create_future()

    def twice(request: Request) -> None:
        echo(request)
        try:
            echo(request)
        except LocalProtocolError as error:
            caught.set_result(error)

    async with listening({("*", CEchoRq): twice}) as acceptor, raw(acceptor.port) as peer:
        await peer.associate()
        peer.send(echo_rq())
        assert await status(peer) == 0
        assert caught.done()


async def test_answer_given_on_the_command_is_sent_when_the_data_set_has_come() -> None:
    def refuse(request: Request) -> None:
        request.refuse(0xA700, "full")

    async with listening({("*", CStoreRq): refuse}) as acceptor, raw(acceptor.port) as peer:
        await peer.associate()
        whole = store_rq(bytes(100_000))
        peer.send(whole[:50_000])
        await peer.writer.drain()
        peer.send(whole[50_000:], ReleaseRq())
        assert await status(peer) == 0xA700
        assert isinstance(await peer.receive(), ReleaseRp)


async def test_data_set_comes_to_the_sink_whole_whatever_the_chunks() -> None:
    kept = Kept()
    data = bytes(range(251)) * 500
    async with listening({("*", CStoreRq): kept}) as acceptor:
        for chunk in (1000, 16_384, 1 << 20):
            async with raw(acceptor.port) as peer:
                await peer.associate()
                whole = store_rq(data)
                for start in range(0, len(whole), chunk):
                    peer.send(whole[start : start + chunk])
                    await peer.writer.drain()
                assert await status(peer) == 0
    assert kept.stored == [data] * 3


async def test_requests_beyond_the_window_wait_and_are_answered_in_order() -> None:
    gate = Gate()
    kept = Kept()
    async with (
        listening({("*", CEchoRq): gate, ("*", CStoreRq): kept}) as acceptor,
        raw(acceptor.port) as peer,
    ):
        await peer.associate()
        peer.send(echo_rq(1), store_rq(b"held until its turn!", 2), echo_rq(3))
        await gate.wait(1)
        assert not kept.stored
        gate.answer(0)
        assert (await peer.message()).message_id_being_responded_to == 1  # type: ignore[attr-defined]
        assert (await peer.message()).message_id_being_responded_to == 2  # type: ignore[attr-defined]
        await gate.wait(2)
        gate.answer(1)
        assert (await peer.message()).message_id_being_responded_to == 3  # type: ignore[attr-defined]
        assert kept.stored == [b"held until its turn!"]


async def test_hundreds_of_requests_at_once_are_answered_in_order_with_little_held() -> None:
    gate = Gate()
    limits = Limits(held_bytes=10_000)
    kept = Kept()
    services = {("*", CEchoRq): gate, ("*", CStoreRq): kept}
    async with listening(services, limits=limits) as acceptor, raw(acceptor.port) as peer:
        await peer.associate()
        peer.send(echo_rq(1))
        for message_id in range(2, 500):
            peer.send(store_rq(bytes(5_000), message_id))
        await gate.wait(1)
        gate.answer(0)
        for message_id in range(1, 500):
            assert (await peer.message()).message_id_being_responded_to == message_id  # type: ignore[attr-defined]
    assert len(kept.stored) == 498


async def test_requests_within_an_asynchronous_window_run_at_once_and_are_answered_as_they_end() -> None:
    gate = Gate()
    async with (
        listening({("*", CEchoRq): gate}, entities=[ASYNCHRONOUS]) as acceptor,
        raw(acceptor.port) as peer,
    ):
        answer = await peer.associate(AsynchronousOperationsWindow(5, 5))
        assert isinstance(answer, AssociateAc)
        assert AsynchronousOperationsWindow(2, 2) in answer.user_information
        peer.send(echo_rq(1), echo_rq(2), echo_rq(3))
        await gate.wait(2)
        assert len(gate.requests) == 2
        gate.answer(1)
        assert (await peer.message()).message_id_being_responded_to == 2  # type: ignore[attr-defined]
        await gate.wait(3)
        gate.answer(2)
        assert (await peer.message()).message_id_being_responded_to == 3  # type: ignore[attr-defined]
        gate.answer(0)
        assert (await peer.message()).message_id_being_responded_to == 1  # type: ignore[attr-defined]


class Find:
    """A C-FIND that answers pendings until it is cancelled."""

    def __init__(self, request: Request) -> None:
        self.request = request

    def write(self, data: memoryview) -> None:
        assert data == b"identifier"

    def finish(self) -> Coroutine[None, None, None]:
        return self.answer()

    def abort(self, reason: str) -> None:
        raise AssertionError(reason)

    async def answer(self) -> None:
        message_id = self.request.command.message_id
        while not self.request.cancelled:
            await self.request.send(CFindRsp(message_id, 0xFF00), [b"match of some length"])
        await self.request.send(CFindRsp(message_id, 0xFE00), final=True)


async def test_cancel_is_seen_while_the_operation_is_busy() -> None:
    async with listening({(FIND, CFindRq): Find}) as acceptor, raw(acceptor.port) as peer:
        await peer.associate()
        peer.send(message(FIND_ID, CFindRq(7, FIND), b"identifier"))
        assert isinstance(await peer.receive(), PData)
        peer.send(message(FIND_ID, CCancelRq(7)))
        async with asyncio.timeout(SOON):
            while True:
                pdu = await peer.receive()
                assert isinstance(pdu, PData)
                if b"\x00\xfe" in bytes(pdu.values[0].data):
                    break


class FindAll:
    """A C-FIND that gives all its answers at once."""

    def __init__(self, request: Request) -> None:
        self.request = request

    def write(self, data: memoryview) -> None:
        pass

    async def finish(self) -> None:
        pending = CFindRsp(7, 0xFF00, data_set=True)
        await self.request.send_all([(pending, [bytes([number]) * 2]) for number in range(3)])
        await self.request.send_all([(pending, [b"\3\3"])], CFindRsp(7, 0x0000))
        assert self.request.answered

    def abort(self, reason: str) -> None:
        pass


async def test_several_answers_at_once_come_in_their_order() -> None:
    async with listening({(FIND, CFindRq): FindAll}) as acceptor, raw(acceptor.port) as peer:
        await peer.associate()
        peer.send(message(FIND_ID, CFindRq(7, FIND), b"identifier"))
        values = []
        async with asyncio.timeout(SOON):
            while len(values) < 9:
                pdu = await peer.receive()
                assert isinstance(pdu, PData)
                values += [bytes(value.data) for value in pdu.values]
        assert values[1:8:2] == [b"\0\0", b"\1\1", b"\2\2", b"\3\3"]
        assert len(set(values[0:7:2])) == 1
        assert b"\x00\x09\x02\x00\x00\x00\x00\x00" in values[8]


async def test_cancel_is_seen_while_reading_is_paused() -> None:
    gate = Gate()
    async with (
        listening({("*", CEchoRq): gate}, entities=[ASYNCHRONOUS]) as acceptor,
        raw(acceptor.port) as peer,
    ):
        await peer.associate(AsynchronousOperationsWindow(2, 2))
        peer.send(echo_rq(1))
        await gate.wait(1)
        gate.requests[0].association.pause()
        peer.send(message(ECHO_ID, CCancelRq(1)), echo_rq(2))
        await gate.wait(2)
        assert [request.cancelled for request in gate.requests] == [True, False]
        gate.requests[0].association.resume()
        gate.answer(0)
        gate.answer(1)
        assert [await status(peer), await status(peer)] == [0, 0]


async def test_abort_is_seen_while_reading_is_paused(log: Log) -> None:
    gate = Gate()
    async with listening({("*", CEchoRq): gate}) as acceptor, raw(acceptor.port) as peer:
        await peer.associate()
        peer.send(echo_rq(1))
        await gate.wait(1)
        association = gate.requests[0].association
        association.pause()
        peer.send(Abort())
        async with asyncio.timeout(SOON):
            await association.wait_closed()
    assert "A-ABORT received" in next(event["how"] for event in log if event["event"] == "association ended")


async def test_cancel_of_another_message_does_nothing() -> None:
    gate = Gate()
    async with listening({("*", CEchoRq): gate}) as acceptor, raw(acceptor.port) as peer:
        await peer.associate()
        peer.send(echo_rq(1), message(ECHO_ID, CCancelRq(9)), echo_rq(2), message(ECHO_ID, CCancelRq(2)))
        await gate.wait(1)
        gate.answer(0)
        await gate.wait(2)
        gate.answer(1)
        assert [request.cancelled for request in gate.requests] == [False, True]


async def test_stream_of_answers_ends_when_the_peer_is_gone() -> None:
    ended = asyncio.get_running_loop().create_future()

    class Endless(Find):
        async def answer(self) -> None:
            try:
                while True:
                    await self.request.send(CFindRsp(1, 0xFF00), [bytes(1000)])
            except (AssociationError, asyncio.CancelledError) as error:
                ended.set_result(error)
                raise

    async with listening({(FIND, CFindRq): Endless}) as acceptor:
        async with raw(acceptor.port) as peer:
            await peer.associate()
            peer.send(message(FIND_ID, CFindRq(1, FIND), b"identifier"))
            await peer.receive()
        async with asyncio.timeout(SOON):
            await ended


async def test_stream_of_answers_waits_for_a_peer_that_does_not_read() -> None:
    sent = 0
    stuck = asyncio.Event()

    class Endless(Find):
        async def answer(self) -> None:
            nonlocal sent
            loop = asyncio.get_running_loop()
            while True:
                handle = loop.call_later(0.2, stuck.set)
                await self.request.send(CFindRsp(1, 0xFF00), [bytes(100_000)])
                handle.cancel()
                sent += 1

    async with listening({(FIND, CFindRq): Endless}) as acceptor, raw(acceptor.port) as peer:
        await peer.associate()
        peer.send(message(FIND_ID, CFindRq(1, FIND), b"identifier"))
        async with asyncio.timeout(SOON):
            await stuck.wait()
        assert sent < 300


async def test_message_in_a_context_that_was_not_accepted_is_aborted_and_named(log: Log) -> None:
    async with listening() as acceptor, raw(acceptor.port) as peer:
        await peer.associate()
        peer.send(message(99, CEchoRq(1, VERIFICATION)))
        assert await peer.receive() == Abort(0, 0)
    assert any("presentation context 99" in event.get("how", "") for event in log)


async def test_interleaved_messages_are_aborted() -> None:
    kept = Kept()
    async with listening({("*", CStoreRq): kept}) as acceptor, raw(acceptor.port) as peer:
        await peer.associate()
        peer.send(*STORE[:3], PData((PresentationDataValue(FIND_ID, 0, b"xx"),)))
        assert await peer.receive() == Abort(0, 0)
        assert len(kept.aborted) == 1


async def test_association_that_ends_within_a_data_set_aborts_its_sink() -> None:
    kept = Kept()
    async with listening({("*", CStoreRq): kept}) as acceptor:
        async with raw(acceptor.port) as peer:
            await peer.associate()
            peer.send(*STORE[:3], Abort(0, 0))
            assert await peer.closed() == b""
        assert len(kept.aborted) == 1
        assert not kept.stored


async def test_work_that_never_began_is_closed_when_the_association_ends() -> None:
    made: list[Coroutine[None, None, None]] = []

    async def work() -> None:
        raise AssertionError("it begins")

    def service(request: Request) -> Coroutine[None, None, None]:
        made.append(work())
        return made[0]

    async with listening({("*", CEchoRq): service}) as acceptor:
        async with raw(acceptor.port) as peer:
            await peer.associate()
            peer.send(echo_rq(1), Abort(0, 0))
            assert await peer.closed() == b""
        assert inspect.getcoroutinestate(made[0]) == inspect.CORO_CLOSED


async def test_release_while_an_operation_is_performed_is_answered_behind_it() -> None:
    gate = Gate()
    async with listening({("*", CEchoRq): gate}) as acceptor, raw(acceptor.port) as peer:
        await peer.associate()
        peer.send(echo_rq(1), ReleaseRq())
        await gate.wait(1)
        gate.answer(0)
        assert await status(peer) == 0
        assert isinstance(await peer.receive(), ReleaseRp)


async def test_sink_that_pauses_the_association_stops_the_peer() -> None:
    released = asyncio.Event()
    paused = asyncio.Event()
    written = 0

    class Slow(KeptSink):
        def write(self, data: memoryview) -> None:
            nonlocal written
            written += len(data)
            if not paused.is_set():
                paused.set()
                self.request.association.pause()
                self.task = asyncio.get_running_loop().create_task(self.wait())

        async def wait(self) -> None:
            await released.wait()
            self.request.association.resume()

        def finish(self) -> None:
            self.request.respond(CStoreRsp(self.request.command.message_id, 0))

    size = 50_000_000
    services = {("*", CStoreRq): lambda request: Slow(Kept(), request)}
    async with (
        listening(services) as acceptor,
        connect("127.0.0.1", acceptor.port, called_ae_title="A", contexts=CONTEXTS) as association,
    ):
        storing = asyncio.create_task(
            association.request(CT_ID, CStoreRq(0, CT, "1.2.3"), [bytes(1_000_000)] * (size // 1_000_000))
        )
        await paused.wait()
        before = written
        for _ in range(1000):
            await asyncio.sleep(0)
        assert written <= before + READ_AHEAD < 1_000_000
        released.set()
        assert (await storing).status == 0
        assert written == size


def test_sink_is_what_services_return() -> None:
    sink: type[Sink] = KeptSink
    assert sink is KeptSink
