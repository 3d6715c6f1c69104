"""First bytes that are not DICOM, and the PROXY protocol."""

from __future__ import annotations

import asyncio
import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomwire.association.greeting import (
    ANSWERS,
    TLS_ALERT,
    Foreign,
    Forwarded,
    decode_proxy,
    proxy_wanted,
    recognise,
)
from dicomwire.association.options import Check, LocalEntity, ProxyProtocol, Timeouts
from dicomwire.errors import DecodeError
from dicomwire.protocols import CLIENT_SIGNS, LONGEST_SIGN, Protocol
from dicomwire.upper_layer.pdu import Abort, AssociateAc
from tests.association.support import POLICY, SOON, associate_rq, listening, raw

# proxy-protocol.txt 2.1: TCP4, TCP6, the shortest; 2.2: PROXY over IPv4 and IPv6, LOCAL, with a TLV behind.
VERSION_1 = {
    b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 104\r\n": Forwarded("192.0.2.7", 56324),
    b"PROXY TCP6 2001:db8::1 2001:db8::2 56324 104\r\n": Forwarded("2001:db8::1", 56324),
    b"PROXY UNKNOWN\r\n": Forwarded(),
    b"PROXY UNKNOWN ff:ff::ff ff:ff::ff 65535 65535\r\n": Forwarded(),
}
SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
VERSION_2 = {
    SIGNATURE + bytes.fromhex("21 11 000c c0000207 c6336401 dc04 0068"): Forwarded("192.0.2.7", 56324),
    SIGNATURE + bytes.fromhex("21 11 0010 c0000207 c6336401 dc04 0068 04000100"): Forwarded(
        "192.0.2.7", 56324
    ),
    SIGNATURE
    + bytes.fromhex(
        "21 21 0024 20010db8000000000000000000000001 20010db8000000000000000000000002 dc04 0068"
    ): (Forwarded("2001:db8::1", 56324)),
    SIGNATURE + bytes.fromhex("20 00 0000"): Forwarded(),
}
HEADERS = VERSION_1 | VERSION_2


@pytest.mark.parametrize(("sign", "protocol"), CLIENT_SIGNS)
def test_sign_is_recognised_whole_and_needs_more_before(sign: bytes, protocol: Protocol) -> None:
    foreign = Foreign(protocol, ANSWERS.get(protocol, b""))
    assert recognise(sign + b"and more") == foreign
    for length in range(len(sign)):
        assert recognise(sign[:length]) in (True, foreign)


def test_pdus_are_for_the_upper_layer() -> None:
    for kind in range(1, 8):
        assert recognise(bytes((kind, 0, 0, 0, 0, 4))) is False


@given(st.binary(min_size=LONGEST_SIGN, max_size=32))
def test_the_longest_sign_is_always_enough(first: bytes) -> None:
    assert recognise(first) is not True


@pytest.mark.parametrize(("header", "forwarded"), HEADERS.items())
def test_proxy_header_is_read_to_its_end_and_not_a_byte_further(header: bytes, forwarded: Forwarded) -> None:
    stream, taken = header + b"\x01\x00", b""
    while wanted := proxy_wanted(taken):
        taken += stream[len(taken) : len(taken) + wanted]
    assert taken == header
    assert decode_proxy(taken) == forwarded


@given(
    st.binary(max_size=300)
    | st.sampled_from([*HEADERS]).flatmap(lambda h: st.binary().map(lambda b: h[:15] + b))
)
def test_any_bytes_are_a_proxy_header_or_a_decode_error(data: bytes) -> None:
    taken = b""
    try:
        while wanted := proxy_wanted(taken):
            if len(taken) + wanted > len(data):
                return
            taken = data[: len(taken) + wanted]
        decode_proxy(taken)
    except DecodeError:
        return


# On a socket


async def test_http_client_is_told_that_this_is_a_dicom_port() -> None:
    async with listening() as acceptor, raw(acceptor.port) as peer:
        peer.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = await peer.closed()
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"DICOM port" in answer


async def test_http_client_that_sends_a_long_body_gets_its_answer_too() -> None:
    async with listening(timeouts=Timeouts(linger=0.2)) as acceptor, raw(acceptor.port) as peer:
        peer.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + bytes(1_000_000))
        assert b"DICOM port" in await peer.closed()


async def test_tls_client_gets_an_alert_at_once() -> None:
    async with listening() as acceptor:
        context = ssl.create_default_context()
        with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
            async with asyncio.timeout(SOON):
                await asyncio.open_connection("127.0.0.1", acceptor.port, ssl=context, server_hostname="x")
        async with raw(acceptor.port) as peer:
            peer.send(bytes.fromhex("16 03 01 00"))
            assert await peer.closed() == TLS_ALERT


@pytest.mark.parametrize(
    ("first", "name"),
    [(b"\x0bMSH|^~\\&|", "HL7"), (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH"), (b"PROXY TCP4 1.2.3.4 ", "PROXY")],
)
async def test_other_protocols_are_closed_at_once_and_named(
    first: bytes, name: str, log: list[dict[str, str]]
) -> None:
    async with listening() as acceptor, raw(acceptor.port) as peer:
        peer.send(first)
        assert await peer.closed() == b""
    assert any(event["event"] == "connection refused" and name in event["reason"] for event in log)


async def test_first_bytes_that_come_one_by_one_are_recognised() -> None:
    async with listening() as acceptor, raw(acceptor.port) as peer:
        for byte in b"GET /":
            peer.send(bytes((byte,)))
            await peer.writer.drain()
        assert b"400" in await peer.closed()


async def test_bytes_of_no_protocol_get_the_abort_of_an_unrecognised_pdu() -> None:
    async with listening() as acceptor, raw(acceptor.port) as peer:
        peer.send(b"\xffwhatever this is")
        assert isinstance(await peer.receive(), Abort)


@pytest.mark.parametrize("header", HEADERS)
async def test_address_in_a_proxy_header_is_the_peers(header: bytes) -> None:
    entities = [LocalEntity("DICOMWIRE", POLICY, Check.OFF)]
    async with (
        listening(proxy_protocol=ProxyProtocol.REQUIRED, entities=entities) as acceptor,
        raw(acceptor.port) as peer,
    ):
        peer.send(header, associate_rq())
        assert isinstance(await peer.receive(), AssociateAc)
        (association,) = acceptor.associations.values()
        assert association.peer_host == (HEADERS[header].host or "127.0.0.1")


async def test_connection_without_the_proxy_header_is_closed_where_one_is_required() -> None:
    async with listening(proxy_protocol=ProxyProtocol.REQUIRED) as acceptor, raw(acceptor.port) as peer:
        peer.send(associate_rq())
        assert await peer.closed() == b""


async def test_proxy_header_that_does_not_come_is_not_waited_for_longer_than_artim() -> None:
    timeouts = Timeouts(artim=0.05)
    async with (
        listening(proxy_protocol=ProxyProtocol.REQUIRED, timeouts=timeouts) as acceptor,
        raw(acceptor.port) as peer,
    ):
        peer.send(b"PROXY ")
        assert await peer.closed() == b""
