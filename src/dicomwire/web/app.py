"""The HTTP resources and what answers each method on them (PS3.18 10.3).

`build` makes an ASGI application that can be mounted anywhere; URLs in answers follow where it is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from dicomwire.archive.archive import Archive
from dicomwire.archive.query import Level
from dicomwire.archive.transcoder import Transcoder
from dicomwire.errors import InstanceRemoved
from dicomwire.web import commitment, wado_uri, worklist
from dicomwire.web.anonymous import Anonymous
from dicomwire.web.bulk_resources import BulkResources
from dicomwire.web.bulkdata import BulkData
from dicomwire.web.capabilities import Capabilities
from dicomwire.web.commitment import Commitment
from dicomwire.web.delete import Delete
from dicomwire.web.frames import Frames
from dicomwire.web.metadata import Metadata
from dicomwire.web.options import WebOptions
from dicomwire.web.origins import origins
from dicomwire.web.problems import (
    Problem,
    answer_fault,
    answer_problem,
    answer_removed,
)
from dicomwire.web.rendered import Rendered, Thumbnail
from dicomwire.web.retrieve import Retrieve
from dicomwire.web.routing import Endpoint, Handler, Resource, Table
from dicomwire.web.search import Search
from dicomwire.web.store import Store as StoreInstances
from dicomwire.web.subscriptions import CHANNEL, SUBSCRIBER, SUSPEND, Subscriptions
from dicomwire.web.wado_uri import WadoUri
from dicomwire.web.workitems import CANCEL, STATE, WORKITEM, WORKITEMS, Workitems
from dicomwire.web.worklist import Worklist
from dicomwire.work.store import Store

STUDY = "/studies/{study}"
SERIES = STUDY + "/series/{series}"
INSTANCE = SERIES + "/instances/{instance}"


def routes(
    archive: Archive, options: WebOptions, transcoder: Transcoder, work: Store | None = None
) -> dict[str, Resource]:
    """The table of resources; those that need a store of work only where there is one."""
    store = StoreInstances(archive, options, transcoder)
    metadata = Metadata(archive, options)
    frames = Frames(archive, options, transcoder)
    rendered = Rendered(archive, options, transcoder)
    thumbnail = Thumbnail(archive, options, transcoder)
    bulk_data = BulkData(archive, options, frames)
    every_value = BulkResources(archive, options, bulk_data, frames, pixels_only=False)
    retrieve = Retrieve(archive, options, transcoder, every_value)
    studies = Search(archive, options, Level.STUDY)
    series = Search(archive, options, Level.SERIES)
    instances = Search(archive, options, Level.INSTANCE)
    table: dict[str, dict[str, Endpoint]] = {
        "/studies": {"GET": studies, "POST": store},
        "/series": {"GET": series},
        "/instances": {"GET": instances},
        STUDY: {"GET": retrieve, "POST": store},
        STUDY + "/metadata": {"GET": metadata},
        STUDY + "/series": {"GET": series},
        STUDY + "/instances": {"GET": instances},
        SERIES: {"GET": retrieve},
        SERIES + "/metadata": {"GET": metadata},
        SERIES + "/instances": {"GET": instances},
        INSTANCE: {"GET": retrieve},
        INSTANCE + "/metadata": {"GET": metadata},
        INSTANCE + "/frames": {"GET": frames},
        INSTANCE + "/frames/{frames}": {"GET": frames},
        INSTANCE + "/bulkdata/{path:path}": {"GET": bulk_data},
    }
    pixel_data = BulkResources(archive, options, bulk_data, frames, pixels_only=True)
    for path in (STUDY, SERIES, INSTANCE):
        table[f"{path}/bulkdata"] = {"GET": every_value}
        table[f"{path}/pixeldata"] = {"GET": pixel_data}
    for path in (STUDY, SERIES, INSTANCE, INSTANCE + "/frames/{frames}"):
        table[path + "/rendered"] = {"GET": rendered}
        table[path + "/thumbnail"] = {"GET": thumbnail}
    table[wado_uri.PATH] = {"GET": WadoUri(archive, retrieve, rendered, Anonymous(archive, transcoder))}
    if options.delete:
        delete = Delete(archive)
        for path in (STUDY, SERIES, INSTANCE):
            table[path]["DELETE"] = delete
    if work is not None:
        requests = Commitment(archive, work, options)
        table[commitment.PATH] = {"POST": requests.request, "GET": requests.result}
        workitems, subscriptions = Workitems(work, options), Subscriptions(work, options)
        table |= {
            WORKITEMS: {"GET": workitems.search, "POST": workitems.create},
            WORKITEM: {"GET": workitems.retrieve, "POST": workitems.update},
            STATE: {"PUT": workitems.change_state},
            CANCEL: {"POST": workitems.request_cancel},
            SUBSCRIBER: {"POST": subscriptions.subscribe, "DELETE": subscriptions.unsubscribe},
            SUSPEND: {"POST": subscriptions.suspend},
        }
        items = Worklist(work, options)
        table[worklist.PATH] = {"GET": items.search, "POST": items.add}
        table[worklist.ITEM] = {"GET": items.retrieve, "PUT": items.replace, "DELETE": items.remove}
    capabilities = Capabilities(options, {path: tuple(methods) for path, methods in table.items()})
    table["/"] = {"GET": capabilities, "OPTIONS": capabilities}
    return {path: Resource(methods) for path, methods in table.items()}


class Channel:
    """A websocket that events go out by."""

    def __init__(self, endpoint: Callable[[WebSocket], Awaitable[None]]) -> None:
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._endpoint(WebSocket(scope, receive, send))


def channels(options: WebOptions, work: Store | None = None) -> dict[str, Channel]:
    """The table of websockets."""
    if work is None:
        return {}
    subscriptions = Subscriptions(work, options)
    return {path: Channel(subscriptions.channel) for path in (CHANNEL, "/ws" + CHANNEL)}


def build(
    archive: Archive,
    options: WebOptions | None = None,
    *,
    transcoder: Transcoder | None = None,
    work: Store | None = None,
) -> ASGIApp:
    """The DICOMweb application on an archive.

    transcoder: of the same archive; without one the application has its own.
    work: the store of work beside the archive.
    """
    options = options or WebOptions()
    resources = routes(archive, options, transcoder or Transcoder(archive), work)
    return origins(options, Table(resources, HANDLERS, channels=channels(options, work)))


HANDLERS: Final[Mapping[type[Exception], Handler]] = {
    Problem: answer_problem,
    InstanceRemoved: answer_removed,
    Exception: answer_fault,
}
"""Faults as problem details."""
