"""The listening side: who is let in, who is not, and what becomes of the others meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest

from dicomwire.access.identity import IdentityPolicy, User, Verifier, hash_password
from dicomwire.association import identity
from dicomwire.association.options import Check, Limits, LocalEntity, PeerRules, Timeouts
from dicomwire.association.performer import Request
from dicomwire.association.requestor import Context, RequestorOptions, connect
from dicomwire.dimse.command import CEchoRq, CStoreRq
from dicomwire.errors import Aborted, NoAcceptedContext, Rejected
from dicomwire.uids import IMPLICIT_VR_LITTLE_ENDIAN, VERIFICATION
from dicomwire.upper_layer import codec
from dicomwire.upper_layer.items import UserIdentityAc, UserIdentityRq
from dicomwire.upper_layer.pdu import Abort, AssociateAc, AssociateRj, ReleaseRp, ReleaseRq
from tests.access.vectors import AP_REQ, ASSERTION
from tests.association.support import (
    CONTEXTS,
    CT,
    ECHO_ID,
    POLICY,
    SOON,
    Kept,
    associate_rq,
    echo,
    echo_rq,
    entity,
    listening,
    raw,
    store_rq,
)

Log = list[MutableMapping[str, Any]]


def events(log: Log, name: str) -> Log:
    return [event for event in log if event["event"] == name]


async def test_echo_and_release(log: Log) -> None:
    async with (
        listening() as acceptor,
        connect("127.0.0.1", acceptor.port, called_ae_title="ANY", contexts=CONTEXTS) as association,
    ):
        response = await association.request(ECHO_ID, CEchoRq(0, VERIFICATION))
        assert response.status == 0
        assert len(acceptor.associations) == 1
    assert not acceptor.associations
    ended = events(log, "association ended")
    assert {event["how"] for event in ended} == {"released by us", "released by the peer"}
    assert any(event["performed"] == {"C-ECHO": 1} for event in ended)


async def test_first_of_two_connections_that_say_nothing_does_not_keep_the_second_waiting() -> None:
    async with listening() as acceptor, raw(acceptor.port), raw(acceptor.port) as second:
        assert isinstance(await second.associate(), AssociateAc)


async def test_answer_repeats_ae_titles_of_each_request_though_negotiation_is_remembered() -> None:
    async with listening() as acceptor:
        for calling in ("ONE", "TWO"):
            async with raw(acceptor.port) as peer:
                peer.send(associate_rq(calling=calling))
                answer = await peer.receive()
                assert isinstance(answer, AssociateAc)
                assert answer.calling_ae_title == calling


async def test_called_ae_title_that_is_none_of_ours_is_1_1_7_where_checked(log: Log) -> None:
    async with listening(called=Check.LIST) as acceptor:
        with pytest.raises(Rejected) as rejected:
            async with connect("127.0.0.1", acceptor.port, called_ae_title="DicomWire", contexts=CONTEXTS):
                pass
    assert (rejected.value.result, rejected.value.source, rejected.value.reason) == (1, 1, 7)
    (event,) = events(log, "association rejected")
    assert "differs only in case" in event["reason"]


async def test_calling_ae_title_off_the_list_is_1_1_3() -> None:
    known = LocalEntity("DICOMWIRE", POLICY, Check.LIST, {"KNOWN": PeerRules()})
    async with listening(entities=[known]) as acceptor:
        async with raw(acceptor.port) as peer:
            peer.send(associate_rq(calling="known"))
            assert await peer.receive() == AssociateRj(1, 1, 3)
        async with raw(acceptor.port) as peer:
            peer.send(associate_rq(calling="KNOWN"))
            assert isinstance(await peer.receive(), AssociateAc)


async def test_known_peer_from_another_address_is_1_1_3(log: Log) -> None:
    known = LocalEntity("DICOMWIRE", POLICY, Check.LIST, {"RAW": PeerRules(frozenset({"10.0.0.1"}))})
    async with listening(entities=[known]) as acceptor, raw(acceptor.port) as peer:
        assert await peer.associate() == AssociateRj(1, 1, 3)
    assert "comes from 127.0.0.1" in events(log, "association rejected")[0]["reason"]


async def test_each_local_ae_title_has_its_own_rules() -> None:
    echo_only = replace(POLICY, supported={VERIFICATION: (IMPLICIT_VR_LITTLE_ENDIAN,)})
    async with listening(entities=[entity(), entity("ECHOONLY", echo_only)]) as acceptor:
        for called, accepted in (("DICOMWIRE", 3), ("ECHOONLY", 1), ("OTHER", 3)):
            async with connect(
                "127.0.0.1", acceptor.port, called_ae_title=called, contexts=CONTEXTS
            ) as association:
                assert len(association.contexts) == accepted


async def test_peer_has_its_own_rules_in_place_of_the_local_ae_titles() -> None:
    rules = PeerRules(policy=replace(POLICY, maximum_length=4096))
    async with listening(entities=[LocalEntity("DICOMWIRE", POLICY, peers={"SMALL": rules})]) as acceptor:
        for calling, length in (("SMALL", 4096), ("OTHER", 262_144)):
            async with connect(
                "127.0.0.1", acceptor.port, called_ae_title="A", calling_ae_title=calling, contexts=CONTEXTS
            ) as association:
                assert association.agreement.maximum_length == length


async def test_service_learns_the_character_set_configured_for_its_peer() -> None:
    learnt: list[str | None] = []

    def asked(request: Request) -> None:
        learnt.append(request.association.character_set)
        echo(request)

    entities = [LocalEntity("DICOMWIRE", POLICY, peers={"OLD": PeerRules(character_set="ISO_IR 100")})]
    async with listening({(VERIFICATION, CEchoRq): asked}, entities=entities) as acceptor:
        for calling in ("OLD", "OTHER"):
            async with connect(
                "127.0.0.1", acceptor.port, called_ae_title="A", calling_ae_title=calling, contexts=CONTEXTS
            ) as association:
                await association.request(ECHO_ID, CEchoRq(0, VERIFICATION))
    assert learnt == ["ISO_IR 100", None]


async def test_no_accepted_context_is_rejected_or_accepted_and_one_outcome_for_the_requestor(
    log: Log,
) -> None:
    for choice in ("reject", "accept"):
        policy = replace(POLICY, on_no_accepted_context=choice)
        async with listening(entities=[entity(policy=policy)]) as acceptor:
            with pytest.raises(NoAcceptedContext):
                async with connect(
                    "127.0.0.1",
                    acceptor.port,
                    called_ae_title="A",
                    contexts=[Context("1.2.3", (IMPLICIT_VR_LITTLE_ENDIAN,))],
                ):
                    pass
    assert "1.2.3" in events(log, "association rejected")[0]["reason"]


async def test_association_beyond_the_limit_is_2_3_2_and_the_next_after_one_has_ended_is_accepted() -> None:
    async with (
        listening(limits=Limits(associations=2)) as acceptor,
        raw(acceptor.port) as first,
        raw(acceptor.port) as second,
    ):
        assert isinstance(await first.associate(), AssociateAc)
        assert isinstance(await second.associate(), AssociateAc)
        async with raw(acceptor.port) as third:
            assert await third.associate() == AssociateRj(2, 3, 2)
        first.send(ReleaseRq())
        assert isinstance(await first.receive(), ReleaseRp)
        async with raw(acceptor.port) as fourth:
            assert isinstance(await fourth.associate(), AssociateAc)


async def test_association_that_has_long_been_idle_gives_way_at_the_limit() -> None:
    async with (
        listening(limits=Limits(associations=1, evictable_after=0.0)) as acceptor,
        raw(acceptor.port) as idle,
        raw(acceptor.port) as new,
    ):
        assert isinstance(await idle.associate(), AssociateAc)
        assert isinstance(await new.associate(), AssociateAc)
        assert isinstance(await idle.receive(), Abort)


async def test_associations_of_one_host_are_limited_where_configured() -> None:
    async with (
        listening(limits=Limits(associations_per_peer=1)) as acceptor,
        raw(acceptor.port) as first,
        raw(acceptor.port) as second,
    ):
        assert isinstance(await first.associate(), AssociateAc)
        assert await second.associate() == AssociateRj(2, 3, 2)


async def test_associations_of_one_ae_title_are_limited_where_configured() -> None:
    rules = LocalEntity("DICOMWIRE", POLICY, peers={"RAW": PeerRules(associations=1)})
    async with (
        listening(entities=[rules]) as acceptor,
        raw(acceptor.port) as first,
        raw(acceptor.port) as second,
        raw(acceptor.port) as third,
    ):
        assert isinstance(await first.associate(), AssociateAc)
        assert await second.associate() == AssociateRj(2, 3, 2)
        third.send(associate_rq(calling="OTHER"))
        assert isinstance(await third.receive(), AssociateAc)


async def test_half_open_connections_are_bounded_and_the_oldest_gives_way() -> None:
    async with (
        listening(limits=Limits(half_open=2)) as acceptor,
        raw(acceptor.port) as oldest,
        raw(acceptor.port) as second,
        raw(acceptor.port) as third,
    ):
        assert await oldest.closed() == b""
        assert isinstance(await second.associate(), AssociateAc)
        assert isinstance(await third.associate(), AssociateAc)


async def test_hundreds_of_silent_connections_keep_nobody_out() -> None:
    async with listening(limits=Limits(half_open=50)) as acceptor:
        silent = [await asyncio.open_connection("127.0.0.1", acceptor.port) for _ in range(300)]
        async with connect("127.0.0.1", acceptor.port, called_ae_title="A", contexts=CONTEXTS) as association:
            assert (await association.request(ECHO_ID, CEchoRq(0, VERIFICATION))).status == 0
            assert len(acceptor.census.half_open) <= 50
        for _, writer in silent:
            writer.close()


async def test_established_associations_do_not_count_as_half_open() -> None:
    async with listening(limits=Limits(half_open=1)) as acceptor, raw(acceptor.port) as first:
        assert isinstance(await first.associate(), AssociateAc)
        async with raw(acceptor.port) as second:
            assert isinstance(await second.associate(), AssociateAc)
            first.send(echo_rq())
            assert (await first.message()).message_id_being_responded_to == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "first",
    [b"\x42\0\0\0\0\0", b"GET / HTTP/1.1\r\n\r\n", codec.encode(associate_rq(contexts=0))],
    ids=["unknown PDU", "another protocol", "rejected"],
)
async def test_peers_that_were_turned_away_take_no_place_of_those_to_come(first: bytes) -> None:
    async with (
        listening(limits=Limits(half_open=2)) as acceptor,
        raw(acceptor.port) as patient,
        raw(acceptor.port) as one,
        AsyncExitStack() as others,
    ):
        one.send(first)
        assert await one.reader.read(1)
        for _ in range(5):
            other = await others.enter_async_context(raw(acceptor.port))
            other.send(first)
            assert await other.reader.read(1)
        assert isinstance(await patient.associate(), AssociateAc)


async def test_peer_that_sends_garbage_without_end_is_logged_once(log: Log) -> None:
    async with listening() as acceptor, raw(acceptor.port) as peer:
        peer.send(b"\x42\0\0\0\0\0" * 1000)
        assert await peer.receive() == Abort(0, 0)
        assert await peer.receive() == Abort(2, 1)
        peer.send(b"\x43\0\0\0\0\0" * 1000, Abort())
        assert await peer.closed() == b""
    assert [event["event"] for event in log] == ["peer breaks the protocol"]


GARBAGE = b"\x42\0\0\0\0\0"


@pytest.mark.parametrize(
    "behind", [GARBAGE, echo_rq(), codec.encode(Abort())], ids=["PDU", "P-DATA", "A-ABORT"]
)
@pytest.mark.parametrize("contexts", [0, 3], ids=["rejected", "accepted"])
async def test_request_with_something_behind_it_that_ends_it_is_no_failure_of_ours(
    behind: bytes, contexts: int, log: Log
) -> None:
    async with listening() as acceptor, raw(acceptor.port) as peer:
        peer.send(codec.encode(associate_rq(contexts=contexts)) + behind)
        peer.writer.write_eof()
        await peer.closed()
        assert not acceptor.associations
    assert "connection failed" not in [event["event"] for event in log]
    assert "association attempt ended" in [event["event"] for event in log]


@pytest.mark.parametrize(
    "read",
    [echo_rq() + GARBAGE, codec.encode(ReleaseRq()) + GARBAGE, store_rq(b"x" * 100)[:-1] + GARBAGE * 20],
    ids=["request", "release", "data set"],
)
async def test_message_with_garbage_behind_it_ends_the_association_and_is_no_failure_of_ours(
    read: bytes, log: Log
) -> None:
    async with (
        listening({("*", CStoreRq): Kept(), ("*", CEchoRq): echo}) as acceptor,
        raw(acceptor.port) as peer,
    ):
        await peer.associate()
        peer.send(read)
        peer.writer.write_eof()
        answer = await peer.closed()
        assert answer[:1] == b"\x07"
    assert [event["event"] for event in log] == [
        "association accepted",
        "peer breaks the protocol",
        "association ended",
    ]


async def test_request_that_comes_too_slowly_is_cut_off_by_artim() -> None:
    async with listening(timeouts=Timeouts(artim=0.05)) as acceptor, raw(acceptor.port) as peer:
        peer.send(b"\x01\x00\x00\x00\x01")
        assert await peer.closed() == b""


# User identity


def users() -> Verifier:
    return Verifier(IdentityPolicy(required=True, users={"ann": User(hash_password("secret"))}))


async def test_bad_identity_is_1_2_1_and_the_log_knows_why_but_not_the_passcode(log: Log) -> None:
    async with listening(verifier=users()) as acceptor:
        options = RequestorOptions(identity=identity.username_and_passcode("ann", "wrong-one"))
        with pytest.raises(Rejected) as rejected:
            async with connect(
                "127.0.0.1", acceptor.port, called_ae_title="A", contexts=CONTEXTS, options=options
            ):
                pass
    assert (rejected.value.result, rejected.value.source, rejected.value.reason) == (1, 2, 1)
    assert "wrong passcode" in events(log, "association rejected")[0]["reason"]
    assert "wrong-one" not in str(log)


async def test_missing_identity_is_1_2_1_where_one_is_required() -> None:
    async with listening(verifier=users()) as acceptor, raw(acceptor.port) as peer:
        assert await peer.associate() == AssociateRj(1, 2, 1)


async def test_good_identity_is_accepted_and_answered_where_asked_for() -> None:
    async with listening(verifier=users()) as acceptor:
        for positive in (True, False):
            async with raw(acceptor.port) as peer:
                answer = await peer.associate(UserIdentityRq(2, positive, b"ann", b"secret"))
                assert isinstance(answer, AssociateAc)
                assert (UserIdentityAc(b"") in answer.user_information) is positive
                (association,) = acceptor.associations.values()
                assert association.identity is not None
                assert association.identity.name == "ann"
                peer.send(ReleaseRq())
                assert isinstance(await peer.receive(), ReleaseRp)


async def test_ticket_is_refused_with_what_it_says_where_a_verified_identity_is_required(log: Log) -> None:
    async with listening(verifier=users()) as acceptor:
        options = RequestorOptions(identity=identity.kerberos(AP_REQ))
        with pytest.raises(Rejected) as rejected:
            async with connect(
                "127.0.0.1", acceptor.port, called_ae_title="A", contexts=CONTEXTS, options=options
            ):
                pass
    assert (rejected.value.result, rejected.value.source, rejected.value.reason) == (1, 2, 1)
    reason = events(log, "association rejected")[0]["reason"]
    assert "Kerberos service ticket cannot be verified here: realm EXAMPLE.ORG" in reason


@pytest.mark.parametrize(
    ("item", "facts"),
    [
        (
            identity.kerberos(AP_REQ),
            {
                "kind": "Kerberos service ticket",
                "verified": "no",
                "realm": "EXAMPLE.ORG",
                "service": "dicom/pacs.example.org",
                "encryption": "aes256-cts-hmac-sha1-96",
                "key version": "3",
            },
        ),
        (
            identity.saml(ASSERTION),
            {
                "kind": "SAML assertion",
                "verified": "no",
                "issuer": "https://idp.example.org",
                "subject": "carla",
                "not before": "2026-01-02T03:04:05Z",
                "not on or after": "2026-01-02T03:14:05Z",
                "audience": "urn:pacs urn:ris",
                "signature": "none",
            },
        ),
    ],
    ids=["kerberos", "saml"],
)
async def test_what_unproved_credentials_say_is_known_and_logged_where_none_is_required(
    item: UserIdentityRq, facts: dict[str, str], log: Log
) -> None:
    async with (
        listening(verifier=Verifier(IdentityPolicy())) as acceptor,
        connect(
            "127.0.0.1",
            acceptor.port,
            called_ae_title="A",
            contexts=CONTEXTS,
            options=RequestorOptions(identity=item),
        ),
    ):
        (association,) = acceptor.associations.values()
        assert association.identity is not None
        assert dict(association.identity.facts).items() <= facts.items()
    accepted = [event for event in events(log, "association accepted") if "identity" in event]
    assert accepted[0]["identity"] == facts


async def test_peer_that_leaves_while_its_identity_is_verified_leaves_nothing_behind() -> None:
    async with listening(verifier=users()) as acceptor:
        async with raw(acceptor.port) as peer:
            peer.send(associate_rq(UserIdentityRq(2, False, b"ann", b"secret")))
            await peer.writer.drain()
        async with asyncio.timeout(SOON):
            await acceptor.stop(0)
        assert not acceptor.associations
        assert not acceptor.census.half_open


# Stopping


async def test_stop_lets_an_operation_in_progress_finish() -> None:
    kept = Kept()
    async with listening({("*", CStoreRq): kept}) as acceptor, raw(acceptor.port) as peer:
        await peer.associate()
        whole = store_rq(bytes(100_000))
        peer.send(whole[:50_000])
        await kept.arrived.wait()
        port = acceptor.port
        stopping = asyncio.create_task(acceptor.stop(SOON))
        await asyncio.sleep(0)  # the task begins
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        peer.send(whole[50_000:])
        assert (await peer.message()).status == 0  # type: ignore[attr-defined]
        peer.send(ReleaseRq())
        assert isinstance(await peer.receive(), ReleaseRp)
        peer.writer.close()
        await stopping
        assert kept.stored == [bytes(100_000)]


async def test_stop_aborts_what_is_idle_at_once_and_what_is_busy_after_the_grace_time() -> None:
    kept = Kept()
    async with listening({("*", CStoreRq): kept}) as acceptor, raw(acceptor.port) as peer:
        await peer.associate()
        peer.send(store_rq(bytes(100_000))[:50_000])
        await kept.arrived.wait()
        async with asyncio.timeout(SOON):
            await acceptor.stop(0.05)
        assert isinstance(await peer.receive(), Abort)
        assert kept.aborted


async def test_requestor_learns_of_the_abort_when_the_node_stops() -> None:
    async with (
        listening() as acceptor,
        connect("127.0.0.1", acceptor.port, called_ae_title="A", contexts=CONTEXTS) as association,
    ):
        await acceptor.stop(0)
        with pytest.raises(Aborted):
            await association.request(ECHO_ID, CEchoRq(0, VERIFICATION))


async def test_new_rules_hold_for_the_next_association() -> None:
    async with listening({(VERIFICATION, CEchoRq): echo}) as acceptor:
        async with raw(acceptor.port) as peer:
            answer = await peer.associate()
            assert isinstance(answer, AssociateAc)
            assert [context.result for context in answer.presentation_contexts] == [0, 0, 0]
        policy = replace(POLICY, refused={CT: "no longer"})
        acceptor.reconfigure(replace(acceptor.options, entities=(entity(policy=policy),)))
        async with raw(acceptor.port) as peer:
            answer = await peer.associate()
            assert isinstance(answer, AssociateAc)
            assert [context.result for context in answer.presentation_contexts] == [0, 1, 0]
