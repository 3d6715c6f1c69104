"""HTTP logins: Basic and Bearer before every page but the health checks (RFC 7617, RFC 6750).

Which operation a request is follows from its method and path: a user who may only store cannot search.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Mapping

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from dicomwire.access.identity import Accepted, Credentials, Refused, Verifier
from dicomwire.access.permission import Permission
from dicomwire.node.work_api import AVAILABILITY, PROCEDURE_STEPS
from dicomwire.web import wado_uri
from dicomwire.web.options import WebOptions
from dicomwire.web.origins import origins
from dicomwire.web.problems import problem_response

OPEN_PATHS = frozenset({"/healthz", "/readyz"})  # what supervises the node has no login
SEARCHED = frozenset({"studies", "series", "instances"})  # the last word of a QIDO-RS resource (PS3.18 10.6)

log = structlog.get_logger()


class Login:
    """ASGI middleware that lets in whom the verifier accepts, for what they may do."""

    def __init__(self, app: ASGIApp, verifier: Verifier, prefix: str, options: WebOptions) -> None:
        """Stand before an application.

        Args:
            prefix: path below which the DICOMweb resources are.
            options: say which pages of other origins may read a refusal.
        """
        self._app = app
        self._verifier = verifier
        self._prefix = prefix + "/"
        self._options = options

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._channel(scope, receive, send)
            return
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS or scope["method"] == "OPTIONS":
            await self._app(scope, receive, send)
            return
        verdict = await self._verdict(scope)
        if isinstance(verdict, Refused):
            log.info("login refused", peer=_peer(scope), path=scope["path"][:300], reason=verdict.reason)
            challenge = {"WWW-Authenticate": 'Basic realm="dicomwire", charset="UTF-8"'}
            refusal = problem_response(401, "a login is needed", challenge)
            await origins(self._options, refusal)(scope, receive, send)
            return
        needed = operation(scope["method"], scope["path"], self._prefix)
        identity = verdict.identity
        if identity is not None and needed & identity.permission != needed:
            log.info("operation refused", peer=_peer(scope), user=identity.name, operation=str(needed.name))
            words = f"user {identity.name!r} may not {(needed.name or '').lower()}"
            await origins(self._options, problem_response(403, words))(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _channel(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A websocket: its handshake is refused with 403 where a request would be."""
        verdict = await self._verdict(scope)
        identity = verdict.identity if isinstance(verdict, Accepted) else None
        if isinstance(verdict, Refused) or (identity and not identity.permission & Permission.UPS):
            log.info("login refused", peer=_peer(scope), path=scope["path"][:300], reason="event channel")
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        await self._app(scope, receive, send)

    async def _verdict(self, scope: Scope) -> Accepted | Refused:
        header = dict(scope["headers"]).get(b"authorization")
        if header is None:
            return await self._verifier.verify(None, now=time.time())
        found = credentials(header)
        if found is None:
            return Refused("an Authorization header that is neither Basic nor Bearer")
        return await self._verifier.verify(found, now=time.time())


def credentials(header: bytes) -> Credentials | None:
    """Those of an Authorization header; None when it is of no kind that is known here."""
    scheme, _, value = header.partition(b" ")
    if scheme.lower() == b"bearer":
        return Credentials.token(value.strip().decode("latin-1"))
    if scheme.lower() != b"basic":
        return None
    try:
        name, colon, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return Credentials.password(name, password) if colon else None


def operation(method: str, path: str, prefix: str) -> Permission:
    """What a request does; nothing in particular for the node's own pages."""
    if path.startswith("/fhir/"):
        return Permission.FIND
    if path == wado_uri.PATH:
        return Permission.GET
    if path.rstrip("/") == AVAILABILITY:
        return Permission.NOTIFY
    if path.rstrip("/") == PROCEDURE_STEPS:
        return Permission.MPPS
    if path.startswith(("/api/worklist", f"{prefix}modality-scheduled-procedure-steps")):
        return Permission.FIND if method in ("GET", "HEAD") else Permission.STORE
    if path.startswith((f"{prefix}workitems", f"{prefix}subscribers/", f"{prefix}ws/")):
        return Permission.UPS
    if not f"{path}/".startswith(prefix):
        return Permission.NONE
    if path.startswith(f"{prefix}commitment-requests/"):
        return Permission.COMMIT
    if method == "DELETE":
        return Permission.DELETE
    if method in ("POST", "PUT"):
        return Permission.STORE
    return Permission.FIND if path.rstrip("/").rpartition("/")[2] in SEARCHED else Permission.GET


def _peer(scope: Mapping[str, object]) -> str:
    client = scope.get("client")
    return f"{client[0]}:{client[1]}" if isinstance(client, tuple | list) else ""
