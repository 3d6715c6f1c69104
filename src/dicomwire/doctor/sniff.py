"""What listens on a port that does not answer in DICOM: a few harmless first words of other protocols.

Raw sockets, read only to be recognised: the journal keeps what came, the rules say what it is.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeAlias

from dicomwire.association.tls import Stream, client_context
from dicomwire.doctor.journal import Journal, Line
from dicomwire.protocols import Protocol, protocol_of

MOST_READ: Final = 4_096  # bytes of an answer
LATE_ALERT: Final = 0.3  # seconds in which a TLS 1.3 server refuses a handshake that we took for done
HTTP_REQUEST: Final = b"OPTIONS * HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n"
# An application management query (HL7 v2.5.1 14.3.1): it asks for nothing and changes nothing.
HL7_REQUEST: Final = (
    b"\x0bMSH|^~\\&|DICOMWIRE||||19700101000000||NMQ^N01|1|P|2.5\r"
    b"QRD|19700101000000|R|I|1|||1^RD||STA\r\x1c\r"
)

Addresses: TypeAlias = tuple[str, ...]


class NotResolved(Exception):
    """A name without an address; the words say why."""


async def resolve(host: str, budget: float) -> Addresses:
    """Numeric addresses of a name, IPv4 and IPv6 in the system's order.

    Raises: NotResolved.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Addresses] = loop.create_future()
    # A thread of our own: the loop's are waited for at the end, however long a lookup takes.
    threading.Thread(target=_look_up, args=(host, loop, answer), daemon=True).start()
    try:
        async with asyncio.timeout(budget):
            return await answer
    except TimeoutError:
        raise NotResolved(f"no answer of the name server within {budget:g} s") from None


def _look_up(host: str, loop: asyncio.AbstractEventLoop, answer: asyncio.Future[Addresses]) -> None:
    found: Addresses | NotResolved
    try:
        rows = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        found = tuple(dict.fromkeys(str(row[4][0]) for row in rows))
    except (OSError, UnicodeError) as error:
        found = NotResolved(getattr(error, "strerror", None) or str(error))
    with suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(_settle, answer, found)


def _settle(answer: asyncio.Future[Addresses], found: Addresses | NotResolved) -> None:
    if answer.done():
        return
    if isinstance(found, NotResolved):
        answer.set_exception(found)
    else:
        answer.set_result(found)


@dataclass(frozen=True, slots=True)
class Sniffed:
    """What a port turned out to speak.

    Attributes:
        protocol: None where it said nothing that is known.
        words: for people.
        tls_error: why a TLS handshake failed, where it speaks TLS.
    """

    protocol: Protocol | None
    words: str
    tls_error: ssl.SSLError | None = None


async def sniff(journal: Journal, host: str, port: int, *, name: str, budget: float) -> Sniffed:
    """Say a few first words of TLS, HTTP and HL7, each on a connection of its own."""
    tls, http, hl7 = await asyncio.gather(
        _try_tls(journal.line(), host, port, context=client_context(), name=name, budget=budget),
        _ask(journal.line(), host, port, HTTP_REQUEST % name.encode("ascii", "replace"), budget),
        _ask(journal.line(), host, port, HL7_REQUEST, budget),
    )
    if tls.protocol is Protocol.TLS:
        return tls
    for first in (http, hl7):
        protocol = protocol_of(first) if first else None
        if protocol not in (None, Protocol.UNKNOWN):
            return Sniffed(protocol, f"the port speaks {protocol}")
    heard = [first for first in (http, hl7) if first]
    if heard:
        return Sniffed(Protocol.UNKNOWN, f"the port answers {heard[0][:16].hex(' ')}")
    return Sniffed(None, "no answer to a ClientHello of TLS, a request of HTTP or a message of HL7 either")


async def _ask(line: Line, host: str, port: int, words: bytes, budget: float) -> bytes:
    """Say something and take the first answer."""
    first = b""
    try:
        async with asyncio.timeout(budget):
            reader, writer = await asyncio.open_connection(host, port)
            _open(line, writer)
            try:
                line.sent((words,))
                writer.write(words)
                first = await reader.read(MOST_READ)
                line.received(first)
            finally:
                await _close(line, writer, by_peer=not first)
    except (OSError, TimeoutError) as error:
        line.closed(by_peer=isinstance(error, ConnectionError), error=error)
    return first


def widest_context() -> ssl.SSLContext:
    """A client context that takes whatever TLS there is, only to see what it is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


def describe_versions(context: ssl.SSLContext) -> str:
    """The TLS versions that a context offers."""
    named = {ssl.TLSVersion.TLSv1_2: "TLS 1.2", ssl.TLSVersion.TLSv1_3: "TLS 1.3"}
    low, high = context.minimum_version, context.maximum_version
    most = high if high > 0 else ssl.TLSVersion.TLSv1_3
    return ", ".join(name for version, name in named.items() if low <= version <= most)


async def try_any_tls(journal: Journal, host: str, port: int, budget: float) -> str:
    """The TLS version and cipher that a peer agrees to, "" where there is none."""
    found = await _try_tls(journal.line(), host, port, context=widest_context(), name=host, budget=budget)
    return found.words if found.protocol is Protocol.TLS and found.tls_error is None else ""


async def _try_tls(
    line: Line, host: str, port: int, *, context: ssl.SSLContext, name: str, budget: float
) -> Sniffed:
    """Begin TLS; a certificate that is refused is TLS all the same."""
    stream = Stream(context, server_side=False, server_hostname=name)
    error: ssl.SSLError | None = None
    try:
        async with asyncio.timeout(budget):
            reader, writer = await asyncio.open_connection(host, port)
            _open(line, writer)
            try:
                error = await _handshake(stream, line, reader, writer)
            finally:
                await _close(line, writer, by_peer=not stream.established)
    except (OSError, TimeoutError) as failure:
        line.closed(by_peer=isinstance(failure, ConnectionError), error=failure)
    first = line.first
    if first is None or protocol_of(first) is not Protocol.TLS:
        return Sniffed(None, "no TLS")
    words = f"the port speaks TLS; {error.reason or error}" if error else f"it speaks {stream.describe()}"
    if error is None and not stream.established:
        error = ssl.SSLError(0, "the handshake was broken off")
    return Sniffed(Protocol.TLS, words, error)


async def _handshake(
    stream: Stream, line: Line, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> ssl.SSLError | None:
    """Shake hands; what the peer did not like, None where it went well."""
    try:
        while not stream.handshake():
            _send(stream, line, writer)
            data = await reader.read(MOST_READ)
            if not data:
                return None
            line.received(data)
            stream.feed(data)
        _send(stream, line, writer)
        with suppress(TimeoutError):
            async with asyncio.timeout(LATE_ALERT):
                data = await reader.read(MOST_READ)
                stream.feed(data)
                stream.receive(memoryview(bytearray(MOST_READ)), lambda count: None)
    except ssl.SSLError as error:
        _send(stream, line, writer)
        return error
    return None


def _send(stream: Stream, line: Line, writer: asyncio.StreamWriter) -> None:
    data = stream.outgoing()
    if data:
        line.sent((data,))
        writer.write(data)


def _open(line: Line, writer: asyncio.StreamWriter) -> None:
    own, peer = writer.get_extra_info("sockname"), writer.get_extra_info("peername")
    line.opened((own[0], own[1]), (peer[0], peer[1]))


async def _close(line: Line, writer: asyncio.StreamWriter, *, by_peer: bool) -> None:
    line.closed(by_peer=by_peer, error=None)
    writer.close()
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(0.2):
            await writer.wait_closed()
