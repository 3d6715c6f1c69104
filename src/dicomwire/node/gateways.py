"""The gateways in `[[gateways]]`: their caches, what they serve over HTTP and what over DIMSE.

The client of DICOMweb services, and httpx with it, is loaded only where a gateway needs it: a node without
one is ready sooner.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from starlette.types import ASGIApp

from dicomwire.archive.archive import Archive
from dicomwire.archive.transcoder import Transcoder
from dicomwire.association.performer import Services
from dicomwire.errors import ConfigurationError, WebServiceError
from dicomwire.gateway import web_app
from dicomwire.gateway.cache import Cache, CacheOptions
from dicomwire.gateway.dispatch import by_called_ae_title
from dicomwire.gateway.peer import Peer
from dicomwire.node import store
from dicomwire.node.peers import tls_context
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
    mount: Callable[[WebOptions], ASGIApp] | None = None
    close: Callable[[], Awaitable[None]] | None = None


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
                opener = _to_peer if gateway.peer is not None else _to_service
                self._gateways.append(opener(gateway, settings, archive, transcoder, destinations))
            opened.pop_all()

    def services(self, services: Services) -> Services:
        """Those of the node under its own AE titles, those of gateways under theirs."""
        own = {each.settings.ae_title: each.services for each in self._gateways}
        return by_called_ae_title(services, {title: table for title, table in own.items() if title})

    def mounts(self, options: WebOptions) -> dict[str, ASGIApp]:
        """DICOMweb in front of peers, by path below the node's own."""
        return {
            f"/gateways/{each.settings.name}": each.mount(options)
            for each in self._gateways
            if each.mount is not None
        }

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
        await asyncio.gather(*(each.close() for each in self._gateways if each.close is not None))


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
    return Gateway(
        chosen,
        cache,
        transcoder,
        {**verification.SERVICES, **into_cache},
        mount=lambda options: web_app.build(peer, cache, options, transcoder),
    )


def _to_service(
    chosen: GatewaySettings,
    settings: Settings,
    archive: Archive,
    transcoder: Transcoder,
    destinations: Destinations,
) -> Gateway:
    from dicomwire.gateway import front, service
    from dicomwire.web.client import WebClient

    client = WebClient(
        chosen.url or "",
        token=partial(_token, chosen.token_file) if chosen.token_file is not None else None,
        user=(chosen.user, _password(chosen)) if chosen.user is not None else None,
        verify=tls_context(chosen.tls),
        store_timeout=chosen.timeout,
    )
    remote = service.Service(chosen.name, client, archive, WebOptions(sop_classes=None))
    cache = Cache(archive, remote, _cache_options(chosen))
    services = front.services(
        remote, cache, transcoder, destinations, spool=settings.node.data / "gateways" / chosen.name / "spool"
    )
    return Gateway(chosen, cache, transcoder, services, close=remote.close)


def _token(file: Path) -> str:
    """The bearer token; read for each request, so that it may be replaced."""
    try:
        return file.read_text("ascii").strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no ASCII text"
        raise WebServiceError(f"token_file {file}: {reason}") from None


def _password(chosen: GatewaySettings) -> str:
    assert chosen.password_file is not None, "the settings say so"
    try:
        return chosen.password_file.read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no UTF-8"
        words = f"password_file of gateway {chosen.name!r}, {chosen.password_file}: {reason}"
        raise ConfigurationError(words) from None
