"""Nodes in this loop, each in a folder and on ports of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from dicomwire.node.node import Node
from dicomwire.node.settings import Settings
from tests.web.conftest import make

SECONDS = 20.0
DOORS = {"dimse": {"port": 0, "host": "127.0.0.1"}, "web": {"port": 0, "host": "127.0.0.1"}}

__all__ = ["Running", "gateway_from", "gateway_to", "make", "running", "stow"]


@dataclass(frozen=True, slots=True)
class Running:
    """A node that serves."""

    node: Node
    http: httpx.AsyncClient

    @property
    def dimse_port(self) -> int:
        return self.node.facts().dimse.port

    @property
    def url(self) -> str:
        return self.node.facts().dicomweb


@asynccontextmanager
async def running(folder: Path, **values: object) -> AsyncIterator[Running]:
    """A node with these sections over the defaults of a test."""
    settings = {**DOORS, **values}
    settings["node"] = {"data": folder, "grace": 0.5, **dict(settings.get("node", {}))}  # type: ignore[arg-type]
    node = Node(Settings.model_validate(settings))
    await node.start()
    async with AsyncExitStack() as opened:
        opened.push_async_callback(node.stop)
        client = httpx.AsyncClient(base_url=node.facts().dicomweb, timeout=SECONDS)
        yield Running(node, await opened.enter_async_context(client))


@asynccontextmanager
async def gateway_to(
    folder: Path, port: int, *, timeouts: dict[str, float] | None = None, **gateway: object
) -> AsyncIterator[Running]:
    """A node whose gateway "pacs" is in front of a DIMSE archive on a port."""
    peer = {
        "ae_title": "PACS",
        "host": "127.0.0.1",
        "port": port,
        "timeouts": timeouts or {"connect": 2, "dimse": 5},
    }
    entry = {"name": "pacs", "peer": "PACS", "timeout": 10, **gateway}
    node = {"ae_title": "GATEWAY"}
    async with running(folder, node=node, peers=[peer], gateways=[entry]) as started:
        started.http.base_url = started.http.base_url.join("gateways/pacs/")
        yield started


@asynccontextmanager
async def gateway_from(folder: Path, url: str, *peers: object, **gateway: object) -> AsyncIterator[Running]:
    """A node whose AE title CLOUD is a DICOMweb service."""
    entry = {"name": "cloud", "url": url, "ae_title": "CLOUD", "timeout": 10, **gateway}
    dimse = {"port": 0, "calling_ae_title": "off"}
    async with running(folder, dimse=dimse, peers=list(peers), gateways=[entry]) as started:
        yield started


async def stow(client: httpx.AsyncClient, *files: bytes) -> httpx.Response:
    """Store files in one request."""
    head = b"\r\n--B\r\nContent-Type: application/dicom\r\n\r\n"
    body = b"".join(head + file for file in files) + b"\r\n--B--\r\n"
    content_type = 'multipart/related; type="application/dicom"; boundary=B'
    return await client.post("studies", content=body, headers={"Content-Type": content_type})
