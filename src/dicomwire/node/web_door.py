"""The HTTP door: DICOMweb under `/dicom-web`, health, metrics, the node's own JSON and page beside it."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Mapping

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from dicomwire.access.identity import Verifier
from dicomwire.archive.archive import Archive
from dicomwire.archive.transcoder import Transcoder
from dicomwire.association.flight import FlightRecorder
from dicomwire.node import flight_api, page, work_api
from dicomwire.node.dimse_door import ANY_SOP_CLASS, storage_classes, tls_context
from dicomwire.node.facts import Facts, State
from dicomwire.node.login import Login
from dicomwire.node.metrics import CONTENT_TYPE, Answered, Metrics
from dicomwire.node.settings import Settings
from dicomwire.web import wado_uri, worklist
from dicomwire.web.app import build as build_dicomweb
from dicomwire.web.fhir import build as build_fhir
from dicomwire.web.options import ServerOptions, WebOptions
from dicomwire.web.problems import PAGES
from dicomwire.web.routing import Front
from dicomwire.work.store import Store

DICOMWEB = "/dicom-web"
ITEMS = "/api/worklist"


def web_options(settings: Settings) -> WebOptions:
    """Options of the DICOMweb resources."""
    web, dimse = settings.web, settings.dimse
    return WebOptions(
        public_url=web.public_url,
        trust_forwarded=web.trust_forwarded,
        delete=web.delete,
        cors_origins=web.cors_origins,
        sop_classes=None if ANY_SOP_CLASS in dimse.extra_sop_classes else storage_classes(dimse),
        maximum_body=web.maximum_body,
        maximum_results=web.maximum_results,
        ups=settings.ups.policy(),
    )


def server_options(settings: Settings) -> ServerOptions:
    """Options of the HTTP connections.

    Raises: ConfigurationError, when a certificate or key cannot be read.
    """
    web = settings.web
    return ServerOptions(
        idle=web.idle, connections=web.connections, grace=settings.node.grace, tls=tls_context(web.tls)
    )


def build(
    settings: Settings,
    archive: Archive,
    work: Store,
    transcoder: Transcoder,
    verifier: Verifier,
    *,
    facts: Callable[[], Facts],
    flight: FlightRecorder,
    answered: Counter[str],
    gateways: Mapping[str, ASGIApp],
) -> ASGIApp:
    """The whole application.

    Args:
        verifier: of logins.
        facts: tells what the node is at this moment.
        flight: the last associations.
        answered: counts answers by class of status.
        gateways: further DICOMweb services by path, below this one.
    """
    metrics = Metrics(facts)

    async def home(request: Request) -> Response:
        return HTMLResponse(page.render(facts(), flight), headers={"Content-Security-Policy": page.POLICY})

    async def node(request: Request) -> Response:
        return _json(dataclasses.asdict(facts()))

    async def healthz(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(request: Request) -> Response:
        state = facts().state
        return PlainTextResponse(f"{state}\n", 200 if state is State.READY else 503)

    async def exposition(request: Request) -> Response:
        return Response(metrics.exposition(), media_type=CONTENT_TYPE)

    dicomweb = build_dicomweb(archive, web_options(settings), transcoder=transcoder, work=work)

    class WadoUri:
        """The same as below DICOMweb, where clients of WADO-URI look for it."""

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            path = DICOMWEB + wado_uri.PATH
            await dicomweb(dict(scope, root_path=DICOMWEB, path=path, raw_path=path.encode()), receive, send)

    class Items:
        """The same as below DICOMweb, under the name that people look for it by."""

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            path = DICOMWEB + worklist.PATH + scope["path"].removeprefix(ITEMS)
            await dicomweb(dict(scope, root_path=DICOMWEB, path=path, raw_path=path.encode()), receive, send)

    routes = [
        Route(ITEMS, Items()),
        Route(ITEMS + "/{item}", Items()),
        Route(wado_uri.PATH, WadoUri()),
        Route("/", home),
        Route("/api/node", node),
        *work_api.routes(work),
        *flight_api.routes(flight),
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/metrics", exposition),
    ]
    mounts = {DICOMWEB + path: gateway for path, gateway in gateways.items()}
    mounts |= {DICOMWEB: dicomweb, "/fhir": build_fhir(archive, web_options(settings), dicomweb=DICOMWEB)}
    pages = Starlette(routes=routes, exception_handlers=PAGES)
    app: ASGIApp = Front(mounts, pages)
    if verifier.policy.required or verifier.policy.users or verifier.policy.tokens:
        app = Login(app, verifier, DICOMWEB, web_options(settings))
    return Answered(app, answered)


def _json(facts: Mapping[str, object]) -> Response:
    body = json.dumps(facts, indent=2, ensure_ascii=False)
    return Response(body + "\n", media_type="application/json", headers={"Cache-Control": "no-store"})
