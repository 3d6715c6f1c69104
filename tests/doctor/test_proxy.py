from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomwire.association.tls import client_context
from dicomwire.diagnose.explain import explain
from dicomwire.diagnose.finding import Outcome, Story
from dicomwire.diagnose.trace import HEAD
from dicomwire.doctor.pdus import Pdus
from dicomwire.doctor.proxy import STORY_BYTES, Proxy, ProxyOptions
from dicomwire.doctor.script import Script, read
from dicomwire.errors import ConfigurationError
from tests.doctor.conftest import Certificates
from tests.doctor.fakes import Behaviour, accepting, examined, listening, silent


@dataclass
class Tapped:
    port: int
    record: bytearray = field(default_factory=lambda: bytearray(HEAD))
    lines: list[str] = field(default_factory=list)
    stories: list[Story | None] = field(default_factory=list)
    told: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, line: str) -> None:
        self.lines.append(line)
        self.told.set()

    def finish(self, story: Story | None) -> None:
        self.stories.append(story)
        self.over.set()


@asynccontextmanager
async def tapped(
    behaviour: Behaviour,
    script: str = "",
    *,
    tls: ssl.SSLContext | None = None,
    target_tls: ssl.SSLContext | None = None,
    peer_tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Tapped]:
    """A peer behind a proxy."""
    faults = read(script, "script.toml") if script else Script()
    async with listening(behaviour, peer_tls) as target:
        seen = Tapped(0)
        options = ProxyOptions(
            port=0,
            target_host="127.0.0.1",
            target_port=target,
            tls=tls,
            target_tls=target_tls,
            script=faults,
        )
        proxy = Proxy(options, record=seen.record.extend, tell=seen.tell, finished=seen.finish)
        await proxy.start()
        seen.port = proxy.port
        try:
            yield seen
        finally:
            await proxy.stop()


async def test_tls_ends_at_the_proxy_and_begins_anew(certificates: Certificates) -> None:
    trusting = client_context(ca=certificates.ca)
    server = certificates.server()
    async with tapped(accepting(), tls=server, target_tls=trusting, peer_tls=server) as seen:
        report = await examined(seen.port, tls=trusting)
        assert report.verdict is None
    first = seen.stories[0]
    assert first is not None
    assert first.outcome is Outcome.OK
    assert {"C-ECHO-RQ", "C-ECHO-RSP", "A-RELEASE-RP"} <= {event.name for event in first.events}


async def test_a_plain_caller_of_a_proxy_that_wants_tls_is_named(certificates: Certificates) -> None:
    async with tapped(accepting(), tls=certificates.server()) as seen:
        report = await examined(seen.port)
    assert report.verdict is not None
    assert any("no TLS with 127.0.0.1" in line for line in seen.lines)


async def test_a_target_whose_certificate_is_not_trusted_is_named(certificates: Certificates) -> None:
    async with tapped(accepting(), target_tls=client_context(), peer_tls=certificates.server()) as seen:
        await examined(seen.port)
    assert any("CERTIFICATE_VERIFY_FAILED" in line for line in seen.lines)


def fault(**keys: object) -> str:
    rows = "\n".join(f"{key.rstrip('_')} = {value!r}" for key, value in keys.items())
    return f"[[fault]]\n{rows}\n"


async def test_association_passes_and_its_record_tells_the_same_story() -> None:
    async with tapped(accepting()) as seen:
        report = await examined(seen.port)
        assert report.verdict is None
    first = seen.stories[0]
    assert first is not None
    assert first.outcome is Outcome.OK
    assert [line.split(" ", 2)[2] for line in seen.lines[1:4]] == [
        "→ A-ASSOCIATE-RQ",
        "← A-ASSOCIATE-AC",
        "→ A-RELEASE-RQ",
    ]
    recorded = explain("proxy.pcapng", [bytes(seen.record)])
    assert recorded.error is None
    assert [event.name for event in recorded.stories[0].events] == [event.name for event in first.events]


@pytest.mark.parametrize(
    ("script", "code"),
    [
        (fault(on="A-ASSOCIATE-RQ", action="refuse", reason=7), "reject-called-ae-title"),
        (fault(on="A-ASSOCIATE-RQ", action="refuse", result=2, source=3, reason=1), "reject-congestion"),
        (fault(on="A-ASSOCIATE-AC", action="drop"), "association-no-answer"),
        (fault(on="A-ASSOCIATE-AC", action="stall"), "association-no-answer"),
        (fault(on="A-ASSOCIATE-AC", action="delay", seconds=2.0), "association-no-answer"),
        (fault(on="A-ASSOCIATE-RQ", action="cut"), "tcp-closed-before-answer"),
        (fault(on="A-ASSOCIATE-RQ", action="reset"), "tcp-reset"),
        (fault(on="A-ASSOCIATE-AC", action="cut", bytes=20), "pdu-truncated"),
        (fault(on="connect", action="stall"), "association-no-answer"),
        (fault(on="P-DATA-TF", from_="acceptor", action="drop"), "dimse-no-response"),
        (fault(on="A-ASSOCIATE-AC", action="corrupt", value=8), "not-dicom"),
    ],
)
async def test_fault_has_the_effect_that_it_names(script: str, code: str) -> None:
    async with tapped(accepting(), script) as seen:
        report = await examined(seen.port, wait=1.2 if code == "dimse-no-response" else 0.4)
    assert report.verdict is not None
    assert report.verdict.code == code
    assert any("fault: " in line or "connect" in line for line in seen.lines)


async def test_fault_is_a_note_of_the_record() -> None:
    async with tapped(accepting(), fault(on="A-ASSOCIATE-RQ", action="refuse")) as seen:
        await examined(seen.port)
    events = [event for one in explain("p", [bytes(seen.record)]).stories for event in one.events]
    assert any("refused with 1/1/1" in event.detail for event in events)


