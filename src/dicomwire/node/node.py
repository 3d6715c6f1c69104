"""One node: its archive, its two doors, and what it tells of itself."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime
from errno import EADDRINUSE, EADDRNOTAVAIL
from time import time

import structlog

from dicomwire import __version__
from dicomwire.access.identity import Verifier
from dicomwire.association.acceptor import Acceptor
from dicomwire.association.association import Association
from dicomwire.association.flight import FlightRecorder
from dicomwire.association.performer import Services
from dicomwire.errors import ConfigurationError
from dicomwire.node import identity, peers, store, web_door
from dicomwire.node.compaction import Compaction
from dicomwire.node.dimse_door import acceptor_options, ae_titles
from dicomwire.node.facts import AssociationFacts, Door, Facts, PeerFacts, State, location, reachable
from dicomwire.node.gateways import Gateways
from dicomwire.node.metrics import counted
from dicomwire.node.settings import DimseSettings, PeerSettings, Settings, WebSettings
from dicomwire.node.work import Work
from dicomwire.services import find, get, move, storage, verification
from dicomwire.services.permission import permitted
from dicomwire.services.retrieval import Retriever
from dicomwire.web.server import Server, bind

log = structlog.get_logger()


class Node:
    """A node: made from settings outside of any loop, then started and stopped in one."""

    def __init__(self, settings: Settings) -> None:
        """Open what can fail: certificates, keys, ports, the data folder.

        Raises: ConfigurationError, whose one line says what to change.
        """
        self._settings = settings
        self._state = State.STARTING
        self._started = time()
        self._performed: Counter[str] = Counter()
        self._answered: Counter[str] = Counter()
        self._sent: Counter[str] = Counter()
        self._flight = FlightRecorder(settings.dimse.limits.recorded)
        self._destinations = peers.destinations(settings, self._flight if self._flight.most else None)
        options = acceptor_options(settings)
        server_options = web_door.server_options(settings)
        verifier = Verifier(identity.policy(settings.identity))
        with ExitStack() as opened:
            self._dimse_sockets = _bind("dimse", settings.dimse, opened)
            self._web_sockets = _bind("web", settings.web, opened)
            self._archive = store.open_archive(settings)
            opened.callback(self._archive.close)
            self._transcoder = store.open_transcoder(settings, self._archive)
            self._gateways = Gateways(settings, self._destinations)
            opened.callback(self._gateways.close)
            self._work = Work(settings, self._archive, self._transcoder, self._destinations)
            opened.pop_all()
        self._compaction = Compaction(
            self._archive,
            every=settings.archive.compact_every,
            least_waste=settings.archive.compact_waste,
        )
        self._dimse = _door(self._dimse_sockets, "dimse+tls" if settings.dimse.tls.enabled else "dimse")
        self._web = _door(self._web_sockets, "https" if settings.web.tls.enabled else "http")
        self._acceptor = Acceptor(options, self._services(), verifier=verifier, flight=self._flight)
        app = web_door.build(
            settings,
            self._archive,
            self._work.store,
            self._transcoder,
            verifier,
            facts=self.facts,
            flight=self._flight,
            answered=self._answered,
            gateways=self._gateways.mounts(web_door.web_options(settings)),
        )
        self._server = Server(app, server_options)

    async def start(self) -> None:
        """Serve at both doors."""
        self._archive.start(asyncio.get_running_loop())
        self._compaction.start()
        await self._work.start()
        await self._gateways.start()
        await self._acceptor.start(self._dimse_sockets)
        await self._server.start(self._web_sockets)
        self._started = time()
        self._state = State.READY

    async def stop(self) -> None:
        """Take nothing new, let what is under way finish for the grace time, close the archive."""
        self._state = State.STOPPING
        grace = self._settings.node.grace
        log.info("node stops", associations=len(self._acceptor.associations), grace=grace)
        await asyncio.gather(self._acceptor.stop(grace), self._server.stop())
        await self._compaction.stop()
        await self._work.stop(grace)
        await self._gateways.stop()
        await self._transcoder.close()
        await self._archive.stop()
        log.info("node stopped", performed=dict(self._performed), answered=dict(self._answered))

    def facts(self) -> Facts:
        """What it is at this moment."""
        settings, web = self._settings, self._web
        scheme = web.url.partition("://")[0]
        public = settings.web.public_url or f"{scheme}://{location(reachable(web.host), web.port)}"
        return Facts(
            name="dicomwire",
            version=__version__,
            state=self._state,
            ae_title=settings.node.ae_title,
            ae_titles=tuple(entry.ae_title for entry in ae_titles(settings)),
            dimse=self._dimse,
            web=web,
            public_url=public.rstrip("/"),
            dicomweb=public.rstrip("/") + web_door.DICOMWEB,
            started=datetime.fromtimestamp(self._started, UTC).isoformat(timespec="milliseconds"),
            uptime_seconds=round(time() - self._started, 3),
            login_required=settings.identity.required,
            archive=store.held(self._archive),
            jobs=self._work.jobs(),
            performed=dict(self._performed),
            sent=dict(self._sent),
            web_requests=dict(self._answered),
            associations=tuple(map(_association, self._acceptor.associations.values())),
            peers=tuple(map(_peer, settings.peers)),
        )

    def _services(self) -> Services:
        settings = self._settings
        titles = (settings.node.ae_title, *(entry.ae_title for entry in settings.ae_titles))
        retriever = Retriever(self._archive, self._transcoder, self._sent)
        services: Services = {
            **verification.SERVICES,
            **storage.services(self._archive),
            **find.services(self._archive, titles),
            **move.services(retriever, self._destinations),
            **get.services(retriever),
            **self._work.services(),
        }
        services = self._gateways.services(services)
        return counted(permitted(services, identity.permissions(self._settings)), self._performed)


def _bind(name: str, door: DimseSettings | WebSettings, opened: ExitStack) -> list[socket.socket]:
    """Listening sockets of a door; connections wait in them until the door is started."""
    backlog = door.backlog if isinstance(door, DimseSettings) else 1024
    try:
        sockets = bind(door.host, door.port, backlog=backlog)
    except OSError as error:
        where = location(door.host, door.port)
        raise ConfigurationError(
            f"cannot listen on {where} ({name}.host, {name}.port): {_reason(error)}"
        ) from None
    for each in sockets:
        opened.callback(each.close)
    return sockets


def _reason(error: OSError) -> str:
    match error:
        case socket.gaierror():
            return "no such host"
        case PermissionError():
            return "ports below 1024 need a privilege that this process lacks"
        case OSError(errno=number) if number == EADDRINUSE:
            return "another program listens there"
        case OSError(errno=number) if number == EADDRNOTAVAIL:
            return "this machine has no such address"
        case _:
            return error.strerror or str(error)


def _door(sockets: list[socket.socket], scheme: str) -> Door:
    host, port = sockets[0].getsockname()[:2]
    return Door(host, port, scheme in ("https", "dimse+tls"), f"{scheme}://{location(host, port)}")


def _association(association: Association) -> AssociationFacts:
    identity = association.identity
    return AssociationFacts(
        id=association.id,
        calling_ae_title=association.calling_ae_title,
        called_ae_title=association.called_ae_title,
        peer=association.peer,
        implementation_version_name=association.implementation_version_name,
        seconds=round(asyncio.get_running_loop().time() - association.began, 3),
        performed=dict(association.performed),
        bytes_received=association.bytes_received,
        bytes_sent=association.bytes_sent,
        user=identity.name if identity is not None else "",
        identity=identity.described() if identity is not None else {},
    )


def _peer(peer: PeerSettings) -> PeerFacts:
    address = location(peer.host, peer.port) if peer.host and peer.port else ""
    return PeerFacts(peer.ae_title, address, peer.allow)
