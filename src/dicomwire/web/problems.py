"""Answers to requests that cannot be served: problem details (PS3.18 8.5, RFC 9457).

Every error leaves as `application/problem+json` with title, status and a detail that says what, got and
wanted. What a client sends never ends in a 5xx; 500 is kept for our own faults.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Final

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from dicomwire.errors import DicomwireError

MEDIA_TYPE = "application/problem+json"

_log = structlog.get_logger()


class Problem(DicomwireError):
    """A request that is answered with an error status.

    Attributes:
        status: HTTP status, 4xx or 5xx.
        detail: what, got and wanted, for the client's engineer.
        headers: further headers of the answer.
    """

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})

    def response(self) -> Response:
        return problem_response(self.status, self.detail, self.headers)


def body(status: int, detail: str) -> bytes:
    """The problem document as JSON."""
    title = HTTPStatus(status).phrase
    return json.dumps({"title": title, "status": status, "detail": detail}, ensure_ascii=True).encode()


def problem_response(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    return Response(body(status, detail), status, dict(headers or {}), MEDIA_TYPE)


def shown(text: str, limit: int = 80) -> str:
    """A client's text for an error message: quoted, escaped, cut."""
    cut = text if len(text) <= limit else text[:limit] + "..."
    return ascii(cut)


async def answer_problem(request: Request, error: Exception) -> Response:
    """Exception handler for `Problem`."""
    assert isinstance(error, Problem)
    _log.info(
        "web.refused",
        method=request.method,
        path=ascii(request.url.path)[1:-1][:300],
        status=error.status,
        detail=error.detail,
    )
    return error.response()


async def answer_http_exception(request: Request, error: Exception) -> Response:
    """Exception handler for what Starlette raises itself: no route, wrong method."""
    assert isinstance(error, HTTPException)
    detail = error.detail
    if error.status_code == HTTPStatus.NOT_FOUND:
        detail = f"there is nothing at {shown(request.url.path, 200)}"
    return problem_response(error.status_code, detail, error.headers)


async def answer_removed(request: Request, error: Exception) -> Response:
    """Exception handler for an instance that was deleted while it was asked for (PS3.18 Table 10.4.3-1)."""
    return problem_response(410, f"{error} while it was asked for")


PAGES: Final[Mapping[type[HTTPException | Problem], Callable[[Request, Exception], Awaitable[Response]]]] = {
    HTTPException: answer_http_exception,
    Problem: answer_problem,
}
"""Handlers for what stands beside DICOMweb, on Starlette's own routes."""


async def answer_fault(request: Request, error: Exception) -> Response:
    """Exception handler for our own faults: logged by the server with its traceback."""
    _log.error("web.fault", method=request.method, error=type(error).__name__)
    return problem_response(500, "the node failed to answer this request; its log says why")
