"""Pages of other origins: what browsers let them do (Fetch, 3.2: CORS)."""

from __future__ import annotations

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from dicomwire.web.options import WebOptions


def origins(options: WebOptions, app: ASGIApp) -> ASGIApp:
    """An application that lets the pages of named origins in; as it is where none is named."""
    if not options.cors_origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=options.cors_origins,
        allow_methods=["GET", "POST", "PUT", *(["DELETE"] if options.delete else [])],
        allow_credentials=True,  # the browser's HTTP login or client certificate, where a page asks with it
        allow_headers=["*"],  # whatever is asked for: If-Match, X-Requested-With, tracing of the viewer's own
        expose_headers=[
            *("accept-ranges", "content-location", "content-range", "etag", "location", "retry-after"),
            *("warning", "x-total-count"),
        ],
    )
