"""Names of resources: UIDs in request paths, URLs in answers (PS3.18 8.2, 10.3).

A path is decoded here, segment by segment, so that an escaped slash stays inside its segment and a UID that
is none is refused by name and never becomes another path.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from starlette.requests import Request

from dicomwire.uids import is_valid_uid
from dicomwire.web.options import WebOptions
from dicomwire.web.problems import Problem, shown

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_ESCAPED_SLASH = re.compile(rb"%2[Ff]")
_HOST = re.compile(r"(?:[A-Za-z0-9._~\-]+|\[[0-9A-Fa-f:.%]+\])(?::[0-9]{1,5})?")
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~\-]+)*/?")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def decoded_path(raw: bytes) -> str:
    """A request's path, escapes resolved except those of slashes; a slash at the end is dropped.

    Raises: Problem 400, for bad escapes, bytes that are not UTF-8, control characters and dot segments.
    """
    if _BAD_ESCAPE.search(raw):
        raise Problem(400, f"path {shown(raw.decode('latin_1'))} has a % without two hexadecimal digits")
    try:
        path = unquote_to_bytes(_ESCAPED_SLASH.sub(b"%252F", raw)).decode("utf-8")
    except UnicodeDecodeError:
        raise Problem(400, f"path {shown(raw.decode('latin_1'))} is not UTF-8 when decoded") from None
    if not path.isprintable():
        raise Problem(400, f"path {shown(path)} has control characters")
    if any(segment in (".", "..") for segment in path.split("/")):
        raise Problem(400, f"path {shown(path)} has a dot segment; nothing is found that way")
    return path[:-1] if path.endswith("/") and len(path) > 1 else path


def uid(request: Request, name: str) -> str:
    """The UID in the request's path under a name such as "study".

    Raises: Problem 400, when it is none.
    """
    text: str = request.path_params[name]
    if not is_valid_uid(text):
        raise Problem(
            400, f"{name} UID is {shown(text)}; 1 to 64 digits and dots, no empty component, wanted"
        )
    return text


def optional_uid(request: Request, name: str) -> str | None:
    return uid(request, name) if name in request.path_params else None


def base_url(request: Request, options: WebOptions) -> str:
    """What URLs in answers begin with, without a slash at the end: where this application is mounted.

    Raises: Problem 400, when the Host header cannot be part of a URL.
    """
    root: str = request.scope.get("root_path", "").rstrip("/")
    if options.public_url:
        return options.public_url.rstrip("/") + root
    scheme: str = request.scope["scheme"]
    host = request.headers.get("host", "")
    if options.trust_forwarded:
        scheme = _forwarded(request, "proto") or scheme
        host = _forwarded(request, "host") or host
        root = _forwarded(request, "prefix").rstrip("/") + root
    return _base_url(scheme, host, root, request.scope.get("server") if not options.trust_forwarded else None)


@lru_cache(maxsize=256)
def _base_url(scheme: str, host: str, root: str, server: tuple[str, int | None] | None) -> str:
    """server: its address, where the Host is what the client itself says."""
    if server is not None:
        host = _with_port(host or server[0], server[1], scheme)
    if scheme not in _DEFAULT_PORTS or not _HOST.fullmatch(host) or not _PREFIX.fullmatch(root):
        raise Problem(400, f"Host is {shown(host)}; host or host:port wanted")
    return f"{scheme}://{host}{root}"


def study_url(base: str, study: str) -> str:
    return f"{base}/studies/{study}"


def instance_url(base: str, *, study: str, series: str, instance: str) -> str:
    return f"{base}/studies/{study}/series/{series}/instances/{instance}"


def _forwarded(request: Request, name: str) -> str:
    """What the proxy next to the client said."""
    return request.headers.get(f"x-forwarded-{name}", "").split(",")[0].strip()


def _with_port(host: str, port: int | None, scheme: str) -> str:
    """A Host without a port gets that of the socket: dicomweb-client 0.61 leaves it out."""
    if port is None or port == _DEFAULT_PORTS.get(scheme):
        return host
    if re.search(r":[0-9]+$", host) and (host.count(":") == 1 or "]" in host):
        return host
    return f"[{host}]:{port}" if ":" in host and "]" not in host else f"{host}:{port}"
