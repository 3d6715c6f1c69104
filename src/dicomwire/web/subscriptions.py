"""UPS-RS subscriptions and the event channel (PS3.18 11.10-11.13, 8.10.4).

Events wait in the store for their AE's channel, a websocket; what a channel has taken is forgotten.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from time import time
from typing import Final
from urllib.parse import parse_qsl

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from dicomwire.dicom.data_set import DataSet, to_json
from dicomwire.dicom.dictionary import keyword_of, vr_of
from dicomwire.dicom.values import NUMBER_FORMATS, STRING_VRS
from dicomwire.web.options import WebOptions
from dicomwire.web.problems import Problem, shown
from dicomwire.web.refused import STATUS_OF, problem
from dicomwire.web.resources import base_url, uid
from dicomwire.web.search_query import attribute
from dicomwire.web.workitems import WORKITEM
from dicomwire.work import ups_events, ups_subscriptions
from dicomwire.work.refusal import Reason, Refused
from dicomwire.work.store import Store, Transaction
from dicomwire.work.ups_events import TOPIC, Receiver
from dicomwire.work.workitem import FILTERED

SUBSCRIBER: Final = WORKITEM + "/subscribers/{aetitle}"
SUSPEND: Final = SUBSCRIBER + "/suspend"
CHANNEL: Final = "/subscribers/{aetitle}"

_AE_TITLE_LIMIT: Final = 16
_STATUS_OF: Final = {**STATUS_OF, Reason.UPS_GONE: 404}  # Tables 11.10.3-1 and 11.11.3-1 have no 410

log = structlog.get_logger()


class Subscriptions:
    """Endpoints of subscriptions, and of the channels that events go out by."""

    def __init__(self, store: Store, options: WebOptions) -> None:
        self._store = store
        self._options = options
        self._channels: set[asyncio.Event] = set()
        self._listens = False

    async def subscribe(self, request: Request) -> Response:
        """POST: subscribe an AE to one workitem, to all, or to those that a filter finds."""
        named, receiver, keys = uid(request, "workitem"), _ae_title(request), DataSet()
        locked = False
        for name, value in parse_qsl(request.scope["query_string"].decode("latin-1")):
            if name.lower() == "deletionlock":
                if value.lower() not in ("true", "false"):
                    raise Problem(400, f"deletionlock is {shown(value)}; true or false wanted")
                locked = value.lower() == "true"
            elif name.lower() == "filter":
                for part in value.split(","):
                    _put(keys, *part.partition("=")[::2])
            else:
                _put(keys, name, value)
        if named == FILTERED and not keys:
            raise Problem(400, "a filtered subscription needs keys: filter=Keyword=value")
        now, filtered, policy = time(), to_json(keys) if keys else "", self._options.ups
        try:
            ups_subscriptions.possible(policy)
            warned = await ups_subscriptions.subscribe(
                self._store,
                named,
                Receiver(receiver, "web", locked),
                filtered,
                now=now,
                deletion_locks=policy.deletion_locks,
            )
        except Refused as refused:
            raise problem(refused, _STATUS_OF) from None
        channel = base_url(request, self._options).replace("http", "ws", 1)
        headers = {"Content-Location": f"{channel}/subscribers/{receiver}"}
        if warned is not None:
            headers["Warning"] = f'299 dicomwire "{warned.value}."'
        return Response(status_code=201, headers=headers)

    async def unsubscribe(self, request: Request) -> Response:
        """DELETE: end a subscription."""
        return await self._withdrawn(request, ups_subscriptions.unsubscribe)

    async def suspend(self, request: Request) -> Response:
        """POST: subscribe to no more workitems that come."""
        return await self._withdrawn(request, ups_subscriptions.suspend)

    async def _withdrawn(
        self, request: Request, withdraw: Callable[[Transaction, str, str], bool]
    ) -> Response:
        named, ae_title = uid(request, "workitem"), _ae_title(request)
        try:
            ups_subscriptions.possible(self._options.ups)
            found = await self._store.change(lambda change: withdraw(change, named, ae_title))
        except Refused as refused:
            raise problem(refused, _STATUS_OF) from None
        if not found:
            raise Problem(404, "there is no such subscription")
        return Response(status_code=200)

    async def channel(self, socket: WebSocket) -> None:
        """An event channel: events of one AE, as they come, until it closes."""
        ae_title = str(socket.path_params["aetitle"])
        await socket.accept()
        if not self._listens:
            self._listens = True
            self._store.listen(TOPIC, self._wake)
        woken = asyncio.Event()
        self._channels.add(woken)
        gone = asyncio.ensure_future(_closed(socket))
        try:
            while not gone.done():
                woken.clear()
                await self._deliver(socket, ae_title)
                waiting = asyncio.ensure_future(woken.wait())
                await asyncio.wait({waiting, gone}, return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
        except (WebSocketDisconnect, RuntimeError):
            log.debug("event channel closed by its peer")
        finally:
            self._channels.discard(woken)
            gone.cancel()
            with suppress(asyncio.CancelledError):
                await gone

    async def _deliver(self, socket: WebSocket, ae_title: str) -> None:
        last = 0
        while events := ups_events.waiting(self._store, ae_title, last):
            for number, content in events:
                await socket.send_text(content)
                last = number
            await self._store.change(lambda change, last=last: ups_events.delivered(change, ae_title, last))  # type: ignore[misc]

    def _wake(self) -> None:
        for woken in self._channels:
            woken.set()


async def _closed(socket: WebSocket) -> None:
    """Back when the peer has closed; what it says is not listened to."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


def _put(keys: DataSet, name: str, value: str) -> None:
    """A key of a filter; those of one sequence are in one item. Raises: Problem 400."""
    *above, tag = attribute(name)
    for sequence in above:
        if vr_of(sequence) != "SQ":
            raise Problem(400, f"{shown(name)} goes through {keyword_of(sequence)}, which is no sequence")
        if not keys.sequence(sequence):
            keys.put(sequence, DataSet())
        (keys,) = keys.sequence(sequence)
    vr = vr_of(tag)[:2]
    if vr in NUMBER_FORMATS:
        keys.put(tag, *_numbers(name, value, float if vr in ("FL", "FD") else int))
    elif vr in STRING_VRS:
        keys.put(tag, value)
    else:
        raise Problem(400, f"{shown(name)} is {vr}; what is text or a number is matched")


def _numbers(name: str, value: str, kind: type[int] | type[float]) -> list[int | float]:
    try:
        return [kind(each) for each in value.split("\\")] if value else []
    except ValueError:
        raise Problem(400, f"{shown(name)} is {shown(value)}; a number wanted") from None


def _ae_title(request: Request) -> str:
    text = str(request.path_params["aetitle"]).strip()
    if (
        not text
        or len(text) > _AE_TITLE_LIMIT
        or not text.isascii()
        or not text.isprintable()
        or "\\" in text
    ):
        raise Problem(400, f"{shown(text)} is no AE title")
    return text
