"""DICOMweb in front of a remote DIMSE archive: PS3.18 10.3's resources on a cache that fills itself.

Searches go to the peer, stores through it; everything that is retrieved is brought into the cache first and
answered by the resources of `web` from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from dicomwire.archive.query import Level
from dicomwire.archive.transcoder import Transcoder
from dicomwire.gateway.cache import Cache
from dicomwire.gateway.cache import Scope as Wanted
from dicomwire.gateway.failures import RemoteFailed
from dicomwire.gateway.peer import Peer
from dicomwire.gateway.search import Search
from dicomwire.gateway.store import Forward
from dicomwire.uids import is_valid_uid
from dicomwire.web import wado_uri
from dicomwire.web.app import HANDLERS, SERIES, STUDY, routes
from dicomwire.web.options import WebOptions
from dicomwire.web.origins import origins
from dicomwire.web.problems import Problem, answer_problem
from dicomwire.web.routing import Endpoint, Resource, Table
from dicomwire.web.store import Store

_WADO_URI: Final = ("studyUID", "seriesUID", "objectUID")
_AGAIN: Final = "30"  # seconds until a peer that is away or has no room is asked again


def build(peer: Peer, cache: Cache, options: WebOptions, transcoder: Transcoder) -> ASGIApp:
    """The application, to be mounted anywhere.

    transcoder: of the cache's archive.
    """
    options = replace(options, delete=False)
    store = Store(cache.archive, options, transcoder, Forward(peer, cache))
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
    table: dict[str, ASGIApp] = {}
    for path, resource in routes(cache.archive, options, transcoder).items():
        if path in own:
            table[path] = Resource(own[path])
            continue
        if path == STUDY:
            resource = Resource({"GET": resource.endpoint("GET"), "POST": store})
        filled = "{study}" in path or path == wado_uri.PATH
        table[path] = Filling(resource, cache) if filled else resource
    return origins(options, Table(table, {**HANDLERS, RemoteFailed: answer_remote_failure}))


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
    headers = {"Retry-After": _AGAIN} if error.away else {}
    return await answer_problem(request, Problem(504 if error.late else 502, str(error), headers))


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
