"""The calling side: how an association fails to be, how requests are answered, how it ends."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from dicomwire.association import identity
from dicomwire.association.invoker import Prepared
from dicomwire.association.options import Limits, RequestorOptions, Timeouts
from dicomwire.association.performer import Request
from dicomwire.association.requestor import Context, connect, plan, request_association
from dicomwire.dimse.command import (
    CCancelRq,
    CEchoRq,
    CEchoRsp,
    CFindRq,
    CFindRsp,
    CGetRq,
    CGetRsp,
    CStoreRq,
    CStoreRsp,
)
from dicomwire.errors import (
    Aborted,
    AssociationEnded,
    AssociationTimeout,
    ConnectionFailed,
    ConnectionLost,
    ConnectionRefused,
    LocalProtocolError,
    NoAcceptedContext,
    Rejected,
)
from dicomwire.uids import IMPLICIT_VR_LITTLE_ENDIAN, VERIFICATION
from dicomwire.upper_layer import codec
from dicomwire.upper_layer.items import (
    AsynchronousOperationsWindow,
    ContextResult,
    MaximumLength,
    RoleSelection,
    UserIdentityRq,
)
from dicomwire.upper_layer.negotiation import RolePolicy
from dicomwire.upper_layer.pdu import (
    Abort,
    AssociateAc,
    AssociateRj,
    AssociateRq,
    PData,
    Pdu,
    ReleaseRp,
    ReleaseRq,
)
from tests.association.support import (
    CONTEXTS,
    CT,
    CT_ID,
    ECHO_ID,
    FIND,
    FIND_ID,
    POLICY,
    SOON,
    Raw,
    echo,
    entity,
    listening,
    message,
)

Log = list[MutableMapping[str, Any]]
Behaviour = Callable[[Raw], Coroutine[None, None, None]]
QUICK = RequestorOptions(timeouts=Timeouts(artim=0.1, dimse=0.1, release=0.1, linger=0.1))


@asynccontextmanager
async def scripted(behaviour: Behaviour) -> AsyncIterator[int]:
    """A peer that behaves as told; its port."""
    done: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        done.append(task)
        await behaviour(Raw(reader, writer))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
        async with asyncio.timeout(SOON):
            await asyncio.gather(*done)
    finally:
        server.close()
        for task in done:
            task.cancel()


def answering(*answers: Pdu) -> Behaviour:
    """Answers the A-ASSOCIATE-RQ so and reads on until the peer closes."""

    async def behave(peer: Raw) -> None:
        await peer.receive()
        peer.send(*answers)
        await peer.closed()

    return behave


def associate_ac(*results: int) -> AssociateAc:
    contexts = tuple(
        ContextResult(2 * index + 1, result, IMPLICIT_VR_LITTLE_ENDIAN)
        for index, result in enumerate(results)
    )
    return AssociateAc("A", "DICOMWIRE", contexts, (MaximumLength(16384),))


def calling(port: int, options: RequestorOptions = QUICK) -> Any:
    return connect("127.0.0.1", port, called_ae_title="A", contexts=CONTEXTS, options=options)


# No association


async def test_port_where_nobody_listens_refuses() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefused, match="nobody listens"):
            async with calling(free.getsockname()[1]):
                pass


async def test_host_name_that_is_none_fails() -> None:
    with pytest.raises(ConnectionFailed, match="resolved"):
        async with connect("no.such.host.invalid", 104, called_ae_title="A", contexts=CONTEXTS):
            pass


async def test_rejection_has_the_numbers_and_the_words() -> None:
    async with scripted(answering(AssociateRj(2, 3, 1))) as port:
        with pytest.raises(Rejected, match="temporary congestion") as rejected:
            async with calling(port):
                pass
    assert (rejected.value.result, rejected.value.source, rejected.value.reason) == (2, 3, 1)


async def test_no_accepted_context_has_the_reason_of_each() -> None:
    async with scripted(answering(associate_ac(3, 4, 1))) as port:
        with pytest.raises(NoAcceptedContext) as none:
            async with calling(port):
                pass
    assert len(none.value.reasons) == 3
    assert "result 3" in none.value.reasons[0]


async def test_refused_contexts_beside_accepted_ones_are_told() -> None:
    policy = replace(POLICY, refused={CT: "not today"})
    async with (
        listening(entities=[entity(policy=policy)]) as acceptor,
        calling(acceptor.port) as association,
    ):
        assert [*association.contexts] == [ECHO_ID, FIND_ID]
        assert len(association.agreement.refused) == 1
        with pytest.raises(LocalProtocolError, match="not accepted"):
            await association.request(CT_ID, CStoreRq(0, CT, "1.2.3"), [b"xx"])


async def test_peer_that_does_not_answer_is_given_up_and_told_so(log: Log) -> None:
    told = asyncio.get_running_loop().create_future()

    async def silent(peer: Raw) -> None:
        await peer.receive()
        told.set_result(await peer.receive())

    async with scripted(silent) as port:
        with pytest.raises(AssociationTimeout, match="A-ASSOCIATE-AC"):
            async with calling(port):
                pass
        assert isinstance(await told, Abort)
    (failed,) = (event for event in log if event["event"] == "association failed")
    assert "no A-ASSOCIATE-AC" in failed["reason"]


async def test_peer_that_aborts_or_closes_instead_of_an_answer() -> None:
    async with scripted(answering(Abort(2, 1))) as port:
        with pytest.raises(Aborted, match="unrecognized PDU") as aborted:
            async with calling(port):
                pass
        assert (aborted.value.source, aborted.value.reason) == (2, 1)

    async def close(peer: Raw) -> None:
        await peer.receive()

    async with scripted(close) as port:
        with pytest.raises(ConnectionLost):
            async with calling(port):
                pass


async def test_peer_that_is_no_dicom_peer_is_aborted_with_what_it_did_wrong() -> None:
    async def http(peer: Raw) -> None:
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.closed()

    async with scripted(http) as port:
        with pytest.raises(Aborted, match="48H"):
            async with calling(port):
                pass


def test_more_contexts_than_fit_are_spread_over_associations() -> None:
    contexts = [Context(f"1.2.{index}", (IMPLICIT_VR_LITTLE_ENDIAN,)) for index in range(300)]
    parts = plan(contexts)
    assert [len(part) for part in parts] == [128, 128, 44]
    assert [context for part in parts for context in part] == contexts


@pytest.mark.parametrize("count", [0, 129])
async def test_impossible_number_of_contexts_is_our_own_fault(count: int) -> None:
    with pytest.raises(LocalProtocolError, match="128"):
        await request_association("127.0.0.1", 1, called_ae_title="A", contexts=[CONTEXTS[0]] * count)


# Proposals


async def test_window_roles_and_identity_are_proposed_only_where_asked_for() -> None:
    seen: list[AssociateRq] = []

    async def note(peer: Raw) -> None:
        request = await peer.receive()
        assert isinstance(request, AssociateRq)
        seen.append(request)
        peer.send(AssociateRj(1, 1, 7))
        await peer.closed()

    full = RequestorOptions(
        window=(4, 5),
        roles=(RoleSelection(CT, False, True),),
        identity=identity.jwt("a.b.c", positive_response=True),
        maximum_length=0,
    )
    for options in (RequestorOptions(), full):
        async with scripted(note) as port:
            with pytest.raises(Rejected):
                async with calling(port, options):
                    pass
    plain, rich = (request.user_information for request in seen)
    assert not any(
        isinstance(item, AsynchronousOperationsWindow | RoleSelection | UserIdentityRq) for item in plain
    )
    assert AsynchronousOperationsWindow(4, 5) in rich
    assert RoleSelection(CT, False, True) in rich
    assert UserIdentityRq(5, True, b"a.b.c") in rich
    assert MaximumLength(0) in rich


def test_identities_are_those_of_the_standards_types() -> None:
    assert identity.username("ann") == UserIdentityRq(1, False, b"ann")
    assert identity.username_and_passcode("ann", "p") == UserIdentityRq(2, False, b"ann", b"p")
    assert identity.kerberos(b"ticket") == UserIdentityRq(3, False, b"ticket")
    assert identity.saml("<a/>") == UserIdentityRq(4, False, b"<a/>")


# Requests


async def test_requests_wait_for_one_another_without_a_window_and_not_with_one() -> None:
    policy = replace(POLICY, asynchronous_operations_window=AsynchronousOperationsWindow(0, 0))
    for options, at_once in ((QUICK, 1), (replace(QUICK, window=(3, 1)), 3)):
        waiting: list[Request] = []
        came = asyncio.Event()

        def keep(request: Request, waiting: list[Request] = waiting, came: asyncio.Event = came) -> None:
            waiting.append(request)
            came.set()

        options = replace(options, timeouts=Timeouts())
        async with (
            listening({("*", CEchoRq): keep}, entities=[entity(policy=policy)]) as acceptor,
            calling(acceptor.port, options) as association,
        ):
            echoes = [
                asyncio.create_task(association.request(ECHO_ID, CEchoRq(0, VERIFICATION))) for _ in range(5)
            ]
            for _ in range(5):
                async with asyncio.timeout(SOON):
                    while not waiting:
                        came.clear()
                        await came.wait()
                assert len({request.command.message_id for request in waiting}) == len(waiting) <= at_once
                echo(waiting.pop())
            assert [response.status for response in await asyncio.gather(*echoes)] == [0] * 5


async def test_a_request_given_up_or_unwanted_in_its_turn_is_not_sent_and_the_next_goes_out() -> None:
    came: asyncio.Queue[Request] = asyncio.Queue()

    def unwanted() -> Prepared:
        raise LocalProtocolError("not wanted any more")

    async with (
        listening({("*", CEchoRq): came.put_nowait}) as acceptor,
        calling(acceptor.port, replace(QUICK, timeouts=Timeouts())) as association,
    ):
        ready = association.prepare(ECHO_ID, CEchoRq(9, VERIFICATION))
        first, given_up = (
            asyncio.create_task(association.request(ECHO_ID, CEchoRq(number, VERIFICATION)))
            for number in (7, 8)
        )
        refused = asyncio.create_task(association.invoke(unwanted))
        last = asyncio.create_task(association.invoke(lambda: ready))
        async with asyncio.timeout(SOON):
            one = await came.get()
            given_up.cancel()
            echo(one)
            with pytest.raises(LocalProtocolError, match="not wanted"):
                await refused
            other = await came.get()
            echo(other)
            assert [(await task).status for task in (first, last)] == [0, 0]
        assert [request.command.message_id for request in (one, other)] == [7, 9]
        assert given_up.cancelled()
        assert association.invoked == {"C-ECHO": 2}


async def test_requests_that_wait_for_their_turn_end_with_the_association() -> None:
    waiting: list[Request] = []
    async with (
        listening({("*", CEchoRq): waiting.append}) as acceptor,
        calling(acceptor.port) as association,
    ):
        tasks = [
            asyncio.create_task(association.request(ECHO_ID, CEchoRq(0, VERIFICATION))) for _ in range(3)
        ]
        await asyncio.sleep(0)
        association.abort(why="the test")
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(error) for error in ended] == [Aborted] * 3


async def test_message_id_in_use_is_our_own_fault() -> None:
    policy = replace(POLICY, asynchronous_operations_window=AsynchronousOperationsWindow(0, 0))
    waiting: list[Request] = []
    options = RequestorOptions(window=(2, 2))
    async with (
        listening({("*", CEchoRq): waiting.append}, entities=[entity(policy=policy)]) as acceptor,
        calling(acceptor.port, options) as association,
    ):
        first = asyncio.create_task(association.request(ECHO_ID, CEchoRq(7, VERIFICATION)))
        await asyncio.sleep(0)
        with pytest.raises(LocalProtocolError, match="message ID 7"):
            await association.request(ECHO_ID, CEchoRq(7, VERIFICATION))
        association.abort()
        with pytest.raises(Aborted):
            await first


async def test_each_answer_is_yielded_with_its_data_set_and_the_final_one_last() -> None:
    async def find(request: Request) -> None:
        for index in range(200):
            await request.send(CFindRsp(request.command.message_id, 0xFF00), [b"match %d" % index])
        request.respond(CFindRsp(request.command.message_id, 0))

    async with listening({(FIND, CFindRq): find}) as acceptor, calling(acceptor.port) as association:
        responses = [
            response async for response in association.requests(FIND_ID, CFindRq(0, FIND), [b"identifier"])
        ]
    assert [response.data for response in responses[:-1]] == [b"match %d" % index for index in range(200)]
    assert responses[-1].status == 0
    assert responses[-1].data is None


async def test_answers_that_nobody_takes_stop_the_peer() -> None:
    sent = 0

    async def find(request: Request) -> None:
        nonlocal sent
        for _ in range(2000):
            await request.send(CFindRsp(request.command.message_id, 0xFF00), [bytes(10_000)])
            sent += 1
        request.respond(CFindRsp(request.command.message_id, 0))

    async with listening({(FIND, CFindRq): find}) as acceptor, calling(acceptor.port) as association:
        count = 0
        async for _ in association.requests(FIND_ID, CFindRq(0, FIND), [b"identifier"]):
            count += 1
            if count == 1:
                for _ in range(500):
                    await asyncio.sleep(0)
                assert sent < 2000
        assert count == 2001


async def test_leaving_the_answers_early_cancels_and_the_association_stays_usable() -> None:
    cancelled = asyncio.Event()

    async def find(request: Request) -> None:
        while not request.cancelled:
            await request.send(CFindRsp(request.command.message_id, 0xFF00), [b"match"])
        cancelled.set()
        request.respond(CFindRsp(request.command.message_id, 0xFE00))

    services = {(FIND, CFindRq): find, (VERIFICATION, CEchoRq): echo}
    async with listening(services) as acceptor, calling(acceptor.port) as association:
        responses = association.requests(FIND_ID, CFindRq(0, FIND), [b"identifier"])
        async for _ in responses:
            break
        await responses.aclose()
        async with asyncio.timeout(SOON):
            await cancelled.wait()
        assert (await association.request(ECHO_ID, CEchoRq(0, VERIFICATION))).status == 0


async def test_cancel_by_message_id() -> None:
    async def find(request: Request) -> None:
        while not request.cancelled:
            await request.send(CFindRsp(request.command.message_id, 0xFF00), [b"match"])
        request.respond(CFindRsp(request.command.message_id, 0xFE00))

    async with listening({(FIND, CFindRq): find}) as acceptor, calling(acceptor.port) as association:
        message_id = association.next_message_id()
        responses = []
        async for response in association.requests(FIND_ID, CFindRq(message_id, FIND), [b"identifier"]):
            association.cancel(message_id)
            responses.append(response)
        assert responses[-1].status == 0xFE00


async def test_sub_operations_are_performed_by_the_requestor_while_it_waits() -> None:
    got: list[bytes] = []

    class Store:
        def __init__(self, request: Request) -> None:
            self.request = request
            self.data = b""

        def write(self, data: memoryview) -> None:
            self.data += data

        def finish(self) -> None:
            got.append(self.data)
            self.request.respond(CStoreRsp(self.request.command.message_id, 0))

        def abort(self, reason: str) -> None:
            raise AssertionError(reason)

    async def get(request: Request) -> None:
        for index in range(3):
            stored = await request.association.request(CT_ID, CStoreRq(0, CT, f"1.2.{index}"), [b"instance"])
            assert stored.status == 0
        request.respond(CGetRsp(request.command.message_id, 0, number_of_completed_suboperations=3))

    policy = replace(POLICY, roles={CT: RolePolicy(scu=True, scp=True)})
    options = replace(QUICK, roles=(RoleSelection(CT, True, True),))
    async with (
        listening({(FIND, CGetRq): get}, entities=[entity(policy=policy)]) as acceptor,
        connect(
            "127.0.0.1",
            acceptor.port,
            called_ae_title="A",
            contexts=CONTEXTS,
            services={("*", CStoreRq): Store},
            options=options,
        ) as association,
    ):
        assert association.contexts[CT_ID].scp_role
        response = await association.request(FIND_ID, CGetRq(0, FIND), [b"identifier"])
        assert response.status == 0
    assert got == [b"instance"] * 3


async def test_answer_that_does_not_come_is_a_timeout_and_an_abort() -> None:
    async with listening({("*", CEchoRq): lambda request: None}) as acceptor:
        with pytest.raises(AssociationTimeout, match="C-ECHO-RQ"):
            async with calling(acceptor.port) as association:
                await association.request(ECHO_ID, CEchoRq(0, VERIFICATION))
        assert isinstance(association.ended, AssociationTimeout)


async def test_pending_answers_put_the_timeout_off() -> None:
    async def find(request: Request) -> None:
        for _ in range(5):
            await asyncio.sleep(0.06)
            await request.send(CFindRsp(request.command.message_id, 0xFF00), [b"match"])
        request.respond(CFindRsp(request.command.message_id, 0))

    async with listening({(FIND, CFindRq): find}) as acceptor, calling(acceptor.port) as association:
        assert (await association.request(FIND_ID, CFindRq(0, FIND), [b"identifier"])).status == 0


async def test_answer_to_no_request_is_noted_and_passed_over(log: Log) -> None:
    async def behave(peer: Raw) -> None:
        await peer.receive()
        peer.send(associate_ac(0))
        await peer.message()
        peer.send(message(ECHO_ID, CEchoRsp(4711, 0)), message(ECHO_ID, CEchoRsp(1, 0)))
        assert isinstance(await peer.receive(), ReleaseRq)
        peer.send(ReleaseRp())

    async with scripted(behave) as port, calling(port) as association:
        assert (await association.request(ECHO_ID, CEchoRq(1, VERIFICATION))).status == 0
    assert any("nobody waits for" in event.get("reason", "") for event in log)


async def test_response_with_an_endless_data_set_is_given_up() -> None:
    async def find(request: Request) -> None:
        await request.send(CFindRsp(request.command.message_id, 0), [bytes(1_000_000)] * 10, final=True)

    options = RequestorOptions(limits=Limits(response_bytes=1_000_000))
    async with listening({(FIND, CFindRq): find}) as acceptor:
        with pytest.raises(Aborted, match="more than 1000000 bytes"):
            async with calling(acceptor.port, options) as association:
                await association.request(FIND_ID, CFindRq(0, FIND), [b"identifier"])


async def test_data_that_breaks_off_aborts_and_its_error_is_the_callers() -> None:
    def data() -> Any:
        yield bytes(1_000_000)
        raise OSError("disk")

    async with listening({}) as acceptor:
        with pytest.raises(OSError, match="disk"):
            async with calling(acceptor.port) as association:
                await association.request(CT_ID, CStoreRq(0, CT, "1.2.3"), data())
        assert isinstance(association.ended, Aborted)


async def test_request_given_up_in_the_middle_of_its_data_aborts() -> None:
    given_up = asyncio.Event()

    async def behave(peer: Raw) -> None:
        await peer.receive()
        peer.send(associate_ac(0, 0))
        await given_up.wait()

    async with scripted(behave) as port:
        association = await request_association(
            "127.0.0.1", port, called_ae_title="A", contexts=CONTEXTS, options=QUICK
        )
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await association.request(CT_ID, CStoreRq(0, CT, "1.2.3"), [bytes(1 << 20)] * 50)
        assert isinstance(association.ended, Aborted)
        given_up.set()
        await association.wait_closed()


# Ending


async def test_request_after_the_end_says_how_it_ended() -> None:
    async with listening() as acceptor:
        async with calling(acceptor.port) as association:
            pass
        with pytest.raises(AssociationEnded, match="released"):
            await association.request(ECHO_ID, CEchoRq(0, VERIFICATION))


async def test_exception_inside_aborts_and_comes_out() -> None:
    async with listening() as acceptor:
        with pytest.raises(ZeroDivisionError):
            async with calling(acceptor.port) as association:
                raise ZeroDivisionError
        assert isinstance(association.ended, Aborted)


async def test_peer_that_does_not_answer_the_release_is_aborted_and_the_caller_goes_on() -> None:
    async with scripted(answering(associate_ac(0))) as port, calling(port) as association:
        pass
    assert isinstance(association.ended, AssociationTimeout)


async def test_release_collision_requestor_answers_first() -> None:
    order: list[str] = []

    async def behave(peer: Raw) -> None:
        await peer.receive()
        peer.send(associate_ac(0))
        order.append(type(await peer.receive()).__name__)
        peer.send(ReleaseRq())
        order.append(type(await peer.receive()).__name__)
        peer.send(ReleaseRp())
        await peer.closed()

    async with scripted(behave) as port, calling(port) as association:
        pass
    assert order == ["ReleaseRq", "ReleaseRp"]
    assert type(association.ended) is AssociationEnded


async def test_release_collision_acceptor_answers_second() -> None:
    async with listening() as acceptor:
        reader, writer = await asyncio.open_connection("127.0.0.1", acceptor.port)
        peer = Raw(reader, writer)
        assert isinstance(await peer.associate(), AssociateAc)
        (association,) = acceptor.associations.values()
        releasing = asyncio.create_task(association.release())
        assert isinstance(await peer.receive(), ReleaseRq)
        peer.send(ReleaseRq())
        peer.send(ReleaseRp())
        assert isinstance(await peer.receive(), ReleaseRp)
        writer.close()
        await releasing


async def test_acceptor_may_release_and_the_requestor_answers() -> None:
    async with listening() as acceptor, calling(acceptor.port) as association:
        (other,) = acceptor.associations.values()
        await other.release()
        await association.wait_closed()
        assert isinstance(association.ended, AssociationEnded)


async def test_lost_connection_fails_what_is_outstanding() -> None:
    async def behave(peer: Raw) -> None:
        await peer.receive()
        peer.send(associate_ac(0))
        assert isinstance(await peer.receive(), PData)

    async with scripted(behave) as port:
        with pytest.raises(ConnectionLost):
            async with calling(port) as association:
                await association.request(ECHO_ID, CEchoRq(0, VERIFICATION))


async def test_names_of_cancelled_messages_are_those_of_the_standard() -> None:
    assert codec.encode(PData(())) == bytes.fromhex("04 00 00000000")
    assert CCancelRq(1).name == "C-CANCEL-RQ"
