"""The gateways in `[[gateways]]`: their caches, what they serve over HTTP and what over DIMSE."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass

from starlette.routing import Mount

from dicomwire.archive.archive import Archive
from dicomwire.archive.transcoder import Transcoder
from dicomwire.association.performer import Services
from dicomwire.gateway import web_app
from dicomwire.gateway.cache import Cache, CacheOptions
from dicomwire.gateway.dispatch import by_called_ae_title
from dicomwire.gateway.peer import Peer
from dicomwire.node import store
from dicomwire.node.settings import GatewaySettings, Settings
from dicomwire.services import storage, verification
from dicomwire.services.move import Destinations
from dicomwire.web.options import WebOptions


@dataclass(frozen=True, slots=True)
class Gateway:
    """One gateway, opened."""

    settings: GatewaySettings
    cache: Cache
    transcoder: Transcoder
    services: Services
    peer: Peer


class Gateways:
    """All gateways of a node: opened with the data folder, run in the node's loop."""

    def __init__(self, settings: Settings, destinations: Destinations) -> None:
        """Open every cache. Raises: ConfigurationError, when one cannot be."""
        self._gateways: list[Gateway] = []
        with ExitStack() as opened:
            for gateway in settings.gateways:
                archive = store.open_cache(settings, gateway.name)
                opened.callback(archive.close)
                transcoder = store.open_transcoder(settings, archive)
                self._gateways.append(_to_peer(gateway, settings, archive, transcoder, destinations))
            opened.pop_all()

    def services(self, services: Services) -> Services:
        """Those of the node under its own AE titles, those of gateways under theirs."""
        own = {each.settings.ae_title: each.services for each in self._gateways}
        return by_called_ae_title(services, {title: table for title, table in own.items() if title})

    def mounts(self, options: WebOptions) -> list[Mount]:
        """DICOMweb in front of peers, below the node's own."""
        return [
            Mount(
                f"/gateways/{each.settings.name}",
                web_app.build(each.peer, each.cache, options, each.transcoder),
            )
            for each in self._gateways
        ]

    async def start(self) -> None:
        """Serve in the running loop."""
        for each in self._gateways:
            each.cache.start()

    def close(self) -> None:
        """Close the caches of gateways that were never started."""
        for each in self._gateways:
            each.cache.archive.close()

    async def stop(self) -> None:
        """End what is under way, and close the caches."""
        await asyncio.gather(*(each.transcoder.close() for each in self._gateways))
        await asyncio.gather(*(each.cache.stop() for each in self._gateways))


def _cache_options(chosen: GatewaySettings) -> CacheOptions:
    return CacheOptions(size=chosen.size, fresh=chosen.fresh, timeout=chosen.timeout, fetches=chosen.fetches)


def _to_peer(
    chosen: GatewaySettings,
    settings: Settings,
    archive: Archive,
    transcoder: Transcoder,
    destinations: Destinations,
) -> Gateway:
    destination = destinations[chosen.peer or ""]
    assert destination is not None, "has a host: the settings say so"
    into_cache = storage.services(archive)
    peer = Peer(
        destination,
        ae_title=chosen.ae_title or settings.node.ae_title,
        storage=into_cache,
        retrieve=chosen.retrieve,
    )
    cache = Cache(archive, peer, _cache_options(chosen))
    return Gateway(chosen, cache, transcoder, {**verification.SERVICES, **into_cache}, peer)
