"""`dicomwire.connect`: one association for what an application wants of a peer (PS3.8 7.1, PS3.7 D.3.3)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from dicomwire.association import address
from dicomwire.association.address import Address
from dicomwire.association.options import RequestorOptions
from dicomwire.association.performer import Services
from dicomwire.association.requestor import Context
from dicomwire.errors import LocalProtocolError
from dicomwire.services import proposals
from dicomwire.services.client import Client
from dicomwire.services.lines import Call, Lines
from dicomwire.services.proposals import COMMON_STORAGE, EVERYTHING, QueryOptions, Use
from dicomwire.services.quiet import keep_quiet
from dicomwire.uids import UNCOMPRESSED_TRANSFER_SYNTAXES

DEFAULTS = RequestorOptions()
QUERY_DEFAULTS = QueryOptions()
LEFT = 3  # turns of the loop in which an iteration that was left sends its C-CANCEL, before the release


@asynccontextmanager
async def connect(
    peer: str | Address,
    port: int | None = None,
    *,
    called_ae_title: str = "",
    calling_ae_title: str = "DICOMWIRE",
    uses: Iterable[Use | str] = EVERYTHING,
    storage: Sequence[str] = COMMON_STORAGE,
    contexts: Iterable[Context | str] = (),
    query_options: QueryOptions = QUERY_DEFAULTS,
    services: Services | None = None,
    options: RequestorOptions = DEFAULTS,
) -> AsyncIterator[Client]:
    """Open an association for the length of an `async with`: released behind it, aborted when it raises.

    Args:
        peer: `AE@HOST:PORT`; or a host, with `port` and `called_ae_title`.
        uses: what the association is for, such as `{"echo", "find"}`: only what that needs is proposed.
        storage: SOP classes to get and to store, the most important first. The fewer, the more compressed
            transfer syntaxes can come as they are stored. Without it, those that are not common are got over
            further associations, where something could not be sent.
        contexts: further presentation contexts, or UIDs of SOP classes, for the DIMSE-N services.
        query_options: what extended negotiation asks for.
        services: for what else the peer may invoke, such as N-EVENT-REPORT.
        options: timeouts, TLS, user identity, and what else an association can have.

    Raises: AddressError; ConnectionFailed, Rejected, NoAcceptedContext and the other AssociationErrors, when
        there is no association; LocalProtocolError, when the proposal cannot be.
    """
    keep_quiet()
    where = _address(peer, port, called_ae_title)
    wanted = _uses(uses)
    others = [each if isinstance(each, Context) else _context(each) for each in contexts]
    proposal = proposals.propose(wanted, storage=storage, others=others)
    opened = replace(
        options,
        roles=(*options.roles, *proposal.roles),
        extended=(*options.extended, *query_options.items(wanted)),
    )
    lines = Lines(Call(where, calling_ae_title, opened), proposal.contexts, services)
    await lines.open()
    uncommon = proposals.other_storage() if storage is COMMON_STORAGE and Use.GET in wanted else ()
    try:
        yield Client(lines, Call(where, calling_ae_title, options), uncommon)
    except BaseException as error:
        lines.abort(f"{type(error).__name__} in the application")
        await lines.wait_closed()
        raise
    for _ in range(LEFT):
        await asyncio.sleep(0)
    await lines.release()


def _uses(uses: Iterable[Use | str]) -> frozenset[Use]:
    try:
        return frozenset(Use(each) for each in uses)
    except ValueError as error:
        raise LocalProtocolError(f"{error}; uses are {', '.join(use.value for use in Use)}") from None


def _address(peer: str | Address, port: int | None, called_ae_title: str) -> Address:
    if isinstance(peer, Address):
        return peer
    if port is None:
        return address.parse(peer)
    host = f"[{peer}]" if ":" in peer else peer
    return address.parse(f"{called_ae_title}@{host}:{port}")


def _context(sop_class_uid: str) -> Context:
    return Context(sop_class_uid, UNCOMPRESSED_TRANSFER_SYNTAXES[:2])
