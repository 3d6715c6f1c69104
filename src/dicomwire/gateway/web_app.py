"""DICOMweb in front of a remote DIMSE archive: PS3.18 10.3's resources on a cache that fills itself.

Searches go to the peer, stores through it; everything that is retrieved is brought into the cache first and
answered by the resources of `web` from there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from dicomwire.archive.archive import Outcome as ArchiveOutcome
from dicomwire.archive.archive import Stored as Kept
from dicomwire.archive.archive import Verdict
from dicomwire.archive.query import Level
from dicomwire.archive.transcoder import Transcoder
from dicomwire.gateway.cache import Cache
from dicomwire.gateway.cache import Scope as Wanted
from dicomwire.gateway.failures import RemoteFailed
from dicomwire.gateway.peer import Peer
from dicomwire.gateway.search import Search
from dicomwire.services.instances import Instance, from_archive
from dicomwire.services.sending import Delivery, Outcome
from dicomwire.uids import is_valid_uid
from dicomwire.web import wado_uri
from dicomwire.web.app import SERIES, STUDY, Endpoint, Resource, application, routes
from dicomwire.web.options import WebOptions
from dicomwire.web.problems import Problem, answer_problem
from dicomwire.web.store import Store
from dicomwire.web.store_response import Failure, Reason, Result, Stored

_NEW: Final = frozenset({Verdict.STORED, Verdict.REPLACED})
_WADO_URI: Final = ("studyUID", "seriesUID", "objectUID")


def build(peer: Peer, cache: Cache, options: WebOptions, transcoder: Transcoder) -> Starlette:
    """The application, to be mounted anywhere.

    transcoder: of the cache's archive.
    """
    options = replace(options, delete=False)
    store = Store(cache.archive, options, Forward(peer, cache))
    studies, series, instances = (
        Search(peer, options, level) for level in (Level.STUDY, Level.SERIES, Level.INSTANCE)
    )
    own: dict[str, dict[str, Endpoint]] = {
        "/studies": {"GET": studies, "POST": store},
        "/series": {"GET": series},
        "/instances": {"GET": instances},
        STUDY + "/series": {"GET": series},
        STUDY + "/instances": {"GET": instances},
        SERIES + "/instances": {"GET": instances},
    }
    table: list[Route] = []
    for route in routes(cache.archive, options, transcoder):
        resource: ASGIApp = Resource(own[route.path]) if route.path in own else route.app
        if route.path == STUDY:
            resource = Resource({"GET": _endpoint(route), "POST": store})
        filled = "{study}" in route.path or route.path == wado_uri.PATH
        if filled and route.path not in own:
            resource = Filling(resource, cache)
        table.append(Route(route.path, resource))
    app = application(table, options)
    app.add_exception_handler(RemoteFailed, answer_remote_failure)
    return app


def _endpoint(route: Route) -> Endpoint:
    resource = route.app
    assert isinstance(resource, Resource)
    return resource.endpoint("GET")


class Filling:
    """A resource on the cache, asked when what it is about is there."""

    def __init__(self, app: ASGIApp, cache: Cache) -> None:
        self._app = app
        self._cache = cache

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        wanted = _wanted(scope) if scope["method"] in ("GET", "HEAD") else None
        if wanted is None:
            await self._app(scope, receive, send)
            return
        async with self._cache.holding(wanted):
            await self._app(scope, receive, send)


async def answer_remote_failure(request: Request, error: Exception) -> Response:
    """Exception handler for what went wrong at the peer: 502, or 504 where it took too long."""
    assert isinstance(error, RemoteFailed)
    return await answer_problem(request, Problem(504 if error.late else 502, str(error)))


def _wanted(scope: Scope) -> Wanted | None:
    """What a request is about; None where that is not said as it should be, which the resource refuses."""
    path = scope["path_params"]
    uids: Sequence[str | None] = [path.get(name) for name in ("study", "series", "instance")]
    if not uids[0]:
        query = parse_qs(scope["query_string"].decode("latin-1"))
        uids = [query[name][0] if name in query else "" for name in _WADO_URI]
    if not all(uid is None or is_valid_uid(uid) for uid in uids) or uids[0] is None:
        return None
    return Wanted(uids[0], uids[1], uids[2])


class Forward:
    """Sends on what a store request has brought; what the peer does not take is not kept either."""

    def __init__(self, peer: Peer, cache: Cache) -> None:
        self._peer = peer
        self._cache = cache

    async def __call__(self, results: Sequence[Result]) -> list[Result]:
        """The results, as the peer has them."""
        archive = self._cache.archive
        found: dict[str, Instance] = {}
        for result in results:
            if isinstance(result, Stored):
                plan = self._plan(result.outcome)
                found |= {each.sop_instance_uid: from_archive(archive, each) for each in plan}
        deliveries: dict[str, Delivery] = {}

        def report(delivery: Delivery) -> None:
            deliveries[delivery.instance.sop_instance_uid] = delivery

        await self._peer.store(found.values(), report)
        judged = [self._judged(result, deliveries) for result in results]
        await self._forget(results, judged)
        await self._cache.shrink()
        return judged

    def _judged(self, result: Result, deliveries: dict[str, Delivery]) -> Result:
        if isinstance(result, Failure):
            return result
        outcome = result.outcome
        delivery = deliveries.get(outcome.sop_instance_uid)
        if delivery is not None and delivery.outcome is Outcome.STORED:
            return Stored(outcome)
        if delivery is not None and delivery.outcome is Outcome.WARNING:
            return Stored(outcome, Reason.COERCION_OF_DATA_ELEMENTS)
        words = f"{self._peer.ae_title}: {delivery.reason if delivery else 'not sent'}"
        return Failure(_reason(delivery), words, outcome.sop_class_uid, outcome.sop_instance_uid)

    async def _forget(self, results: Sequence[Result], judged: Sequence[Result]) -> None:
        """Keep nothing that the peer has not, or has in another way: it warns when it coerced something."""
        gone: list[Kept] = []
        for before, after in zip(results, judged, strict=True):
            same = isinstance(after, Stored) and after.warning is None
            if isinstance(before, Stored) and not same and before.outcome.verdict in _NEW:
                gone += self._plan(before.outcome)
        self._cache.doubt({stored.study_instance_uid for stored in gone})
        await asyncio.to_thread(self._cache.archive.remove, gone)

    def _plan(self, outcome: ArchiveOutcome) -> list[Kept]:
        return self._cache.archive.plan(
            study=outcome.study_instance_uid,
            series=outcome.series_instance_uid,
            instance=outcome.sop_instance_uid,
        )


def _reason(delivery: Delivery | None) -> Reason:
    """Failure Reason for what the peer answered, or for there being no answer."""
    if delivery is None or delivery.status is None:
        no_context = delivery is not None and delivery.outcome is Outcome.NO_CONTEXT
        return Reason.SOP_CLASS_NOT_SUPPORTED if no_context else Reason.PROCESSING_FAILURE
    for reason in (Reason.SOP_CLASS_NOT_SUPPORTED, Reason.DUPLICATE_SOP_INSTANCE):
        if delivery.status == reason:
            return reason
    by_class = {
        0xA700: Reason.OUT_OF_RESOURCES,
        0xA900: Reason.DATA_SET_DOES_NOT_MATCH_SOP_CLASS,
    }
    if delivery.status >> 12 == 0xC:
        return Reason.CANNOT_UNDERSTAND
    return by_class.get(delivery.status & 0xFF00, Reason.PROCESSING_FAILURE)