async def test_fault_of_the_second_connection_leaves_the_first_alone() -> None:
    script = fault(on="A-ASSOCIATE-RQ", action="refuse", reason=3, connections=[2])
    async with tapped(accepting(), script) as seen:
        report = await examined(seen.port)
    assert report.verdict is None
    second = seen.stories[1]
    assert second is not None
    assert second.verdict is not None
    assert second.verdict.code == "reject-calling-ae-title"


async def test_connection_that_is_cut_at_once_is_no_association() -> None:
    async with tapped(accepting(), fault(on="connect", action="cut")) as seen:
        report = await examined(seen.port)
    assert report.verdict is not None
    assert report.verdict.code in ("tcp-closed-before-answer", "tcp-reset")


async def test_maximum_length_is_rewritten() -> None:
    script = fault(on="A-ASSOCIATE-AC", action="maximum-length", maximum_length=99)
    async with tapped(accepting(), script) as seen:
        await examined(seen.port)
    assert bytes.fromhex("5100000400000063") in bytes(seen.record)


async def test_half_closed_connection_stays_half_open() -> None:
    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        everything = await reader.read(-1)
        writer.write(everything.upper())
        await writer.drain()

    async with tapped(late) as seen:
        reader, writer = await asyncio.open_connection("127.0.0.1", seen.port)
        writer.write(b"hello")
        writer.write_eof()
        assert await reader.read(-1) == b"HELLO"
        writer.close()
        await writer.wait_closed()


async def test_long_connections_are_passed_whole_and_kept_short() -> None:
    sent = bytes(range(8, 256)) * 20_000

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()

    async with tapped(echo) as seen:
        reader, writer = await asyncio.open_connection("127.0.0.1", seen.port)
        asked = asyncio.create_task(reader.readexactly(len(sent)))
        writer.write(sent)
        assert await asked == sent
        writer.close()
        await writer.wait_closed()
        await seen.over.wait()
    assert len(sent) > STORY_BYTES
    assert len(seen.record) > 2 * len(sent)


async def test_target_that_is_down_is_told() -> None:
    proxy = Proxy(ProxyOptions(port=0, target_host="127.0.0.1", target_port=1))
    lines: list[str] = []
    proxy.tell = lines.append
    await proxy.start()
    try:
        report = await examined(proxy.port)
    finally:
        await proxy.stop()
    assert report.verdict is not None
    assert "no connection to 127.0.0.1:1" in lines[0]


async def test_proxy_that_stops_closes_what_is_open() -> None:
    async with tapped(silent) as seen:
        reader, writer = await asyncio.open_connection("127.0.0.1", seen.port)
        await seen.told.wait()
    assert await reader.read(-1) == b""
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1", "list of up to"),
        ("[[fault]]\naction = 'explode'", "action 'explode' is none of"),
        ("[[fault]]\naction = 'drop'\non = 'A-NOTHING'", "on 'A-NOTHING' is none of"),
        ("[[fault]]\naction = 'drop'\ncolour = 1", "colour is none of"),
        ("[[fault]]\naction = 'refuse'", "refuse is not possible on *"),
        ("[[fault]]\naction = 'drop'\non = 'connect'", "drop is not possible on connect"),
        ("[[fault]]\naction = 'delay'\nseconds = -1", "seconds -1 is no number"),
        ("[[fault]]\naction = 'cut'\nbytes = 1.5", "bytes 1.5 is no whole number"),
        ("[[fault]]\naction = 'drop'\nfrom = 'me'", "from 'me' is neither"),
        ("[[fault]]\naction = 'drop'\nconnections = 3", "connections is a list"),
        ("[[fault", "script.toml"),
    ],
)
def test_script_that_cannot_be_names_the_place(text: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        read(text, "script.toml")
    assert words in str(error.value)


def test_script_in_json() -> None:
    script = read('{"fault": [{"action": "delay", "seconds": 0.5}]}', "faults.json")
    assert script.faults[0].seconds == 0.5


@given(st.lists(st.binary(max_size=40), max_size=20), st.integers(1, 60))
def test_what_is_taken_apart_is_what_came(parts: list[bytes], size: int) -> None:
    stream = b"".join(
        bytes((kind % 9, 0)) + len(part).to_bytes(4, "big") + part for kind, part in enumerate(parts, start=1)
    )
    pdus, passed = Pdus(), b""
    for start in range(0, len(stream), size):
        passed += b"".join(piece.data for piece in pdus.feed(stream[start : start + size]))
    assert passed + pdus.rest() == stream


async def test_reset_of_one_side_passes_to_the_other() -> None:
    ended = asyncio.get_running_loop().create_future()

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            ended.set_result(await reader.read(1))
        except ConnectionResetError:
            ended.set_result("reset")

    async with tapped(behave) as seen:
        own = socket.create_connection(("127.0.0.1", seen.port))
        await seen.told.wait()
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        own.close()
        assert await asyncio.wait_for(ended, 5) == "reset"
        await asyncio.wait_for(seen.over.wait(), 5)


@pytest.mark.parametrize(
    "script",
    [
        fault(on="connect", action="stall"),
        fault(on="A-ASSOCIATE-RQ", action="stall"),
        fault(action="drop", number=0),
    ],
)
async def test_what_is_not_passed_on_is_told_as_its_sender_sees_it(script: str) -> None:
    async with tapped(accepting(), script) as seen:
        await examined(seen.port, wait=0.3)
        await asyncio.wait_for(seen.over.wait(), 5)
    first = seen.stories[0]
    assert first is not None
    assert first.verdict is not None
    assert first.verdict.code == "association-no-answer"
