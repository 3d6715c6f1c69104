"""An acceptor with the services of the store of work, and associations with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from dicomwire.association.acceptor import Acceptor
from dicomwire.association.association import Association
from dicomwire.association.options import AcceptorOptions, LocalEntity, RequestorOptions
from dicomwire.association.performer import Services
from dicomwire.association.requestor import Context, connect
from dicomwire.services.move import Destination
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from dicomwire.upper_layer.items import RoleSelection
from dicomwire.upper_layer.negotiation import AcceptorPolicy, RolePolicy
from dicomwire.work.jobs import TOPIC as JOBS
from dicomwire.work.jobs import Kind, Retry, State, counts
from dicomwire.work.runner import Runner, RunnerOptions
from dicomwire.work.store import Store, open_store

SYNTAXES = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)
SOON = 5.0  # seconds that no step of a test may take


@dataclass
class Department:
    """A store, and an acceptor for what is done on it."""

    store: Store
    acceptor: Acceptor

    def connect(
        self,
        *sop_class_uids: str,
        calling_ae_title: str = "CT1",
        services: Services | None = None,
        roles: Sequence[RoleSelection] = (),
    ) -> AbstractAsyncContextManager[Association]:
        return connect(
            "127.0.0.1",
            self.acceptor.port,
            called_ae_title="RIS",
            calling_ae_title=calling_ae_title,
            contexts=[Context(uid, SYNTAXES) for uid in sop_class_uids],
            services=services,
            options=RequestorOptions(roles=tuple(roles)),
        )


@asynccontextmanager
async def listening(services: Services, *, scp_roles: Sequence[str] = ()) -> AsyncIterator[Acceptor]:
    """An acceptor for these services."""
    policy = AcceptorPolicy(
        supported={uid: SYNTAXES for uid, _ in services},
        roles=dict.fromkeys(scp_roles, RolePolicy(scu=True, scp=True)),
    )
    acceptor = Acceptor(AcceptorOptions((LocalEntity("RIS", policy),), port=0), services)
    await acceptor.start()
    try:
        yield acceptor
    finally:
        await acceptor.stop(0.5)


@asynccontextmanager
async def department(
    folder: Path, services: Callable[[Store], Services], *, scp_roles: Sequence[str] = ()
) -> AsyncIterator[Department]:
    """A department on a new store."""
    store = open_store(folder)
    store.start(asyncio.get_running_loop())
    try:
        async with listening(services(store), scp_roles=scp_roles) as acceptor:
            yield Department(store, acceptor)
    finally:
        await store.stop()


def destination(ae_title: str, port: int) -> Destination:
    """A peer that listens on a port."""

    def call(
        contexts: Sequence[Context],
        calling_ae_title: str = "",
        *,
        roles: Sequence[RoleSelection] = (),
        services: Services | None = None,
    ) -> AbstractAsyncContextManager[Association]:
        return connect(
            "127.0.0.1",
            port,
            called_ae_title=ae_title,
            calling_ae_title=calling_ae_title or "RIS",
            contexts=contexts,
            services=services,
            options=replace(RequestorOptions(), roles=tuple(roles)),
        )

    return Destination(ae_title, call)


@asynccontextmanager
async def running(store: Store, kinds: Mapping[str, Kind]) -> AsyncIterator[None]:
    """Jobs are run, failed ones again at once."""
    runner = Runner(store, kinds, RunnerOptions(Retry(first=0.01, longest=0.01)))
    await runner.start()
    try:
        yield
    finally:
        await runner.stop(0.5)


async def until(store: Store, state: State, count: int) -> None:
    """Wait until so many jobs are in a state."""
    changed = asyncio.Event()
    store.listen(JOBS, changed.set)
    async with asyncio.timeout(SOON):
        while True:
            changed.clear()
            if (await store.change(counts))[state] >= count:
                return
            await changed.wait()
