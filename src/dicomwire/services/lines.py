"""The associations of one client: the first, and others for what is asked while that is busy (PS3.7 D.3.3.3).

Few peers take several operations at once over one association. So whoever asks something in the middle of a
loop over answers asks it over another association, opened like the first and kept for the next time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from math import inf
from typing import Final

from dicomwire.association import requestor
from dicomwire.association.address import Address
from dicomwire.association.association import Association
from dicomwire.association.options import RequestorOptions
from dicomwire.association.performer import Services
from dicomwire.association.requestor import Context
from dicomwire.dimse import status
from dicomwire.errors import AssociationError, LocalProtocolError
from dicomwire.services import receiving
from dicomwire.services.receiving import NotTaken, Receiver

MOST: Final = 16  # associations of one client at once: loops within loops, or tasks beside each other


@dataclass(frozen=True, slots=True)
class Call:
    """How associations with a peer are requested."""

    address: Address
    calling_ae_title: str
    options: RequestorOptions

    def open(
        self, contexts: Sequence[Context], services: Services | None = None
    ) -> AbstractAsyncContextManager[Association]:
        """An association with these contexts, for the length of an `async with`."""
        return requestor.connect(
            self.address.host,
            self.address.port,
            called_ae_title=self.address.ae_title,
            calling_ae_title=self.calling_ae_title,
            contexts=contexts,
            services=services,
            options=self.options,
        )

    async def request(self, contexts: Sequence[Context], services: Services) -> Association:
        """The same, released by whoever asked for it."""
        return await requestor.request_association(
            self.address.host,
            self.address.port,
            called_ae_title=self.address.ae_title,
            calling_ae_title=self.calling_ae_title,
            contexts=contexts,
            services=services,
            options=self.options,
        )


@dataclass(slots=True)
class Reception:
    """Who takes the instances that a peer sends back, while a C-GET is under way."""

    receiver: Receiver | None = None

    def current(self) -> Receiver:
        """The receiver.

        Raises: NotTaken, when nobody has asked for instances.
        """
        if self.receiver is None:
            raise NotTaken("No C-GET is under way", status.OUT_OF_RESOURCES)
        return self.receiver


@dataclass(slots=True)
class Line:
    """One association, and how many operations are under way on it."""

    association: Association
    reception: Reception = field(default_factory=Reception)
    under_way: int = 0

    def free(self, receiver: Receiver | None) -> bool:
        """Whether one more operation can be invoked; only one at a time has instances sent back.

        One that was given up has them still, until its final answer comes.
        """
        most = self.association.agreement.invoke or inf
        return (
            self.association.ended is None
            and self.under_way < most
            and (receiver is None or not (self.reception.receiver or self.association.busy))
        )


class Lines:
    """All associations of one client."""

    def __init__(self, call: Call, contexts: Sequence[Context], services: Services | None) -> None:
        """Prepare; nothing is opened before `open`.

        Args:
            contexts: of each association.
            services: performed on each, beside C-STORE for what a C-GET brings.
        """
        self._call = call
        self._contexts = contexts
        self._services: Services = services or {}
        self._lines: list[Line] = []

    @property
    def first(self) -> Association:
        """The one that is always there."""
        return self._lines[0].association

    async def open(self) -> Line:
        """Open one more.

        Raises: AssociationError, as `requestor.request_association`.
        """
        if len(self._lines) >= MOST:
            raise LocalProtocolError(f"{MOST} operations are under way: one more has to wait for one of them")
        reception = Reception()
        services = {**receiving.services(reception.current), **self._services}
        line = Line(await self._call.request(self._contexts, services), reception)
        self._lines.append(line)
        return line

    @asynccontextmanager
    async def use(self, receiver: Receiver | None = None) -> AsyncIterator[Association]:
        """An association that is free for one operation.

        Args:
            receiver: takes the instances that the operation brings.

        Raises: AssociationEnded, when the first is over; AssociationError, when another cannot be opened.
        """
        if self.first.ended is not None:
            raise self.first.ended
        self._lines = [self._lines[0], *(each for each in self._lines[1:] if each.association.ended is None)]
        line = next((each for each in self._lines if each.free(receiver)), None) or await self.open()
        line.under_way += 1
        if receiver is not None:
            line.reception.receiver = receiver
        try:
            yield line.association
        finally:
            line.under_way -= 1
            if receiver is not None:
                line.reception.receiver = None

    async def release(self) -> None:
        """End all in order; how a peer takes that is for the log."""
        await asyncio.gather(*(_release(line.association) for line in self._lines))

    def abort(self, why: str) -> None:
        """End all at once."""
        for line in self._lines:
            line.association.abort(why=why)

    async def wait_closed(self) -> None:
        """Wait until all transports are closed."""
        for line in self._lines:
            await line.association.wait_closed()


async def _release(association: Association) -> None:
    with suppress(AssociationError):
        await association.release()
