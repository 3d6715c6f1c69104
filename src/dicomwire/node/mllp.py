"""HL7 over MLLP: a listener that takes orders and acknowledges them (HL7 v2.5.1 Appendix C, MLLP R1)."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from time import time
from typing import Final

import structlog

from dicomwire.association.words import printable
from dicomwire.errors import ConfigurationError, WorkError
from dicomwire.node.work_settings import HL7Settings
from dicomwire.work.hl7_acknowledgement import acknowledgements
from dicomwire.work.hl7_message import Header, Rejected, header_of, with_segment_ends
from dicomwire.work.hl7_orders import orders_of
from dicomwire.work.hl7_worklist import carry_out
from dicomwire.work.store import Store

START: Final = b"\x0b"
END: Final = b"\x1c\r"
LIMIT: Final = 1 << 20  # bytes of one message

log = structlog.get_logger()


class Listener:
    """Takes HL7 messages on a port, if one is configured."""

    def __init__(self, store: Store, settings: HL7Settings) -> None:
        self._store = store
        self._settings = settings
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """Where it listens; 0 when it does not."""
        return int(self._server.sockets[0].getsockname()[1]) if self._server is not None else 0

    async def start(self) -> None:
        """Listen. Raises: ConfigurationError."""
        settings = self._settings
        if settings.port is None:
            return
        try:
            self._server = await asyncio.start_server(
                self._serve, settings.host, settings.port, limit=LIMIT, backlog=64
            )
        except OSError as error:
            where = f"{settings.host}:{settings.port}"
            raise ConfigurationError(f"cannot listen on {where} (hl7.host, hl7.port): {error}") from None
        log.info("hl7.listening", host=settings.host, port=self.port)

    async def stop(self) -> None:
        """Take no more; connections end at once, for every message is acknowledged or not there."""
        if self._server is None:
            return
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._tasks) >= self._settings.connections:
            writer.close()
            return
        self._tasks.add(task)
        peer = str(writer.get_extra_info("peername"))
        try:
            while (message := await self._message(reader)) is not None:
                for answer in await self._answered(message, peer):
                    writer.write(START + answer + END)
                async with asyncio.timeout(self._settings.timeout):
                    await writer.drain()
        except (OSError, TimeoutError, asyncio.LimitOverrunError) as error:
            log.info("hl7.closed", peer=peer, reason=str(error) or type(error).__name__)
        finally:
            self._tasks.discard(task)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _message(self, reader: asyncio.StreamReader) -> bytes | None:
        """The next message; None when there is none, or when what comes is none: a cut one changes nothing.

        Raises: TimeoutError, LimitOverrunError.
        """
        async with asyncio.timeout(self._settings.idle):
            first = await reader.read(1)
        if not first:
            return None
        if first != START:
            log.warning("hl7.not_mllp", first=first.hex())
            return None
        try:
            async with asyncio.timeout(self._settings.timeout):
                found = (await reader.readuntil(END))[: -len(END)]
            cut, begun, whole = found.rpartition(START)
            if begun:  # its sender gave one up and began anew
                log.warning("hl7.cut", bytes=len(cut))
            return with_segment_ends(whole)
        except asyncio.IncompleteReadError as error:
            log.warning("hl7.cut", bytes=len(error.partial))
            return None

    async def _answered(self, message: bytes, peer: str) -> list[bytes]:
        now = time()
        header = header_of(message)
        try:
            rejected, items = None, await self._carried_out(message, now)
        except Rejected as error:
            rejected, items = error, 0
        except WorkError as error:
            rejected, items = Rejected("AE", str(error)), 0
        _log(header, rejected, items, peer)
        return acknowledgements(header, rejected, now=now, order_reply=self._settings.reply == "order")

    async def _carried_out(self, message: bytes, now: float) -> int:
        orders = orders_of(message, self._settings.stations, self._settings.character_set)
        return await self._store.change(lambda change: carry_out(change, orders, now=now))


def _log(header: Header, rejected: Rejected | None, items: int, peer: str) -> None:
    control_id = printable(header.control_id)
    if rejected is None:
        log.info("hl7.carried_out", peer=peer, control_id=control_id, items=items)
    else:
        reason = printable(rejected.words)
        log.warning("hl7.rejected", peer=peer, control_id=control_id, code=rejected.code, reason=reason)
