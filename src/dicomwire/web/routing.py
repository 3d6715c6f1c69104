"""Which resource answers a path: URI templates as a tree of segments (PS3.18 10.3, RFC 6570).

A path is decoded segment by segment (`resources.decoded_path`) and walked along once, whatever the number of
resources. Whatever a resource raises is answered by the handler of its type, while that is possible.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from dicomwire.web.problems import Problem, shown
from dicomwire.web.resources import decoded_path

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]
Handler: TypeAlias = Callable[[Request, Exception], Awaitable[Response]]

_VARY: Final = (b"vary", b"accept")  # what is answered hangs on what the client takes (RFC 9110 12.5.5)
_REST: Final = ":path}"  # ends the name of a parameter that takes all segments that are left


class Resource:
    """One path of the table: the endpoint of each method; OPTIONS and HEAD follow from them."""

    def __init__(self, methods: Mapping[str, Endpoint]) -> None:
        self.methods = tuple(methods)
        self._methods = dict(methods)
        if "GET" in methods:
            self._methods["HEAD"] = methods["GET"]
        self.allow = ", ".join(sorted({*self._methods, "OPTIONS"}))

    def endpoint(self, method: str) -> Endpoint:
        """What answers a method that the resource has."""
        return self._methods[method]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method: str = scope["method"]
        if method == "OPTIONS" and "OPTIONS" not in self._methods:
            await Response(status_code=204, headers={"Allow": self.allow})(scope, receive, send)
            return
        endpoint = self._methods.get(method)
        if endpoint is None:
            raise Problem(405, f"{method} is not for this resource; {self.allow} are", {"Allow": self.allow})
        response = await endpoint(Request(scope, receive, send))
        response.raw_headers.append(_VARY)
        await response(scope, receive, send)


class _Segment:
    """A place in the tree: what may follow, and what is there."""

    __slots__ = ("app", "literals", "names", "parameter", "rest")

    def __init__(self) -> None:
        self.literals: dict[str, _Segment] = {}
        self.parameter: _Segment | None = None
        self.rest: _Segment | None = None
        self.app: ASGIApp | None = None
        self.names: tuple[str, ...] = ()


class Tree:
    """Applications by URI template, such as `/studies/{study}`."""

    def __init__(self, templates: Mapping[str, ASGIApp]) -> None:
        self._root = _Segment()
        for template, app in templates.items():
            self._add(template, app)

    def _add(self, template: str, app: ASGIApp) -> None:
        place, names = self._root, []
        for segment in template.split("/")[1:]:
            if not segment.startswith("{"):
                place = place.literals.setdefault(segment, _Segment())
                continue
            names.append(segment.removesuffix(_REST).strip("{}"))
            if segment.endswith(_REST):
                place.rest = place = place.rest or _Segment()
            else:
                place.parameter = place = place.parameter or _Segment()
        place.app, place.names = app, tuple(names)

    def find(self, path: str) -> tuple[ASGIApp, dict[str, str]] | None:
        """What is at a path, and the values of its template's names; None when nothing is."""
        place, values = self._root, []
        segments = path.split("/")
        for number in range(1, len(segments)):
            segment = segments[number]
            following = place.literals.get(segment)
            if following is None:
                if place.rest is not None:
                    place = place.rest
                    values.append("/".join(segments[number:]))
                    break
                following = place.parameter
                if following is None or not segment:
                    return None
                values.append(segment)
            place = following
        return None if place.app is None else (place.app, dict(zip(place.names, values, strict=True)))


class Table:
    """ASGI application of a table of resources, to be mounted anywhere."""

    def __init__(
        self,
        resources: Mapping[str, ASGIApp],
        handlers: Mapping[type[Exception], Handler],
        *,
        channels: Mapping[str, ASGIApp] | None = None,
    ) -> None:
        """resources, channels: by URI template, what answers requests and websockets."""
        self._resources = Tree(resources)
        self._channels = Tree(channels or {})
        self._handlers = dict(handlers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            found = self._channels.find(scope["path"].removeprefix(scope.get("root_path", "")))
            app, scope["path_params"] = found or (WebSocketClose(), {})
            await app(scope, receive, send)
            return
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._resource(scope)(scope, receive, sending)
        except Exception as error:
            handler = next(filter(None, map(self._handlers.get, type(error).__mro__)), None)
            if started or handler is None:
                raise
            response = await handler(Request(scope), error)
            await response(scope, receive, send)
            if response.status_code == 500:  # our own fault: the server logs it
                raise

    def _resource(self, scope: Scope) -> ASGIApp:
        """What is at the path of a request. Raises: Problem 404, 400 for a path that cannot be one."""
        root: str = scope.get("root_path", "")
        path = decoded_path(scope.get("raw_path") or scope["path"].encode())
        relative = path.removeprefix(root)
        found = self._resources.find(relative or "/")
        if found is None:
            raise Problem(404, f"there is no resource {shown(path, 200)}")
        app, scope["path_params"] = found
        scope["path"] = path if path.startswith(root) else root + path
        return app


class Front:
    """ASGI application that sends what is below a prefix to its application, and all else to another."""

    def __init__(self, mounts: Mapping[str, ASGIApp], others: ASGIApp) -> None:
        """mounts: by prefix, without a slash at the end; the longest one counts."""
        self._mounts = sorted(mounts.items(), key=lambda mount: -len(mount[0]))
        self._others = others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope.get("path", "")
        for prefix, app in self._mounts:
            if path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in ("", "/"):
                await app(dict(scope, root_path=scope.get("root_path", "") + prefix), receive, send)
                return
        await self._others(scope, receive, send)
