"""The shell: chunks, deadlines, trickling and stalling peers, hostile bytes."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import MutableMapping
from typing import Any

import pytest

from dicomwire.association.connection import Connection, receive_buffer
from dicomwire.association.options import RequestorOptions, Timeouts
from dicomwire.association.requestor import connect
from dicomwire.dimse.command import CEchoRq, CStoreRq
from dicomwire.errors import AssociationEnded
from dicomwire.uids import VERIFICATION
from dicomwire.upper_layer import codec
from dicomwire.upper_layer.events import Event
from dicomwire.upper_layer.pdu import Abort, AssociateAc, ReleaseRp, ReleaseRq
from dicomwire.upper_layer.protocol import Role, UpperLayer
from tests.association.support import (
    CONTEXTS,
    CT,
    CT_ID,
    ECHO_ID,
    SOON,
    Kept,
    associate_rq,
    echo,
    echo_rq,
    listening,
    pdus,
    raw,
    store_rq,
)

Log = list[MutableMapping[str, Any]]
SERVICES = {(VERIFICATION, CEchoRq): echo}


async def test_whole_conversation_byte_by_byte() -> None:
    async with listening() as acceptor, raw(acceptor.port) as peer:
        for byte in codec.encode(associate_rq()):
            peer.send(bytes((byte,)))
            await peer.writer.drain()
        assert isinstance(await peer.receive(), AssociateAc)
        for byte in echo_rq() + codec.encode(ReleaseRq()):
            peer.send(bytes((byte,)))
            await peer.writer.drain()
        assert (await peer.message()).status == 0  # type: ignore[attr-defined]
        assert isinstance(await peer.receive(), ReleaseRp)


async def test_operation_release_and_close_in_one_packet_are_all_answered() -> None:
    async with listening() as acceptor, raw(acceptor.port) as peer:
        await peer.associate()
        peer.send(echo_rq(1), echo_rq(2), echo_rq(3), ReleaseRq())
        for message_id in (1, 2, 3):
            assert (await peer.message()).message_id_being_responded_to == message_id  # type: ignore[attr-defined]
        assert isinstance(await peer.receive(), ReleaseRp)


async def test_peer_that_closes_its_side_ends_the_association(log: Log) -> None:
    async with listening() as acceptor, raw(acceptor.port) as peer:
        await peer.associate()
        peer.writer.write_eof()
        assert await peer.closed() == b""
        assert not acceptor.associations
    assert any("without a release" in event.get("how", "") for event in log)


async def test_sockets_have_no_delay() -> None:
    async with (
        listening() as acceptor,
        connect("127.0.0.1", acceptor.port, called_ae_title="A", contexts=CONTEXTS) as association,
    ):
        for side in (association, *acceptor.associations.values()):
            transport = side._connection._transport
            assert transport is not None
            own = transport.get_extra_info("socket")
            assert own.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="Linux only")
async def test_sender_with_nagles_algorithm_on_is_not_kept_waiting_for_delayed_acknowledgements() -> None:
    kept = Kept()
    instance = pdus(CT_ID, CStoreRq(1, CT, "1.2.3"), bytes(10_000))
    async with listening({("*", CStoreRq): kept}) as acceptor, raw(acceptor.port) as peer:
        own = peer.writer.get_extra_info("socket")
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
        await peer.associate()
        loop = asyncio.get_running_loop()
        began = loop.time()
        for _ in range(100):
            for pdu in instance:  # a write each, as DCMTK does
                peer.send(pdu)
                await asyncio.sleep(0)
            assert (await peer.message()).status == 0  # type: ignore[attr-defined]
        assert loop.time() - began < 100 * 0.040


# Deadlines


async def test_association_without_an_operation_is_aborted_when_idle_too_long(log: Log) -> None:
    async with listening(timeouts=Timeouts(idle=0.1)) as acceptor, raw(acceptor.port) as peer:
        await peer.associate()
        peer.send(echo_rq())
        assert (await peer.message()).status == 0  # type: ignore[attr-defined]
        assert isinstance(await peer.receive(), Abort)
    assert any("nothing in progress for 0.1 s" in event.get("how", "") for event in log)


async def test_association_that_performs_is_not_idle() -> None:
    async def slow() -> None:
        await asyncio.sleep(0.2)
        echo(requests[0])

    requests = []

    def service(request: Any) -> Any:
        requests.append(request)
        return slow()

    timeouts = Timeouts(idle=0.05)
    async with (
        listening({("*", CEchoRq): service}, timeouts=timeouts) as acceptor,
        raw(acceptor.port) as peer,
    ):
        await peer.associate()
        peer.send(echo_rq())
        assert (await peer.message()).status == 0  # type: ignore[attr-defined]


async def test_peer_that_trickles_within_a_message_is_aborted(log: Log) -> None:
    kept = Kept()
    timeouts = Timeouts(progress=0.05, progress_bytes=1000)
    async with listening({("*", CStoreRq): kept}, timeouts=timeouts) as acceptor, raw(acceptor.port) as peer:
        await peer.associate()
        whole = store_rq(bytes(100_000))
        peer.send(whole[:20_000])

        async def trickle() -> None:
            for byte in whole[20_000:]:
                peer.send(bytes((byte,)))
                await asyncio.sleep(0.005)

        trickling = asyncio.create_task(trickle())
        assert isinstance(await peer.receive(), Abort)
        trickling.cancel()
        assert kept.aborted
    assert any("less than 1000 bytes" in event.get("how", "") for event in log)


async def test_peer_that_trickles_between_messages_is_idle() -> None:
    timeouts = Timeouts(idle=0.1)
    async with listening(timeouts=timeouts) as acceptor, raw(acceptor.port) as peer:
        await peer.associate()

        async def trickle() -> None:
            for byte in b"\x04\x00\x00\x00":
                peer.send(bytes((byte,)))
                await asyncio.sleep(0.05)

        trickling = asyncio.create_task(trickle())
        assert isinstance(await peer.receive(), Abort)
        trickling.cancel()


async def test_pause_of_our_own_is_no_trickling() -> None:
    resumed = asyncio.Event()

    class Pausing(Kept):
        def __call__(self, request: Any) -> Any:
            request.association.pause()
            asyncio.get_running_loop().call_later(0.2, resumed.set)
            asyncio.get_running_loop().call_later(0.2, request.association.resume)
            return super().__call__(request)

    kept = Pausing()
    timeouts = Timeouts(progress=0.05, progress_bytes=1 << 20)
    async with listening({("*", CStoreRq): kept}, timeouts=timeouts) as acceptor, raw(acceptor.port) as peer:
        await peer.associate()
        peer.send(store_rq(bytes(3_000_000)))
        assert (await peer.message()).status == 0  # type: ignore[attr-defined]
        assert resumed.is_set()


async def test_peer_that_takes_nothing_is_cut_off() -> None:
    async def never_reads(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.append(writer)
        rq = await reader.readexactly(6)
        await reader.readexactly(int.from_bytes(rq[2:], "big"))
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(codec.encode(AC))

    peers: list[asyncio.StreamWriter] = []
    async with listening() as acceptor, raw(acceptor.port) as peer:
        AC = await peer.associate()
    server = await asyncio.start_server(never_reads, "127.0.0.1", 0)
    options = RequestorOptions(timeouts=Timeouts(write=0.1))
    with pytest.raises(AssociationEnded):
        async with connect(
            "127.0.0.1",
            server.sockets[0].getsockname()[1],
            called_ae_title="A",
            contexts=CONTEXTS,
            options=options,
        ) as association:
            await association.request(CT_ID, CStoreRq(0, CT, "1.2.3"), [bytes(1 << 20)] * 100)
    for writer in peers:
        writer.transport.abort()
    server.close()


# Hostile bytes


async def test_random_bytes_never_keep_the_next_peer_out() -> None:
    source = random.Random(7)
    async with listening() as acceptor:
        for _ in range(60):
            async with raw(acceptor.port) as peer:
                peer.send(source.randbytes(source.randrange(1, 3000)))
        async with connect("127.0.0.1", acceptor.port, called_ae_title="A", contexts=CONTEXTS) as association:
            assert (await association.request(ECHO_ID, CEchoRq(0, VERIFICATION))).status == 0


async def test_broken_bytes_within_an_association_end_that_association_alone() -> None:
    source = random.Random(11)
    kept = Kept()
    good = store_rq(bytes(5000)) + echo_rq(2)
    async with (
        listening({**SERVICES, ("*", CStoreRq): kept}) as acceptor,
        connect("127.0.0.1", acceptor.port, called_ae_title="A", contexts=CONTEXTS) as association,
    ):
        for _ in range(60):
            broken = bytearray(good)
            for _ in range(source.randrange(1, 5)):
                broken[source.randrange(len(broken))] = source.randrange(256)
            async with raw(acceptor.port) as peer:
                await peer.associate()
                peer.send(bytes(broken))
        assert (await association.request(ECHO_ID, CEchoRq(0, VERIFICATION))).status == 0


async def test_pdu_longer_than_allowed_is_refused_before_it_comes() -> None:
    async with listening() as acceptor, raw(acceptor.port) as peer:
        peer.send(bytes.fromhex("01 00 7fffffff"))
        assert isinstance(await peer.receive(), Abort)


async def test_fault_of_our_own_closes_the_connection_and_is_logged(log: Log) -> None:
    class Broken:
        def receive(self, events: list[Event]) -> None:
            raise ZeroDivisionError

        def writable(self) -> None: ...

        def foreign(self, words: str) -> None: ...

        def expire(self, now: float) -> float:
            return float("inf")

        def lost(self, error: Exception | None) -> None:
            gone.set()

    gone = asyncio.Event()

    def make() -> Connection:
        connection = Connection(UpperLayer(Role.ACCEPTOR), timeouts=Timeouts(), buffer=receive_buffer())
        connection.user = Broken()
        return connection

    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
    async with raw(server.sockets[0].getsockname()[1]) as peer:
        peer.send(associate_rq())
        assert await peer.closed() == b""
    async with asyncio.timeout(SOON):
        await gone.wait()
    server.close()
    assert any(event["event"] == "connection failed" for event in log)
