"""An acceptor to talk to, a peer that sends whatever bytes it likes, and services that do little."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from dicomwire.access.identity import Verifier
from dicomwire.association.acceptor import Acceptor
from dicomwire.association.options import AcceptorOptions, LocalEntity
from dicomwire.association.performer import Request, Services
from dicomwire.association.requestor import Context
from dicomwire.dimse.codec import decode, encode
from dicomwire.dimse.command import CEchoRq, CEchoRsp, Command, CStoreRq, CStoreRsp
from dicomwire.dimse.message import values
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, VERIFICATION
from dicomwire.upper_layer import codec
from dicomwire.upper_layer.items import MaximumLength, ProposedContext, UserItem
from dicomwire.upper_layer.negotiation import AcceptorPolicy
from dicomwire.upper_layer.pdu import AssociateRq, PData, Pdu, PresentationDataValue

CT = "1.2.840.10008.5.1.4.1.1.2"
FIND = "1.2.840.10008.5.1.4.1.2.2.1"
SYNTAXES = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)
POLICY = AcceptorPolicy(supported={VERIFICATION: SYNTAXES, CT: SYNTAXES, FIND: SYNTAXES})
CONTEXTS = (Context(VERIFICATION, SYNTAXES), Context(CT, SYNTAXES), Context(FIND, SYNTAXES))
ECHO_ID, CT_ID, FIND_ID = 1, 3, 5  # presentation context IDs of CONTEXTS
SOON = 5.0  # seconds that no step of a test may take


def entity(ae_title: str = "DICOMWIRE", policy: AcceptorPolicy = POLICY) -> LocalEntity:
    return LocalEntity(ae_title, policy)


def echo(request: Request) -> None:
    request.respond(CEchoRsp(request.command.message_id, 0, affected_sop_class_uid=VERIFICATION))


@dataclass
class Kept:
    """Data sets stored, and why some were not."""

    stored: list[bytes] = field(default_factory=list)
    aborted: list[str] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self, request: Request) -> KeptSink:
        return KeptSink(self, request)


class KeptSink:
    """Keeps one data set."""

    def __init__(self, kept: Kept, request: Request) -> None:
        self.kept = kept
        self.request = request
        self.data = bytearray()

    def write(self, data: memoryview) -> None:
        self.data += data
        self.kept.arrived.set()

    def finish(self) -> None:
        self.kept.stored.append(bytes(self.data))
        self.request.respond(CStoreRsp(self.request.command.message_id, 0))

    def abort(self, reason: str) -> None:
        self.kept.aborted.append(reason)


@asynccontextmanager
async def listening(
    services: Services | None = None,
    *,
    entities: Sequence[LocalEntity] = (),
    verifier: Verifier | None = None,
    **options: object,
) -> AsyncIterator[Acceptor]:
    """An acceptor on a free port of the loopback, with Verification unless told otherwise."""
    acceptor = Acceptor(
        AcceptorOptions(tuple(entities) or (entity(),), port=0, **options),  # type: ignore[arg-type]
        {(VERIFICATION, CEchoRq): echo} if services is None else services,
        verifier=verifier,
    )
    await acceptor.start()
    try:
        yield acceptor
    finally:
        await acceptor.stop(0)


class Raw:
    """A peer below all rules: bytes and PDUs over a socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, *pdus: Pdu | bytes) -> None:
        for pdu in pdus:
            self.writer.write(pdu if isinstance(pdu, bytes) else codec.encode(pdu))

    async def receive(self) -> Pdu:
        """The next PDU; IncompleteReadError where the peer has closed."""
        async with asyncio.timeout(SOON):
            header = await self.reader.readexactly(6)
            kind, length = struct.unpack(">BxI", header)
            body = await self.reader.readexactly(length)
        if kind == 4:
            return PData(tuple(_values(body)))
        return codec.decode(kind, memoryview(body))

    async def message(self) -> Command:
        """The next command, which has no data set."""
        return decode(await self.command_set()).command

    async def command_set(self) -> bytes:
        """The bytes of the next command."""
        data = bytearray()
        while True:
            pdu = await self.receive()
            assert isinstance(pdu, PData), pdu
            for value in pdu.values:
                data += value.data
                if value.control & 2:
                    return bytes(data)

    async def closed(self) -> bytes:
        """What comes until the peer closes."""
        async with asyncio.timeout(SOON):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""

    async def associate(self, *user_information: UserItem) -> Pdu:
        self.send(associate_rq(*user_information))
        return await self.receive()


def _values(body: bytes) -> list[PresentationDataValue]:
    found, position = [], 0
    while position < len(body):
        length, context, control = struct.unpack_from(">IBB", body, position)
        end = position + 4 + length
        found.append(PresentationDataValue(context, control, body[position + 6 : end]))
        position = end
    return found


@asynccontextmanager
async def raw(port: int, host: str = "127.0.0.1") -> AsyncIterator[Raw]:
    """A raw peer of an acceptor."""
    peer = Raw(*await asyncio.open_connection(host, port))
    try:
        yield peer
    finally:
        peer.writer.close()
        with suppress(OSError):
            await peer.writer.wait_closed()


def associate_rq(
    *user_information: UserItem, called: str = "DICOMWIRE", calling: str = "RAW", contexts: int = 3
) -> AssociateRq:
    proposed = tuple(
        ProposedContext(2 * index + 1, context.abstract_syntax, context.transfer_syntaxes)
        for index, context in enumerate(CONTEXTS[:contexts])
    )
    return AssociateRq(called, calling, proposed, (MaximumLength(16384), *user_information))


def pdus(context_id: int, command: Command, data: bytes | None = None) -> list[bytes]:
    """A message as P-DATA-TF PDUs."""
    pieces = None if data is None else [data]
    return [codec.encode(PData((value,))) for value in values(context_id, encode(command), pieces, 16384)]


def message(context_id: int, command: Command, data: bytes | None = None) -> bytes:
    """A whole message."""
    return b"".join(pdus(context_id, command, data))


def echo_rq(message_id: int = 1) -> bytes:
    return message(ECHO_ID, CEchoRq(message_id, VERIFICATION))


def store_rq(data: bytes, message_id: int = 1) -> bytes:
    return message(CT_ID, CStoreRq(message_id, CT, "1.2.3"), data)
