"""A tap between two devices: passes everything on, records it, tells its story, and injects faults.

Memory is bounded: what is not taken by one side is not read from the other; a connection's story is kept in
a few megabytes. Half-closed connections stay half open.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from dicomwire.diagnose.explain import explain
from dicomwire.diagnose.finding import Side, Story
from dicomwire.diagnose.trace import HEAD, Tap
from dicomwire.doctor.pdus import Pdus, Piece, changed, corrupted
from dicomwire.doctor.script import Action, Fault, Script
from dicomwire.upper_layer.codec import encode
from dicomwire.upper_layer.pdu import AssociateRj

CHUNK: Final = 65_536  # bytes read at once
STORY_BYTES: Final = 2 << 20  # of one connection kept for its story; of what follows, heads only
HEAD_KEPT: Final = 128  # bytes of a chunk beyond that
STORY_PACKETS: Final = 20_000
LAST_PACKETS: Final = 1_000  # for notes and the end, beyond these
MOST_CONNECTIONS: Final = 1_000  # at a time
CONNECT_SECONDS: Final = 10.0
NO_FAULTS: Final = Script()

_OTHER: Final = {Side.REQUESTOR: Side.ACCEPTOR, Side.ACCEPTOR: Side.REQUESTOR}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyOptions:
    """Where to listen, whom to pass everything to.

    Attributes:
        host, port: where to listen; port 0 takes a free one.
        target_host, target_port: whom to call for each connection.
        tls: a server context where callers speak TLS; what they say is passed on and recorded decrypted.
        target_tls: a client context where the target does.
        script: what to break.
    """

    host: str = "127.0.0.1"
    port: int
    target_host: str
    target_port: int
    tls: ssl.SSLContext | None = None
    target_tls: ssl.SSLContext | None = None
    script: Script = NO_FAULTS


@dataclass(slots=True, eq=False)
class Proxy:
    """A running proxy.

    Attributes:
        record: takes the bytes of a trace file behind its head, as they come.
        tell: takes a line for each PDU but P-DATA-TF, and for each fault.
        finished: takes the story of each connection that is over.
    """

    options: ProxyOptions
    record: Callable[[bytes], object] = lambda data: None
    tell: Callable[[str], object] = lambda line: None
    finished: Callable[[Story | None], object] = lambda story: None
    _server: asyncio.Server | None = None
    _connections: int = 0
    _open: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> None:
        """Listen. Raises: OSError."""
        self._server = await asyncio.start_server(
            self._accept, self.options.host, self.options.port, limit=CHUNK
        )

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Listen no more, and close what is open."""
        if self._server is not None:
            self._server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= MOST_CONNECTIONS:
            writer.transport.abort()
            return
        self._connections += 1
        task = asyncio.create_task(_Passage(self, self._connections).run(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)


class _Cut(Exception):
    """A fault ends the connection.

    Attributes:
        reset: with a TCP RST.
    """

    def __init__(self, *, reset: bool) -> None:
        super().__init__()
        self.reset = reset


class _Passage:
    """One connection on its way through."""

    def __init__(self, proxy: Proxy, number: int) -> None:
        self.proxy = proxy
        self.number = number
        self.tap = Tap(("", 0), ("", 0))  # of the record, with all bytes
        self.brief = Tap(("", 0), ("", 0))  # of the story
        self.packets: list[bytes] = []
        self.kept = 0
        self.counts: Counter[tuple[Side, str]] = Counter()
        self.active: dict[Side, Fault | None] = {}
        self.writers: dict[Side, asyncio.StreamWriter] = {}
        self.stalled: set[Side] = set()

    async def run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers[Side.REQUESTOR] = writer
        peer = writer.get_extra_info("peername") or ("", 0)
        options = self.proxy.options
        try:
            if options.tls is not None and not await self._secure(writer, options.tls, peer[0], peer[1]):
                return
            target = await self._connect((peer[0], peer[1]))
            if target is None:
                return
            self._tell(f"{peer[0]}:{peer[1]} connects to {options.target_host}:{options.target_port}")
            await self._pass_all(reader, target)
        except _Cut as cut:
            self._note_end(Side.ACCEPTOR, reset=cut.reset)
            for each in self.writers.values():
                _end(each, reset=cut.reset)
        finally:
            for each in self.writers.values():
                each.close()
            self.proxy.finished(self._story())

    async def _secure(
        self, writer: asyncio.StreamWriter, context: ssl.SSLContext, host: str, port: int
    ) -> bool:
        """The TLS handshake with who calls; whether it succeeded."""
        try:
            await writer.start_tls(context, ssl_handshake_timeout=CONNECT_SECONDS)
        except (OSError, TimeoutError) as error:
            self._tell(f"no TLS with {host}:{port}: {error or 'no handshake'}")
            writer.transport.abort()
            return False
        return True

    async def _connect(self, client: tuple[str, int]) -> asyncio.StreamReader | None:
        options = self.proxy.options
        self._name(client, (options.target_host, options.target_port))
        fault = options.script.of_connection(self.number)
        if fault is not None:
            self._keep(Tap.connected)
            await self._on_connect(fault)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                reader, writer = await asyncio.open_connection(
                    options.target_host, options.target_port, limit=CHUNK, ssl=options.target_tls
                )
        except (OSError, TimeoutError) as error:
            self._keep(Tap.refused)
            self._tell(f"no connection to {options.target_host}:{options.target_port}: {error}")
            self.writers[Side.REQUESTOR].transport.abort()
            return None
        self.writers[Side.ACCEPTOR] = writer
        server = writer.get_extra_info("peername")
        if fault is None:
            self._name(client, (server[0], server[1]))
            self._keep(Tap.connected)
        return reader

    async def _on_connect(self, fault: Fault) -> None:
        self._tell(fault.words)
        self._keep(lambda tap, now: tap.note(f"fault: {fault.words}", now))
        if fault.action is Action.DELAY:
            await asyncio.sleep(fault.seconds)
        elif fault.action is Action.STALL:
            self.stalled |= {Side.REQUESTOR, Side.ACCEPTOR}
        else:
            raise _Cut(reset=fault.action is Action.RESET)

    async def _pass_all(self, reader: asyncio.StreamReader, target: asyncio.StreamReader) -> None:
        tasks = [
            asyncio.create_task(self._pass(Side.REQUESTOR, reader)),
            asyncio.create_task(self._pass(Side.ACCEPTOR, target)),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _pass(self, side: Side, reader: asyncio.StreamReader) -> None:
        """Everything of one side, until it closes; then the other side is told so."""
        pdus = Pdus()
        try:
            while data := await reader.read(CHUNK):
                for piece in pdus.feed(data):
                    await self._piece(side, piece)
            await self._send(side, pdus.rest())
        except ConnectionError:
            self._note_end(side, reset=True)
            raise _Cut(reset=True) from None
        self._note_end(side, reset=False)
        writer = self.writers[_OTHER[side]]
        with suppress(OSError):
            if writer.can_write_eof():
                writer.write_eof()
            else:
                writer.close()  # TLS has no half-closed connections here

    async def _piece(self, side: Side, piece: Piece) -> None:
        if piece.first:
            self.active[side] = self._fault(side, piece.name)
        fault = self.active.get(side)
        if fault is None:
            await self._send(side, piece.data)
            return
        match fault.action:
            case Action.DELAY:
                if piece.first:
                    await asyncio.sleep(fault.seconds)
                await self._send(side, piece.data)
            case Action.DROP:
                self._swallow(side, piece.data)
            case Action.STALL:
                self.stalled.add(side)
                self._swallow(side, piece.data)
            case Action.CUT | Action.RESET:
                await self._send(side, piece.data[: max(0, fault.bytes - piece.offset)])
                if piece.offset + len(piece.data) >= fault.bytes:
                    raise _Cut(reset=fault.action is Action.RESET)
            case Action.REFUSE:
                rejection = AssociateRj(fault.result, fault.source, fault.reason)
                self._record(side, piece.data)
                await self._send(Side.ACCEPTOR, encode(rejection))
                raise _Cut(reset=False)
            case Action.CORRUPT:
                await self._send(side, corrupted(piece, fault))
            case _:
                await self._send(side, changed(piece.data, fault))

    def _fault(self, side: Side, name: str) -> Fault | None:
        """The fault of a PDU that begins."""
        self.counts[side, name] += 1
        self.counts[side, ""] += 1
        if name != "P-DATA-TF":
            self._tell(f"{'→' if side is Side.REQUESTOR else '←'} {name}")
        count, total = self.counts[side, name], self.counts[side, ""]
        fault = self.proxy.options.script.of_pdu(self.number, side, name, count, total)
        if fault is not None:
            self._tell(f"fault: {fault.words}")
            words = fault.words
            self._keep(lambda tap, now: tap.note(f"fault: {words}", now))
        return fault

    async def _send(self, side: Side, data: bytes) -> None:
        """Pass on what a side said, or is made to say."""
        if not data or side in self.stalled:
            self._swallow(side, data)
            return
        self._record(side, data)
        writer = self.writers[_OTHER[side]]
        writer.write(data)
        await writer.drain()

    def _swallow(self, side: Side, data: bytes) -> None:
        """Not passed on: the story is told as the requestor sees it, who knows what it said itself."""
        if data and side is Side.REQUESTOR:
            self._record(side, data)

    # -- the story

    def _record(self, side: Side, data: bytes) -> None:
        now = time.time()
        self.proxy.record(self.tap.sent(side, data, now))
        kept = data if self.kept + len(data) <= STORY_BYTES else data[:HEAD_KEPT]
        if len(self.packets) < STORY_PACKETS:
            self.kept += len(kept)
            self.packets.append(self.brief.sent(side, kept, now, length=len(data)))

    def _keep(self, packet: Callable[[Tap, float], bytes]) -> None:
        now = time.time()
        self.proxy.record(packet(self.tap, now))
        if len(self.packets) < STORY_PACKETS + LAST_PACKETS:
            self.packets.append(packet(self.brief, now))

    def _name(self, client: tuple[str, int], server: tuple[str, int]) -> None:
        self.tap, self.brief = Tap(client, server), Tap(client, server)

    def _note_end(self, side: Side, *, reset: bool) -> None:
        self._keep(lambda tap, now: tap.closed(side, now, reset=reset))

    def _story(self) -> Story | None:
        stories = explain("proxy", [HEAD, *self.packets]).stories
        return stories[0] if stories and stories[0].kind != "capture" else None

    def _tell(self, words: str) -> None:
        moment = time.strftime("%H:%M:%S", time.localtime())
        self.proxy.tell(f"{moment} #{self.number} {words}")


def _end(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    if not reset:
        writer.close()
        return
    own = writer.get_extra_info("socket")
    if own is not None and own.fileno() >= 0:  # it is closed where the peer has reset it
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
