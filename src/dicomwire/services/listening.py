"""An SCP in a few lines: Verification, Storage into what takes it, services of one's own (PS3.4 A, B).

    async with dicomwire.listen("STORESCP", 11113, store=dicomwire.Folder("received")):
        await asyncio.Event().wait()

The node of `dicomwire serve` is composed in `node`; this is for applications and for commands.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import IO, Final

from dicomwire.association.acceptor import Acceptor
from dicomwire.association.options import AcceptorOptions, Check, LocalEntity
from dicomwire.association.performer import Services
from dicomwire.errors import ConnectionFailed
from dicomwire.services import receiving, verification
from dicomwire.services.data_sets import ReceivedInstance
from dicomwire.services.quiet import keep_quiet
from dicomwire.services.receiving import IN_MEMORY, Arrival, Receiver
from dicomwire.services.telling import SYNTAXES
from dicomwire.uids import (
    PRIVATE_STORAGE_SOP_CLASSES,
    STORAGE_SERVICE_CLASS,
    STORAGE_TRANSFER_SYNTAXES,
    UNCOMPRESSED_TRANSFER_SYNTAXES,
    VERIFICATION,
    storage_sop_classes,
)
from dicomwire.upper_layer.negotiation import AcceptorPolicy, RolePolicy

GRACE: Final = 5.0  # seconds that operations under way have when nobody listens any more

Taker = Receiver | Callable[[ReceivedInstance], Awaitable[None]]


class Calling:
    """A receiver that gives each instance to a function, and answers when that returns."""

    def __init__(self, take: Callable[[ReceivedInstance], Awaitable[None]]) -> None:
        self._take = take

    def open(self, arrival: Arrival) -> IO[bytes]:
        """A spool in memory, or a temporary file."""
        return tempfile.SpooledTemporaryFile(IN_MEMORY)

    async def keep(self, arrival: Arrival, spool: IO[bytes]) -> None:
        """Call the function; NotTaken is answered with its status, anything else with 0110H."""
        await self._take(ReceivedInstance(arrival, spool))

    def drop(self, spool: IO[bytes]) -> None:
        """Forget it."""
        spool.close()


@asynccontextmanager
async def taking_reports(
    ae_title: str, host: str, port: int, sop_class_uid: str, services: Services
) -> AsyncIterator[Acceptor]:
    """Take N-EVENT-REPORTs of a SOP class for the length of an `async with`.

    Who reports opens the association, as the SCP, a role that it has to propose (PS3.7 D.3.3.4).

    Raises: ConnectionFailed, when the port cannot be had.
    """
    policy = AcceptorPolicy(
        supported={VERIFICATION: SYNTAXES, sop_class_uid: SYNTAXES},
        roles={sop_class_uid: RolePolicy(scu=True, scp=True)},
    )
    options = AcceptorOptions((LocalEntity(ae_title, policy),), host=host, port=port)
    acceptor = Acceptor(options, {**verification.SERVICES, **services})
    try:
        await acceptor.start()
    except OSError as error:
        raise ConnectionFailed(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
    try:
        yield acceptor
    finally:
        await acceptor.stop(1.0)


@asynccontextmanager
async def listen(
    ae_title: str,
    port: int,
    *,
    host: str = "127.0.0.1",
    store: Taker | None = None,
    services: Services | None = None,
    sop_classes: Iterable[str] = (),
    called: Check = Check.OFF,
    options: AcceptorOptions | None = None,
) -> AsyncIterator[Acceptor]:
    """Listen for the length of an `async with`, whoever calls.

    Args:
        port: 0 takes a free one, which is the acceptor's `port`.
        host: only this machine can call, unless another address is given.
        store: takes instances: a `Folder`, or a function of each that raises `NotTaken` to refuse it. Every
            storage SOP class is accepted then, in every transfer syntax.
        services: further ones, by abstract syntax and request message.
        sop_classes: of these services, uncompressed.
        called: whether the called AE title must be ours.
        options: timeouts, limits, TLS; its entities, host and port do not count.

    Raises: OSError, when the port cannot be had.
    """
    keep_quiet()
    supported: dict[str, tuple[str, ...]] = dict.fromkeys(
        (VERIFICATION, *sop_classes), UNCOMPRESSED_TRANSFER_SYNTAXES
    )
    performed = {**verification.SERVICES, **(services or {})}
    stored: tuple[str, ...] = ()
    if store is not None:
        receiver = store if isinstance(store, Receiver) else Calling(store)
        performed = {**receiving.services(lambda: receiver), **performed}
        stored = STORAGE_TRANSFER_SYNTAXES
        supported |= dict.fromkeys((*storage_sop_classes(), *PRIVATE_STORAGE_SOP_CLASSES), stored)
    policy = AcceptorPolicy(
        supported=supported,
        service_classes={STORAGE_SERVICE_CLASS: stored} if stored else {},
        unregistered=stored,
    )
    entities = (LocalEntity(ae_title, policy, Check.OFF),)
    given = options or AcceptorOptions(entities)
    acceptor = Acceptor(replace(given, entities=entities, host=host, port=port, called=called), performed)
    await acceptor.start()
    try:
        yield acceptor
    finally:
        await acceptor.stop(GRACE)
