"""Peers that do one thing wrong, over loopback sockets."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from dicomwire.dimse.codec import encode
from dicomwire.dimse.command import CEchoRsp, Command
from dicomwire.doctor.examination import examine
from dicomwire.doctor.options import ExaminationOptions, Target
from dicomwire.doctor.report import Report
from dicomwire.upper_layer import codec
from dicomwire.upper_layer.items import ContextResult, MaximumLength
from dicomwire.upper_layer.pdu import (
    AssociateAc,
    AssociateRj,
    AssociateRq,
    PData,
    Pdu,
    PresentationDataValue,
    ReleaseRp,
)

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(behaviour: Behaviour, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A peer that behaves so on each connection; its port."""
    tasks: set[asyncio.Task[None]] = set()
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await behaviour(reader, writer)
        writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        tasks.add(asyncio.create_task(serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()


async def pdu(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    header = await reader.readexactly(6)
    return header[0], await reader.readexactly(int.from_bytes(header[2:], "big"))


async def request(reader: asyncio.StreamReader) -> AssociateRq:
    kind, body = await pdu(reader)
    found = codec.decode(kind, memoryview(body), [])
    assert isinstance(found, AssociateRq)
    return found


def send(writer: asyncio.StreamWriter, *pdus: Pdu) -> None:
    for one in pdus:
        writer.write(codec.encode(one))


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Takes everything and says nothing."""
    while await reader.read(4_096):
        pass


async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hangs up at the first bytes."""
    await reader.read(4_096)


def saying(words: bytes, *, first: bool = False) -> Behaviour:
    """Answers, or greets, with these bytes, whatever is asked."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not first:
            await reader.read(4_096)
        writer.write(words)
        await writer.drain()
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await reader.read(4_096)

    return behave


def rejecting(
    answer: AssociateRj, unless: Callable[[AssociateRq], bool] = lambda request: False
) -> Behaviour:
    """Rejects associations; those for which `unless` holds work."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await request(reader)
        if unless(asked):
            await _serve(asked, reader, writer)
            return
        send(writer, answer)
        await reader.read(1)

    return behave


def accepting(result: int = 0) -> Behaviour:
    """Accepts associations with this result for every context, and answers C-ECHO."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _serve(await request(reader), reader, writer, result)

    return behave


def answer_to(asked: AssociateRq, result: int = 0) -> AssociateAc:
    """An A-ASSOCIATE-AC with this result for every context."""
    contexts = tuple(
        ContextResult(one.presentation_context_id, result, one.transfer_syntaxes[0])
        for one in asked.presentation_contexts
    )
    return AssociateAc(asked.called_ae_title, asked.calling_ae_title, contexts, (MaximumLength(16_384),))


async def _serve(
    asked: AssociateRq, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, result: int = 0
) -> None:
    send(writer, answer_to(asked, result))
    while True:
        kind, body = await pdu(reader)
        if kind == 5:
            send(writer, ReleaseRp())
            await reader.read(1)
            return
        if kind == 7:
            return
        message(writer, body[4], CEchoRsp(1, 0, affected_sop_class_uid="1.2.840.10008.1.1"))


def message(writer: asyncio.StreamWriter, context: int, command: Command) -> None:
    """A command without a data set."""
    send(writer, PData((PresentationDataValue(context, 3, encode(command)),)))


async def examined(port: int, **options: object) -> Report:
    """The report on a peer of this machine."""
    called = str(options.pop("called", "STORE"))
    host = str(options.pop("host", "127.0.0.1"))
    given = ExaminationOptions(**({"wait": 0.6} | options))  # type: ignore[arg-type]
    report, _ = await examine(Target(host, port, called), given)
    return report
