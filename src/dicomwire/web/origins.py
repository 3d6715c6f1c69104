"""Pages of other origins: what browsers let them do (Fetch, 3.2: CORS)."""

from __future__ import annotations

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from dicomwire.web.options import WebOptions


def origins(options: WebOptions) -> list[Middleware]:
    """What lets the pages of named origins in; nothing where none is named."""
    if not options.cors_origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=options.cors_origins,
            allow_methods=["GET", "POST", "PUT", *(["DELETE"] if options.delete else [])],
            allow_headers=["accept", "authorization", "content-type", "if-none-match", "if-range", "range"],
            expose_headers=[
                *("accept-ranges", "content-location", "content-range", "etag", "location", "retry-after"),
                *("warning", "x-total-count"),
            ],
        )
    ]
